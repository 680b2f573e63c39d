"""Training a batch of categorical policies on the losses of ``inspo``, from samples or the population.

A dataset over K responses is a (K, K) table of weights, entry [i, j] the share of pairs in which
y_i was chosen over y_j; the population is such a table too. So both train with the same full-batch
gradient, all N problems at once: the total is a sum over problems, which therefore do not interact
(Adam and SGD are elementwise).

Shapes: N problems, K responses, T recorded steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import rel_entr
from torch import Tensor

from inspo.command_line import UserError
from inspo.conditioning import LogpRequest
from inspo.metrics import pair_metrics, weighted_mean
from inspo.objectives import Psi, conditioned_value, value
from inspo.preference_loss import PreferenceLoss, Terms
from inspo.preferences import PreferenceMatrix
from inspo.tabular import population_weights, tabular_logps
from toy.estimates import Floats
from toy.policies import PARAMETRIZATIONS, Parametrization, Policy

Optimizer = Literal["adam", "sgd", "momentum"]
OPTIMIZERS: dict[Optimizer, Callable[..., torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, eps=1e-12, fused=True),
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
}

# The tensors here are tiny, so threads cost more than they give.
torch.set_num_threads(1)


@dataclass(frozen=True)
class Schedule:
    """How to train: plain full-batch steps of one optimizer at a constant learning rate."""

    steps: int
    learning_rate: float
    optimizer: Optimizer = "adam"


@dataclass(frozen=True)
class Trained:
    """A batch of trained policies and how they got there.

    Attributes:
        prompt_policy: (N, K) pi(y_i | x), the policy without a comparator.
        comparator_policy: (N, K, K) pi(y_i | x, y_j).
        deployments: name to (N, K), every way to answer the bare prompt; see ``toy.policies.Policy``.
        steps: (T,) recorded step numbers, from 0 to the last.
        path: (T, N, K, K), the comparator policy at those steps.
        history: name to (T, N); the names of ``inspo.metrics.pair_metrics`` over the population,
            and ``training_loss`` over the training data, ``value_deployed`` and
            ``value_conditioned``, V against comparators drawn from mu, in the unit of psi.
    """

    prompt_policy: Floats
    comparator_policy: Floats
    deployments: dict[str, Floats]
    steps: npt.NDArray[np.int64]
    path: Floats
    history: dict[str, Floats]


def pair_distribution(P: Floats, nu: Floats) -> Floats:
    """Distribution of a preference pair (chosen i, rejected j), two different draws from nu.

    Args:
        P: (..., K, K) preference matrices.
        nu: (..., K) or (K,) what responses are drawn from.

    Returns:
        (..., K, K), each table summing to one.
    """
    weights = population_weights(torch.tensor(P), torch.tensor(nu)).numpy()
    return np.asarray(weights / weights.sum(axis=(-2, -1), keepdims=True))


def sample_pairs(distribution: Floats, samples: int, rng: np.random.Generator) -> Floats:
    """A dataset of `samples` independent preference pairs, as frequencies.

    Args:
        distribution: (..., K, K) as :func:`pair_distribution` returns.
        samples: number of pairs in each dataset.
        rng: the source of randomness.

    Returns:
        (..., K, K), each table summing to one.
    """
    k = distribution.shape[-1]
    flat = distribution.reshape(*distribution.shape[:-2], k * k)
    return (rng.multinomial(samples, flat) / samples).reshape(distribution.shape)


def train(
    loss: PreferenceLoss,
    parametrization: Parametrization,
    data: Floats,
    P: Floats,
    mu: Floats,
    schedule: Schedule,
    *,
    psi: Psi = "identity",
    record_every: int = 0,
) -> Trained:
    """Train one policy per dataset, starting at the reference.

    Args:
        loss: method, conditioning and hyperparameters; see :func:`per_problem`.
        parametrization: a key of ``toy.policies.PARAMETRIZATIONS``.
        data: (N, K, K) training data, each table summing to one.
        P: (N, K, K) the true preferences, for the recorded metrics.
        mu: (N, K) the reference policy, positive everywhere.
        schedule: steps, learning rate, optimizer.
        psi: scalarization of the recorded values; see ``inspo.objectives``.
        record_every: record the history every so many steps; 0 records start and end only.

    Returns:
        The trained policies, float64 throughout.

    Raises:
        ValueError: a hyperparameter out of range, or a reference with a zero (log pi_ref is infinite).
        UserError: training diverged, where that is noticed: at a recorded step.
    """
    if (mu <= 0).any():
        raise ValueError("the reference policy must be positive everywhere to be trained from")
    weights, ref_logps = torch.as_tensor(data), torch.as_tensor(np.log(mu))
    reference = tabular_logps(loss.reference_requests(), ref_logps)
    population = torch.as_tensor(pair_distribution(P, mu))
    policy = PARAMETRIZATIONS[parametrization](ref_logps)
    optimizer = OPTIMIZERS[schedule.optimizer](policy.parameters, lr=schedule.learning_rate)
    matrix = PreferenceMatrix(P)  # checked here, not at every recorded step
    recorded: list[int] = []
    path: list[Floats] = []
    history: dict[str, list[Floats]] = {}
    for step in range(schedule.steps + 1):
        terms, losses = _compared(loss, policy, ref_logps, reference)
        training_loss = weighted_mean(losses, weights, dims=2)
        if step in (0, schedule.steps) or (record_every and step % record_every == 0):
            if not training_loss.isfinite().all():
                raise UserError(
                    f"training diverged within {step} steps: lower --learning-rate {schedule.learning_rate:g}"
                )
            recorded.append(step)
            row = pair_metrics(terms, loss.reads.score, losses, weights=population, dims=2)
            row["training_loss"] = training_loss.detach()
            for name, tensor in row.items():
                history.setdefault(name, []).append(tensor.numpy())
            path.append(policy.comparator_logps().detach().exp().numpy())
            deployed = policy.prompt_logps().detach().exp().numpy()
            history.setdefault("value_deployed", []).append(value(deployed, matrix, mu, psi))
            history.setdefault("value_conditioned", []).append(conditioned_value(path[-1], matrix, mu, psi))
        if step < schedule.steps:
            optimizer.zero_grad()
            training_loss.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
            optimizer.step()
    return Trained(
        deployed,
        path[-1],
        {name: logps.detach().exp().numpy() for name, logps in policy.deployments().items()},
        np.array(recorded),
        np.stack(path),
        {name: np.stack(rows) for name, rows in history.items()},
    )


def _compared(
    loss: PreferenceLoss, policy: Policy, ref_logps: Tensor, reference: dict[LogpRequest, Tensor]
) -> tuple[Terms, Tensor]:
    """What the loss compares, and its (N, K, K) values for every ordered pair of responses, one token each."""
    contexts = {request.context for request in loss.requests()}
    prompt = policy.prompt_logps() if None in contexts else None
    comparator = policy.comparator_logps() if contexts != {None} else None
    one_token = torch.ones((*ref_logps.shape, ref_logps.shape[-1]))
    terms = loss.terms(
        tabular_logps(loss.requests(), prompt, comparator),
        reference,
        chosen_length=one_token,
        rejected_length=one_token,
    )
    if not loss.reads.needs_kl:
        return terms, loss.of_terms(terms)
    # One prompt has no mismatched responses to estimate KL(pi || pi_ref) from; a table gives it exactly.
    logps = policy.prompt_logps()[..., None] if comparator is None else comparator
    kl = (logps.exp() * (logps - ref_logps[..., None])).sum(-2).mean(-1)
    return terms, loss.of_terms(terms, kl=kl[..., None, None].expand(one_token.shape))


def per_problem(numbers: npt.ArrayLike) -> Tensor:
    """A hyperparameter with one value for each of N problems, shaped (N, 1, 1) to meet their (N, K, K) pairs."""
    return torch.as_tensor(np.asarray(numbers))[:, None, None]


def kl_to_reference(policy: Floats, mu: Floats) -> Floats:
    """KL(policy || mu) in nats; for a conditioned policy its mean over comparators drawn from mu.

    Args:
        policy: (..., K) or (..., K, K), columns conditioned on a comparator.
        mu: (..., K) reference, positive.

    Returns:
        (...) nats.
    """
    if policy.ndim == mu.ndim:
        return np.asarray(rel_entr(policy, mu).sum(-1))
    return np.asarray((rel_entr(policy, mu[..., None]).sum(-2) * mu).sum(-1))

"""Preference pairs of policies that are tables: the toy's and the theory's way to a loss.

With K responses to one prompt, every ordered pair (i, j) is a possible (chosen, rejected) pair. All
of them are laid out as (..., K, K) tensors, entry [i, j] for chosen i and rejected j, so a look-up
is a transpose and a dataset, or the population, is a (..., K, K) table of weights.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from inspo.conditioning import Conditioning, LogpRequest, ReferenceContext, Role
from inspo.pairs import PairLogps


def lookup(request: LogpRequest, prompt_logps: Tensor | None, comparator_logps: Tensor | None) -> Tensor:
    """One log-prob for every ordered pair.

    Args:
        request: which response given which.
        prompt_logps: (..., K) log pi(y_i | x) in nats, or None where no request needs it.
        comparator_logps: (..., K, K), entry [i, j] = log pi(y_i | x, y_j) in nats, or None.

    Returns:
        (..., K, K), entry [i, j] for chosen i and rejected j.

    Raises:
        ValueError: the table that the request needs is None.
    """
    if request.context is None:
        if prompt_logps is None:
            raise ValueError("this objective needs log pi(y | x): give a prompt-only policy")
        target = prompt_logps[..., :, None] if request.target is Role.CHOSEN else prompt_logps[..., None, :]
        return target.expand(*prompt_logps.shape, prompt_logps.shape[-1])
    if comparator_logps is None:
        raise ValueError("this objective needs log pi(y | x, y'): give a policy conditioned on a comparator")
    if request.target is request.context:
        own = torch.diagonal(comparator_logps, dim1=-2, dim2=-1)
        return lookup(LogpRequest(request.target), own, None)
    return comparator_logps if request.target is Role.CHOSEN else comparator_logps.mT


def tabular_logps(
    requests: Iterable[LogpRequest], prompt_logps: Tensor | None = None, comparator_logps: Tensor | None = None
) -> dict[LogpRequest, Tensor]:
    """The log-probs that a :class:`~inspo.preference_loss.PreferenceLoss` asks for, of every ordered pair.

    Args:
        requests: which ones.
        prompt_logps: (..., K) log pi(y_i | x) in nats, or None where no request needs it.
        comparator_logps: (..., K, K), entry [i, j] = log pi(y_i | x, y_j) in nats, or None.

    Returns:
        For each request (..., K, K), entry [i, j] for chosen i and rejected j.

    Raises:
        ValueError: the table that a request needs is None.

    >>> from inspo import PreferenceLoss
    >>> loss, uniform = PreferenceLoss("dpo", Conditioning.SYMMETRIC), torch.tensor([0.5, 0.5]).log()
    >>> policy = tabular_logps(loss.requests(), comparator_logps=uniform.expand(2, 2))
    >>> loss(policy, tabular_logps(loss.reference_requests(), uniform))
    tensor([[0.6931, 0.6931],
            [0.6931, 0.6931]])
    """
    return {request: lookup(request, prompt_logps, comparator_logps) for request in requests}


def tabular_terms(
    conditioning: Conditioning,
    *,
    prompt_logps: Tensor | None = None,
    comparator_logps: Tensor | None = None,
    ref_logps: Tensor | None = None,
    ref_comparator_logps: Tensor | None = None,
    reference: ReferenceContext = ReferenceContext.PLAIN,
) -> list[tuple[float, PairLogps]]:
    """The weighted pairs of an objective for every ordered pair of responses. Lengths are one token.

    Args:
        conditioning: which log-probs the objective needs.
        prompt_logps: (..., K) log pi(y_i | x) in nats.
        comparator_logps: (..., K, K), entry [i, j] = log pi(y_i | x, y_j) in nats.
        ref_logps: (..., K) log pi_ref(y_i | x) in nats, or None for reference-free losses.
        ref_comparator_logps: (..., K, K) log pi_ref(y_i | x, y_j), for a conditioned reference.
        reference: whether the reference sees the policy's context.

    Returns:
        (weight, pairs) for each term; the tensors of `pairs` are (..., K, K).

    Raises:
        ValueError: a table that the objective needs is missing.
    """
    policy = tabular_logps(conditioning.requests(), prompt_logps, comparator_logps)
    shape = next(iter(policy.values())).shape
    frozen = None
    if ref_logps is not None or ref_comparator_logps is not None:
        asked = conditioning.reference_requests(reference)
        frozen = {
            request: logps.expand(shape)
            for request, logps in tabular_logps(asked, ref_logps, ref_comparator_logps).items()
        }
    length = torch.ones((), device=next(iter(policy.values())).device).expand(shape)
    return conditioning.terms(policy, frozen, reference=reference, chosen_length=length, rejected_length=length)


def population_weights(P: Tensor, pair_distribution: Tensor) -> Tensor:
    """How often each ordered pair (chosen i, rejected j) occurs in preference data.

    Two responses are drawn independently from `pair_distribution` and P judges whether the first
    beats the second: the population form of Eq. (9). Draws of the same response twice carry no
    preference and are left out.

    Args:
        P: (..., K, K) preference matrix.
        pair_distribution: (..., K) distribution that responses are drawn from (the paper: pi_ref).

    Returns:
        (..., K, K): mu_i mu_j P[i, j] for i != j, zero on the diagonal. The sum is half the
        probability that the two draws differ; divide by it for the distribution of a pair.
    """
    drawn = pair_distribution[..., :, None] * pair_distribution[..., None, :]
    off_diagonal = 1 - torch.eye(P.shape[-1], dtype=P.dtype, device=P.device)
    return drawn * P * off_diagonal

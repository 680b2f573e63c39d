"""Training to the end on the library's own population loss, differentiated automatically, from any start.

A second opinion on :mod:`theory.flow`, which has its gradients by hand.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from inspo.conditioning import Conditioning, conditioned_loss
from inspo.pairs import PairLogps
from inspo.tabular import population_weights, tabular_terms
from theory.flow import Floats, softmax

Loss = Callable[[PairLogps], torch.Tensor]


def population_loss(
    logits: torch.Tensor, P: torch.Tensor, mu: torch.Tensor, loss: Loss, conditioning: Conditioning
) -> torch.Tensor:
    """What :func:`inspo.objectives.population_loss` says of the softmax of these logits, to be differentiated.

    Args:
        logits: (K, K), one column for each comparator; (K,) for a prompt-only policy.
        P: (K, K) preferences.
        mu: (K,) reference.
        loss: a loss of :mod:`inspo.losses` with its hyperparameters bound.
        conditioning: one that asks for that policy alone.

    Returns:
        (), nats.
    """
    logps, plain = torch.log_softmax(logits, dim=0), logits.ndim == 1
    terms = tabular_terms(
        conditioning,
        prompt_logps=logps if plain else None,
        comparator_logps=None if plain else logps,
        ref_logps=mu.log(),
    )
    return (population_weights(P, mu) * conditioned_loss(loss, terms)).sum()


def trained(P: Floats, mu: Floats, loss: Loss, conditioning: Conditioning, start: Floats) -> Floats:
    """The policy at which BFGS comes to rest, from the logits `start`; shapes as in :func:`population_loss`."""
    from scipy.optimize import minimize

    table, reference = torch.as_tensor(P), torch.as_tensor(mu)
    scale = float(1 / mu.min() ** 2)

    def scaled(flat: Floats) -> tuple[float, Floats]:
        logits = torch.tensor(flat.reshape(start.shape), requires_grad=True)
        total = scale * population_loss(logits, table, reference, loss, conditioning)
        (gradient,) = torch.autograd.grad(total, logits)
        return total.item(), gradient.numpy().ravel()

    end = minimize(scaled, start.ravel(), jac=True, method="BFGS", options={"gtol": 1e-10, "maxiter": 1000})
    return softmax(np.asarray(end.x).reshape(start.shape))

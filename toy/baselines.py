"""The policies that need no training: optima, equilibria and two-step RLHF, for batches of problems.

Shapes: N problems (any leading batch), K responses. Every function takes preference matrices
P (..., K, K) and a reference mu (..., K), positive everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from inspo.objectives import (
    Psi,
    apply_psi,
    best_responses,
    conditioned_value,
    gibbs_policy,
    restricted_optima,
    scores,
    value,
)
from inspo.preferences import PreferenceMatrix, fit_bradley_terry
from toy.estimates import Floats
from toy.training import kl_to_reference

# Scores this close are tied: sums and logarithms of equal numbers differ by rounding, about 1e-16.
TIE = 1e-9


def optima(score: Floats) -> npt.NDArray[np.bool_]:
    """(..., K) which responses have the best score, with all that are tied with it."""
    return np.asarray(score >= score.max(axis=-1, keepdims=True) - TIE)


def pi_bar(P: Floats, mu: Floats, psi: Psi = "identity") -> Floats:
    """(..., K) the best prompt-only policy, uniform over ties. Eq. (4)."""
    best = restricted_optima(P, mu, psi, atol=TIE).astype(np.float64)
    return np.asarray(best / best.sum(axis=-1, keepdims=True))


def pi_star(P: Floats) -> Floats:
    """(..., K, K) the best conditioned policy, uniform over ties; column j answers y_j. Eq. (5)."""
    best = best_responses(P, atol=TIE).astype(np.float64)
    return np.asarray(best / best.sum(axis=-2, keepdims=True))


def bradley_terry_reward(P: Floats, nu: Floats) -> Floats:
    """The Bradley-Terry reward of maximum likelihood, RLHF's first step.

    It solves sum_j nu_j sigma(c_i - c_j) = sum_j nu_j P[i, j] for every i: the likelihood sees
    preferences through the Borda score alone, whether or not a reward explains them.

    Args:
        P: (..., K, K) preference matrices in (0, 1).
        nu: (..., K) what the two responses of a pair are drawn from, positive.

    Returns:
        (..., K) rewards in nats, of mean zero.

    Raises:
        ValueError: no finite optimum, as where one response is always preferred.
    """
    return fit_bradley_terry(nu[..., :, None] * nu[..., None, :] * P)


def rlhf(P: Floats, mu: Floats, beta: float, nu: Floats | None = None) -> Floats:
    """(..., K) RLHF in its two steps: the reward above, then the optimum of Eq. (2) at `beta`.

    Also where DPO's population loss is least, since Eq. (3) reparametrizes the same likelihood.
    """
    return np.asarray(gibbs_policy(bradley_terry_reward(P, mu if nu is None else nu), mu, beta))


def ipo(P: Floats, mu: Floats, tau: float, psi: Psi = "identity") -> Floats:
    """(..., K) IPO's closed form, pi proportional to mu exp(S_psi / tau) (Azar et al. 2024)."""
    return np.asarray(gibbs_policy(scores(P, mu, psi).astype(np.float64), mu, tau))


def at_kl(reward: Floats, mu: Floats, kl: Floats) -> Floats:
    """The policy that maximizes `reward` among those with this KL: mu exp(reward / tau) at the tau that spends it.

    Args:
        reward: (..., K) for a prompt-only policy, (..., K, K) for one that sees its comparator.
        mu: (..., K) reference.
        kl: (...) nats, >= 0; of a conditioned policy the mean over comparators.

    Returns:
        The shape of `reward`. Where `kl` is out of reach the limit is returned, as much of the best
        response as float64 can hold.
    """
    axis = -1 if reward.ndim == mu.ndim else -2
    start = np.log(mu if axis == -1 else mu[..., None])
    low, high = np.full(mu.shape[:-1], -12.0), np.full(mu.shape[:-1], 12.0)

    def policy(exponent: Floats) -> Floats:
        sharpness = np.exp(exponent).reshape(exponent.shape + (1,) * (reward.ndim - exponent.ndim))
        return np.asarray(softmax(start + reward * sharpness, axis=axis))

    for _ in range(60):
        middle = (low + high) / 2
        too_far = kl_to_reference(policy(middle), mu) > kl
        low, high = np.where(too_far, low, middle), np.where(too_far, middle, high)
    return policy(high)


def frontier_value(P: Floats, mu: Floats, kl: Floats, psi: Psi = "identity", *, conditioned: bool = False) -> Floats:
    """(...) the largest V of all policies with this KL, in the unit of psi.

    Without a comparator that is IPO's closed form at some tau, with one it is the Gibbs policy of
    psi(P): both maximize V - tau KL.
    """
    matrix = PreferenceMatrix(P)
    reward = apply_psi(matrix, psi) if conditioned else scores(matrix, mu, psi)
    return worth(at_kl(np.asarray(reward, dtype=np.float64), mu, kl), matrix, mu, psi)


def worth(policy: Floats, P: npt.ArrayLike, mu: Floats, psi: Psi = "identity") -> Floats:
    """(...) V of a policy with as many axes as mu, or with one more where it sees the comparator."""
    of_its_kind = value if policy.ndim == mu.ndim else conditioned_value
    return np.asarray(of_its_kind(policy, P, mu, psi))


def value_and_kl(policy: Floats, P: Floats, mu: Floats, psi: Psi = "identity") -> dict[str, Floats]:
    """(...) each: V against comparators drawn from mu, in the unit of psi, and KL from mu in nats."""
    return {"value": worth(policy, P, mu, psi), "kl": kl_to_reference(policy, mu)}


def anchored(P: Floats, mu: Floats, beta: float) -> Floats:
    """(..., K, K) where the anchored loss is least, and nowhere else: Eq. (7)'s solution for the log-odds as reward."""
    return np.asarray(gibbs_policy(apply_psi(P, "log_odds"), mu, beta))


def symmetric_margin(policy: Floats, mu: Floats, beta: float) -> Floats:
    """(..., K, K) the margin of i over j, in nats, of a policy trained on Eq. (9): each given the other.

    Args:
        policy: (..., K, K), columns conditioned on a comparator.
        mu: (..., K) reference.
        beta: that of the training.
    """
    ratio = np.log(policy / mu[..., :, None])
    return np.asarray(beta * (ratio - np.swapaxes(ratio, -1, -2)))


def anchored_margin(policy: Floats, mu: Floats, beta: float) -> Floats:
    """(..., K, K) the same of one trained on the anchored loss: the mean over both responses as context."""
    ratio = np.log(policy / mu[..., :, None])
    over_comparator = ratio - np.diagonal(ratio, axis1=-2, axis2=-1)[..., None, :]
    return np.asarray(beta * (over_comparator - np.swapaxes(over_comparator, -1, -2)) / 2)


def curve(policies: Sequence[Floats], P: Floats, mu: Floats) -> dict[str, list[float]]:
    """:func:`value_and_kl` of several policies on one problem."""
    stack, n = np.stack(policies), len(policies)
    found = value_and_kl(stack, np.broadcast_to(P, (n, *P.shape)), np.broadcast_to(mu, (n, *mu.shape)))
    return {name: numbers.tolist() for name, numbers in found.items()}


def nash(P: Floats) -> Floats:
    """The Nash policy (maximal lottery): no response beats it with more than probability 1/2.

    The linear program: the smallest w with sum_i pi_i (P[j, i] - 1/2) <= w for every j; w is 0 at the optimum.

    Args:
        P: (..., K, K) preference matrices.

    Returns:
        (..., K); one equilibrium where there are several.
    """
    return _minimax(P - 0.5)


def least_regret(P: Floats, psi: Psi = "identity") -> Floats:
    """The prompt-only policy with the least regret against its worst comparator; it knows no reference.

    The linear program: the smallest w with max_i psi(P[i, j]) - sum_i pi_i psi(P[i, j]) <= w for every j. Whatever
    the reference turns out to be, its V is at most that w below pi*'s, and so below pi_bar's.

    Args:
        P: (..., K, K) preference matrices.
        psi: scalarization; see ``inspo.objectives``.

    Returns:
        (..., K); of several such policies the vertex that the solver ends in.

    Raises:
        ValueError: P invalid, or psi not finite on it.

    Source: ``second_mover_value_is_minimax_regret`` in theory/proofs/games.v.
    """
    reward = np.asarray(apply_psi(P, psi), dtype=np.float64)
    return _minimax(np.swapaxes(reward.max(axis=-2, keepdims=True) - reward, -1, -2))


def worst_regret(policy: Floats, P: Floats, psi: Psi = "identity") -> Floats:
    """(...) how far a policy is below the best answer to the comparator where it is farthest, in the unit of psi.

    Args:
        policy: (..., K) or, of one that sees its comparator, (..., K, K).
        P: (..., K, K) preference matrices.
        psi: scalarization.

    Raises:
        ValueError: P invalid, or psi not finite on it.
    """
    reward = np.asarray(apply_psi(P, psi), dtype=np.float64)
    earned = ((policy[..., None] if policy.ndim < P.ndim else policy) * reward).sum(axis=-2)
    return np.asarray((reward.max(axis=-2) - earned).max(axis=-1))


def _minimax(costs: Floats) -> Floats:
    """(..., K) distributions pi with the least max_j sum_i costs[j, i] pi_i, by linear program; costs (..., K, K)."""
    from scipy.optimize import linprog

    k = costs.shape[-1]
    flat = costs.reshape(-1, k, k)
    policies = np.empty((len(flat), k))
    for policy, table in zip(policies, flat, strict=True):
        solved: Any = linprog(
            np.append(np.zeros(k), 1.0),
            A_ub=np.column_stack([table, -np.ones(k)]),
            b_ub=np.zeros(k),
            A_eq=[[*np.ones(k), 0.0]],
            b_eq=[1.0],
            bounds=[(0, None)] * k + [(None, None)],
        )
        policy[:] = np.clip(solved.x[:k], 0, None)
    return np.asarray(policies / policies.sum(axis=-1, keepdims=True)).reshape(costs.shape[:-1])

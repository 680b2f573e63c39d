"""Gradient flow: training with steps so small that only the loss decides where it goes.

One softmax table per comparator, ``policy[i, j] = pi(y_i | y_j)``, all starting at mu. With
g = log(policy / mu) and the margin m_ij = beta (g_ij - g_ji), the population loss of Eq. (9) falls
fastest along

    c_ij = beta mu_i mu_j (P_ij - sigma(m_ij))      the pull on g_ij; antisymmetric
    d theta_kj / dt = c_kj - policy_kj sum_i c_ij   on the logits.

Written out by hand and integrated by SciPy; the claim eq-10 holds it against automatic differentiation of
the library's loss. Two quantities never change, whatever P: each column's sum of logits, and, over
infinitesimal steps, sum_j d theta_jj / policy_jj = 0. For K = 2 the second integrates to a closed form.

Kept independent of the toy's flow and fit on purpose, as a second opinion; tests/test_twins.py holds them
together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from inspo.preferences import validate

Floats = npt.NDArray[np.float64]

# Relative and absolute tolerance of the integration, and the largest distance at which it has converged.
RTOL, ATOL, CONVERGED = 1e-10, 1e-12, 1e-10


def softmax(logits: Floats) -> Floats:
    """Column-wise softmax of (K, K) or (K,) logits."""
    raised = np.exp(logits - logits.max(axis=0))
    normalized: Floats = raised / raised.sum(axis=0)
    return normalized


def pull(policy: Floats, P: Floats, mu: Floats, beta: float) -> Floats:
    """c_ij of the module: zero exactly at the minimizers of Eq. (9)."""
    from scipy.special import expit

    g = np.log(policy / mu[:, None])
    c: Floats = beta * np.outer(mu, mu) * (P - expit(beta * (g - g.T)))
    return c


def velocity(logits: Floats, P: Floats, mu: Floats, beta: float) -> Floats:
    """d theta / dt, (K, K)."""
    policy = softmax(logits)
    c = pull(policy, P, mu, beta)
    step: Floats = c - policy * c.sum(axis=0)
    return step


def start(mu: Floats) -> Floats:
    """(K, K) logits of the reference for every comparator."""
    return np.repeat(np.log(mu)[:, None], len(mu), axis=1)


def conditioned_limit(P: Any, mu: Any, beta: float) -> Floats:
    """The policy that gradient flow on Eq. (9) trains, starting from the reference.

    Args:
        P: (K, K) preferences inside (0, 1).
        mu: (K,) reference of full support.
        beta: inverse temperature.

    Returns:
        (K, K) policy; the largest pull is at most `CONVERGED` times beta min(mu)^2.

    Raises:
        ValueError: a preference of 0 or 1, where no minimizer exists, or a mu_j of 0, named.
        AssertionError: the flow has not converged.
    """
    P, mu = interior(P, mu)
    scale = beta * mu.min() ** 2
    logits = integrate(
        lambda logits: velocity(logits, P, mu, beta),
        start(mu),
        lambda logits: float(np.abs(pull(softmax(logits), P, mu, beta)).max() / scale),
    )
    return softmax(logits)


def integrate(
    field: Callable[[Floats], Floats], initial: Floats, distance: Callable[[Floats], float], horizon: float = 1e9
) -> Floats:
    """Follow d theta / dt = field(theta) until `distance` is at most `CONVERGED`; the logits there.

    Raises:
        AssertionError: the solver failed, or the time horizon passed first.
    """
    from scipy.integrate import solve_ivp

    shape = initial.shape

    def converged(_: float, flat: Floats) -> float:
        return distance(flat.reshape(shape)) - CONVERGED

    converged.terminal = True  # type: ignore[attr-defined]  # SciPy reads this from the function
    solution = solve_ivp(
        lambda _, flat: field(flat.reshape(shape)).ravel(),
        (0.0, horizon),
        initial.ravel(),
        method="LSODA",
        rtol=RTOL,
        atol=ATOL,
        events=converged,
    )
    assert solution.success, solution.message
    final: Floats = solution.y[:, -1].reshape(shape)
    left = distance(final)
    assert left <= 2 * CONVERGED, f"the flow has not converged: {left:.1e} left"
    return final


def interior(P: Any, mu: Any) -> tuple[Floats, Floats]:
    """P and mu as floats.

    Raises:
        ValueError: P invalid, an entry of P outside (0, 1), or one of mu not positive; named.
    """
    table, reference = validate(P).astype(np.float64), np.asarray(mu, dtype=np.float64)
    for i, j in np.argwhere((table <= 0) | (table >= 1)):
        raise ValueError(f"P[{i}, {j}] = {table[i, j]} must be inside (0, 1): the loss has no minimum there")
    for (j,) in np.argwhere(~(reference > 0)):
        raise ValueError(f"mu[{j}] = {reference[j]} must be > 0: the reference must have full support")
    return table, reference


def conditioned_value(policy: Floats, P: Any, mu: Any) -> float:
    """V of a conditioned policy, psi being the identity."""
    return float(np.sum(np.asarray(policy) * np.asarray(P, dtype=np.float64) * np.asarray(mu, dtype=np.float64)))


def dpo_limit(P: Any, mu: Any, beta: float, nu: Any = None) -> Floats:
    """The one minimizer of the population loss of DPO over prompt-only policies.

    Pairs are drawn from `nu`, by default mu. With c = beta log(policy / mu) it solves
    sum_j nu_j (P_ij - sigma(c_i - c_j)) = 0 for every i; by Newton's method on the convex loss.
    """
    from scipy.special import expit

    P, mu = interior(P, mu)
    weights = np.outer(*[mu if nu is None else np.asarray(nu, dtype=np.float64)] * 2)
    c = np.zeros(len(mu))
    for _ in range(100):
        fitted = expit(c[:, None] - c[None, :])
        gradient = (weights * (fitted - P)).sum(axis=1)
        slope = weights * fitted * (1 - fitted)
        hessian = np.diag(slope.sum(axis=1)) - slope
        step = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        c = c - step / max(1.0, np.abs(step).max())
        if np.abs(step).max() < 1e-13:
            break
    assert np.abs(gradient).max() < 1e-12, "Newton's method did not converge"
    return softmax(np.log(mu) + c / beta)

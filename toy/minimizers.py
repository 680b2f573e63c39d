"""The minimizers of the population loss of Eq. (9), a whole set of policies, and what picks one of them.

The loss compares pi(y_i | y_j) with pi(y_j | y_i) only, so at its minimum
``log pi(i|j) / mu_i - log pi(j|i) / mu_j = logit(P[i, j]) / beta`` for i != j and nothing more:
with K responses a set of dimension K (K - 1) / 2, whose members are worth different amounts.

Shapes: one problem of K responses; P (K, K) in (0, 1), mu (K,) positive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from scipy.special import expit, lambertw, logit, softmax

from toy.estimates import Floats

# Responses whose gradient flow is followed: its K^2 numbers cost K^6 a step, 10 s a plot at 25 and minutes at 40.
MOST_FLOW = 25


def best_value(P: Floats, mu: Floats, beta: float) -> tuple[float, Floats]:
    """The supremum of V over all minimizers, a linear program, and a policy that attains it.

    Unknown per unordered pair is the larger of the two ratios pi / mu, the smaller one follows; what
    a column leaves over goes to copying the comparator. (The infimum is 1/2, of copying throughout.)

    Returns:
        (V with psi = identity, the (K, K) policy).
    """
    from scipy.optimize import linprog

    k = len(P)
    pairs = [(i, j) if P[i, j] >= 0.5 else (j, i) for i in range(k) for j in range(i)]
    gain, used = np.zeros(len(pairs)), np.zeros((k, len(pairs)))
    shrink = np.array([np.exp(-logit(P[i, j]) / beta) for i, j in pairs])
    for column, (i, j) in enumerate(pairs):
        used[j, column], used[i, column] = mu[i], mu[j] * shrink[column]
        gain[column] = mu[i] * mu[j] * (P[i, j] - 0.5) * (1 - shrink[column])
    solved: Any = linprog(-gain, A_ub=used, b_ub=np.ones(k), bounds=[(0, None)] * len(pairs))
    policy = np.zeros((k, k))
    for column, (i, j) in enumerate(pairs):
        policy[i, j], policy[j, i] = solved.x[column] * mu[i], solved.x[column] * mu[j] * shrink[column]
    policy[np.diag_indices(k)] = np.clip(1 - policy.sum(axis=0), 0, None)
    return 0.5 - float(solved.fun), policy


def one_number_family(P: Floats, mu: Floats, beta: float, u: float) -> Floats:
    """(K, K) the minimizer pi(i | j) = u mu_i (P[i, j] / P[j, i])^(1 / (2 beta)), i != j, for any u that fits.

    Raises:
        ValueError: u so large that a column would exceed one, see :func:`largest_u`.
    """
    if not 0 < u <= (1 + 1e-12) * largest_u(P, mu, beta):
        raise ValueError(f"u = {u} must be in (0, {largest_u(P, mu, beta)}]")
    policy = u * _odds(P, mu, beta)
    policy[np.diag_indices(len(P))] = np.clip(1 - policy.sum(axis=0), 0, None)
    return policy


def largest_u(P: Floats, mu: Floats, beta: float) -> float:
    """The u of :func:`one_number_family` at which the first column has nothing left for copying."""
    return float(1 / _odds(P, mu, beta).sum(axis=0).max())


def _odds(P: Floats, mu: Floats, beta: float) -> Floats:
    odds: Floats = mu[:, None] * np.exp(logit(P) / (2 * beta))
    odds[np.diag_indices(len(P))] = 0
    return odds


def symmetric_flow(P: Floats, mu: Floats, beta: float) -> Floats:
    """(K, K) where gradient flow of Eq. (9) ends, from mu, one softmax table per comparator."""
    weights = np.outer(mu, mu) * P * (1 - np.eye(len(P)))

    def pull(log_policy: Floats) -> Floats:
        ratio = log_policy - np.log(mu)[:, None]
        falling = weights * expit(-beta * (ratio - ratio.T))
        return np.asarray(beta * (falling - falling.T))

    return np.asarray(flow(pull, mu, np.array([0.0, 1e12]))[-1])


def anchored_flow(P: Floats, mu: Floats, beta: float, start: Floats, times: Floats) -> Floats:
    """(T, K, K) the path of gradient flow of the anchored loss from `start`, (K,) or (K, K): to its one minimizer."""
    weights = beta * np.outer(mu, mu) * (1 - np.eye(len(P))) / 2

    def pull(log_policy: Floats) -> Floats:
        ratio = log_policy - np.log(mu)[:, None]
        rising = weights * (P - expit(beta * (ratio - np.diag(ratio))))
        return np.asarray(rising - np.diag(rising.sum(axis=0)))

    return flow(pull, start, times)


def one_sided_flow(P: Floats, mu: Floats, beta: float, times: Floats) -> Floats:
    """(T, K, K) the path of gradient flow of the one-sided loss, which has no minimizer to end in."""
    weights = np.outer(mu, mu) * P * (1 - np.eye(len(P)))

    def pull(log_policy: Floats) -> Floats:
        ratio = log_policy - np.log(mu)[:, None]
        falling = beta * weights * expit(-beta * (ratio - np.diag(ratio)))
        return np.asarray(falling - np.diag(falling.sum(axis=0)))

    return flow(pull, mu, times)


def one_sided_limit(P: Floats, mu: Floats, beta: float) -> Floats:
    """(K, K) its closed form: pi(i | j) proportional to mu_i (mu_i P[i, j])^(1/beta), without i = j."""
    log_policy = np.log(mu)[:, None] + np.log(mu[:, None] * P) / beta
    log_policy[np.diag_indices(len(P))] = -np.inf
    return np.asarray(softmax(log_policy, axis=0))


def flow(pull: Callable[[Floats], Floats], start: Floats, times: Floats) -> Floats:
    """Gradient flow of one softmax table per comparator.

    Args:
        pull: (K, K) log-probs to minus the loss' derivative by each of them.
        start: (K, K) policy, or (K,) for the same in every column; positive.
        times: (T,) increasing, from 0.

    Returns:
        (T, K, K) policies.

    Raises:
        RuntimeError: the integration failed.
    """
    from scipy.integrate import solve_ivp

    k = len(start)

    def velocity(_: float, flat: Floats) -> Floats:
        logits = flat.reshape(k, k)
        log_policy = logits - np.logaddexp.reduce(logits, axis=0)
        push = pull(log_policy)
        return np.asarray(push - np.exp(log_policy) * push.sum(axis=0)).ravel()

    logits = np.broadcast_to(np.log(start.reshape(k, -1)), (k, k)).ravel()
    solved = solve_ivp(
        velocity, (times[0], times[-1]), logits, method="LSODA", t_eval=times, rtol=1e-9, atol=1e-10, first_step=1e-3
    )
    if not solved.success:
        raise RuntimeError(f"gradient flow did not integrate: {solved.message}")
    return np.asarray(softmax(solved.y.T.reshape(-1, k, k), axis=1))


def conserved(t1: Floats | float, t2: Floats | float) -> Floats:
    """What gradient flow with K = 2 keeps: t1 + e^t1 + t2 + e^t2, with t the logits of not copying."""
    return np.asarray(t1 + np.exp(t1) + t2 + np.exp(t2))


def conserved_partner(constant: float, t2: Floats) -> Floats:
    """t1 on the conserved curve through t2: t + e^t = c has the solution c - W(e^c)."""
    c = constant - t2 - np.exp(t2)
    solved: Any = lambertw(cast("Any", np.exp(c)))
    return np.asarray(c - solved.real)


def two_response_limit(p: float, mu: Floats, beta: float) -> tuple[float, float]:
    """Where gradient flow ends for K = 2, exactly: where the conserved curve crosses the valley.

    Args:
        p: P(y1 > y2), in (0, 1).
        mu: (2,) reference.
        beta: of the loss.

    Returns:
        (pi(y1 | y2), pi(y2 | y1)).
    """
    from scipy.optimize import brentq

    constant = float(conserved(logit(mu[1]), logit(mu[0])))
    offset = float(np.log(mu[1] / mu[0]) - logit(p) / beta)

    def miss(t2: float) -> float:
        partner = float(conserved_partner(constant, np.asarray(t2)))
        return float(-np.logaddexp(0, -partner) + np.logaddexp(0, -t2)) - offset

    t2 = float(brentq(miss, -700, np.log(700.0), xtol=1e-13))
    return float(expit(t2)), float(expit(conserved_partner(constant, np.asarray(t2))))

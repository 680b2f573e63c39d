"""What a policy is worth, which policies are best, and what the losses cost over the population.

Everything here is about one prompt with K responses, in leading batches ``...`` if wanted:

- ``P[i, j]`` the probability that y_i is preferred to y_j (:mod:`inspo.preferences`);
- ``mu[j]`` the reference policy pi_ref(y_j | x), from which comparators are drawn;
- a policy is prompt-only, ``policy[i] = pi(y_i | x)``, or conditioned on a comparator,
  ``policy[i, j] = pi(y_i | x, y_j)``: its columns sum to one;
- ``psi`` scalarizes a preference: "identity", "log_odds" = log(q / (1 - q)), or a callable that takes an array,
  float64 or, where P is exact, of rationals, to one of the same shape, entry by entry (``np.frompyfunc(f, 1, 1)``
  makes one of a function of single numbers; a constant c is ``lambda q: np.full_like(q, c)``).

A plain P is checked by each function; a :class:`~inspo.preferences.PreferenceMatrix` has been.

Arrays of :class:`fractions.Fraction` are computed with exactly, except through "log_odds".

Source: Eq. (4), (5), (7), (9), (11) of the paper (arXiv:2512.23126).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from inspo.conditioning import Conditioning, ReferenceContext, conditioned_loss
from inspo.matrices import ROUNDING, Array, as_numeric, entry_name, not_finite, refuse, refuse_entries, validate
from inspo.pairs import PairLogps
from inspo.tabular import population_weights, tabular_terms

Psi = str | Callable[[Array], npt.ArrayLike]

# How far the entries of a distribution may sum from one in floating point.
SUM_TOLERANCE = 1e-6

_KEEP_INSIDE = "psi must be finite, so keep P inside (0, 1) or use psi = identity"


def validate_distribution(values: npt.ArrayLike, name: str, axis: int = -1) -> Array:
    """Check that `values` are probabilities that sum to one along `axis`.

    Args:
        values: (..., K) with axis -1, (..., K, K) with axis -2; float or Fraction entries.
        name: what to call it in an error message.
        axis: the axis of the responses.

    Returns:
        The same as a float64 or Fraction array.

    Raises:
        ValueError: a negative, NaN or non-numeric entry, or a sum that is not one, naming it.
    """
    array = as_numeric(values, name)
    refuse_entries(~(array >= 0), array, name, " is not a probability")

    def wrong_sum(index: tuple[int, ...]) -> str:
        where = f"{name} at {list(index)}" if index else name
        return f"{where} sums to {np.asarray(array.sum(axis=axis))[index]}, a distribution must sum to 1"

    refuse(_sums_off(array, axis), wrong_sum)
    return array


def value(policy: npt.ArrayLike, P: npt.ArrayLike, mu: npt.ArrayLike, psi: Psi = "identity") -> Any:
    """V(pi) of a prompt-only policy: what its response scores on average against one drawn from mu, Eq. (4).

    ``sum_j mu_j sum_i pi(i) psi(P[i, j])``. A policy that sees the comparator has :func:`conditioned_value`.

    Args:
        policy: (..., K), one axis fewer than P. Several policies against one P: ``(N, K)`` against ``P[None]``.
        P: (..., K, K) preference matrix.
        mu: (..., K) or (K,) reference distribution.
        psi: scalarization; see the module.

    Returns:
        (...) values in the unit of psi: probabilities for "identity", nats for "log_odds".

    Raises:
        ValueError: P, mu or policy invalid, or psi not finite on P.

    >>> value([0, 1, 0], [[.5, .3, .9], [.7, .5, .6], [.1, .4, .5]], [1 / 3] * 3).round(6).item()
    0.6
    """
    P, mu, A = _problem(P, mu, psi)
    policy = as_numeric(policy, "policy")
    if policy.ndim == P.ndim:
        raise ValueError(
            f"policy of shape {policy.shape} has as many axes as P: conditioned_value takes policies that see the "
            "comparator; give several prompt-only ones against one P with P[None]"
        )
    if policy.ndim != P.ndim - 1:
        raise ValueError(f"policy of shape {policy.shape} fits no P of shape {P.shape}: give (..., K)")
    return _mean(_sized(validate_distribution(policy, "policy"), P, "policy")[..., :, None], A, mu)


def conditioned_value(policy: npt.ArrayLike, P: npt.ArrayLike, mu: npt.ArrayLike, psi: Psi = "identity") -> Any:
    """V(pi) of a policy that sees the very comparator it is judged against, drawn from mu, Eq. (5).

    ``sum_j mu_j sum_i pi(i | j) psi(P[i, j])``.

    Args:
        policy: (..., K, K), as many axes as P; column j is pi(. | x, y_j).
        P: (..., K, K) preference matrix.
        mu: (..., K) or (K,) reference distribution.
        psi: scalarization; see the module.

    Returns:
        (...) values in the unit of psi: probabilities for "identity", nats for "log_odds".

    Raises:
        ValueError: as :func:`value`; also a policy whose rows sum to one instead of its columns.

    >>> conditioned_value([[0, 0, 1], [1, 1, 0], [0, 0, 0]], [[.5, .3, .9], [.7, .5, .6], [.1, .4, .5]], [0, .5, .5])
    np.float64(0.7)
    """
    P, mu, A = _problem(P, mu, psi)
    policy = as_numeric(policy, "policy")
    if policy.ndim != P.ndim:
        raise ValueError(f"policy of shape {policy.shape} fits no P of shape {P.shape}: give (..., K, K)")
    return _mean(_sized(_conditioned_policy(policy), P, "policy"), A, mu)


def scores(P: npt.ArrayLike, mu: npt.ArrayLike, psi: Psi = "identity") -> Array:
    """S_psi(i) = sum_j mu_j psi(P[i, j]): what a restricted policy earns by answering y_i.

    Args:
        P: (..., K, K) preference matrix.
        mu: (..., K) or (K,) reference distribution.
        psi: scalarization; see the module.

    Returns:
        (..., K), in the unit of psi.

    Raises:
        ValueError: as :func:`value`.

    Source: proof of Prop. 3.1 (Appendix B).
    """
    _, mu, A = _problem(P, mu, psi)
    expected: Array = _weighted(A, mu).sum(axis=-1)
    return expected


def restricted_optima(
    P: npt.ArrayLike, mu: npt.ArrayLike, psi: Psi = "identity", atol: float | Fraction | None = None
) -> npt.NDArray[np.bool_]:
    """The responses that pi_bar, the best prompt-only policy, may choose.

    Args:
        P: (..., K, K) preference matrix.
        mu: (..., K) or (K,) reference distribution.
        psi: scalarization; see the module.
        atol: a response counts as optimal if its score is at most this far below the best. By default 0 for
            rationals and, since sums of floats are rounded, 1e-12 of the problem's largest ``|psi(P)|`` for floats.

    Returns:
        (..., K) bool; every distribution over the true entries is optimal.

    Raises:
        ValueError: as :func:`value`, or a negative atol.

    Source: proof of Prop. 3.1 (Appendix B), without its assumption of uniqueness.
    """
    _, mu, A = _problem(P, mu, psi)
    largest = np.abs(A.astype(np.float64)).max(axis=(-2, -1))[..., None]
    return _near_best(_weighted(A, mu).sum(axis=-1), -1, atol, ROUNDING * largest)


def best_responses(P: npt.ArrayLike, atol: float | Fraction | None = None) -> npt.NDArray[np.bool_]:
    """The responses that pi*, the best conditioned policy, may choose against each comparator.

    For every strictly increasing psi they are the same, Thm 3.2 (i). Against comparators that mu
    never draws pi* is free, and this function says what would be best there too.

    Args:
        P: (..., K, K) preference matrix.
        atol: a response counts as best if its preference is at most this far below the best. By default 0 for
            rationals and 1e-12 for floats, in which 1 - 0.9 is not 0.1.

    Returns:
        (..., K, K) bool; column j marks the best responses to y_j.

    Raises:
        ValueError: P invalid, or a negative atol.
    """
    return _near_best(validate(P), -2, atol, ROUNDING)


def optimality_gap(P: npt.ArrayLike, mu: npt.ArrayLike, psi: Psi = "identity") -> Any:
    """V(pi*) - V(pi_bar) >= 0, Thm 3.2 (ii): the mean of the maxima minus the maximum of the means.

    Zero exactly when one response is a best response to every comparator in the support of mu.

    Args:
        P: (..., K, K) preference matrix.
        mu: (..., K) or (K,) reference distribution.
        psi: non-decreasing scalarization; see the module.

    Returns:
        (...), in the unit of psi.

    Raises:
        ValueError: as :func:`value`.
    """
    _, mu, A = _problem(P, mu, psi)
    mean_of_best = _weighted(A.max(axis=-2, keepdims=True), mu).sum(axis=(-2, -1))
    return mean_of_best - _weighted(A, mu).sum(axis=-1).max(axis=-1)


def gibbs_policy(reward: npt.ArrayLike, mu: npt.ArrayLike, beta: float) -> Array:
    """The optimum of Eq. (7): pi_r(i | j) proportional to mu_i exp(reward[i, j] / beta), Eq. (11).

    Args:
        reward: (..., K, K), ``reward[i, j] = r(x, y_i, y_j)`` in nats; (..., K) for a reward that
            sees no comparator, the optimum of Eq. (2).
        mu: (..., K) or (K,) reference distribution.
        beta: strength of the KL regularization, > 0.

    Returns:
        The shape of `reward`; each column (or the one distribution) sums to one.

    Raises:
        ValueError: beta not positive, a reward that is not finite, mu invalid, or shapes that differ.
    """
    if not beta > 0:
        raise ValueError(f"beta = {beta} must be > 0")
    rewards = as_numeric(reward, "reward").astype(np.float64)
    refuse_entries(not_finite(rewards), rewards, "reward", " must be finite")
    reference = validate_distribution(mu, "mu").astype(np.float64)
    squeeze = rewards.ndim == reference.ndim
    if squeeze:
        rewards = rewards[..., :, None]
    if rewards.ndim < 2 or rewards.shape[-2] != reference.shape[-1]:
        raise ValueError(f"reward of shape {np.shape(reward)} does not fit mu of shape {reference.shape}")
    supported = np.where(reference[..., :, None] > 0, rewards, -np.inf)
    with np.errstate(divide="ignore", over="ignore"):
        log_policy = np.log(reference)[..., :, None] + (supported - supported.max(axis=-2, keepdims=True)) / beta
    policy: Array = np.exp(log_policy - log_policy.max(axis=-2, keepdims=True))
    policy = policy / policy.sum(axis=-2, keepdims=True)
    return policy[..., 0] if squeeze else policy


def population_loss(
    P: npt.ArrayLike,
    mu: npt.ArrayLike,
    loss: Callable[[PairLogps], torch.Tensor],
    conditioning: Conditioning = Conditioning.SYMMETRIC,
    *,
    prompt_policy: npt.ArrayLike | None = None,
    comparator_policy: npt.ArrayLike | None = None,
    reference: ReferenceContext = ReferenceContext.PLAIN,
    reference_comparator_policy: npt.ArrayLike | None = None,
    pair_distribution: npt.ArrayLike | None = None,
) -> Any:
    """A loss over all preference data there could be, for any conditioning.

    ``sum over i != j of nu_i nu_j P[i, j] loss(chosen i, rejected j)``: the population form of
    Eq. (9) with the loss of your choice, responses drawn from nu.

    Args:
        P: (..., K, K) preference matrix.
        mu: (..., K) or (K,) reference policy pi_ref.
        loss: a loss of :mod:`inspo.losses` with its hyperparameters bound.
        conditioning: which log-probs the objective compares.
        prompt_policy: (..., K) pi(y_i | x), for ``none`` and ``averaged``.
        comparator_policy: (..., K, K) pi(y_i | x, y_j) in column j, for all but ``none``.
        reference: whether the reference sees the policy's context.
        reference_comparator_policy: (..., K, K) pi_ref(y_i | x, y_j), for a conditioned reference.
        pair_distribution: (..., K) nu; by default mu.

    Returns:
        (...), nats. Infinite where a response that occurs in data has probability zero.

    Raises:
        ValueError: an input invalid, or a policy that the conditioning needs missing.
    """
    P, mu, _ = _problem(P, mu, "identity")
    nu = mu if pair_distribution is None else validate_distribution(pair_distribution, "pair_distribution")
    prompt = None if prompt_policy is None else validate_distribution(prompt_policy, "prompt_policy")
    tables = {
        "comparator_logps": ("comparator_policy", comparator_policy),
        "ref_comparator_logps": ("reference_comparator_policy", reference_comparator_policy),
    }
    conditioned = {
        key: None if table is None else _logps(_sized(_conditioned_policy(as_numeric(table, name)), P, name))
        for key, (name, table) in tables.items()
    }
    pairs = tabular_terms(
        conditioning,
        prompt_logps=None if prompt is None else _logps(_sized(prompt, P, "prompt_policy")),
        ref_logps=_logps(mu),
        reference=reference,
        **conditioned,
    )
    losses = conditioned_loss(loss, pairs)
    weights = population_weights(
        torch.as_tensor(P.astype(np.float64)), torch.as_tensor(_sized(nu, P, "pair_distribution").astype(np.float64))
    )
    # Two impossible responses have no difference of log-probs; either alone would already cost infinity.
    losses = torch.where(losses.isnan(), torch.inf, losses)
    total = torch.where(weights > 0, weights * losses, 0.0).sum(dim=(-2, -1))
    return total.numpy()[()]


def apply_psi(P: npt.ArrayLike, psi: Psi) -> Array:
    """psi(P[i, j]) for every entry.

    Args:
        P: (..., K, K) preference matrix.
        psi: "identity", "log_odds", or a callable on arrays; see the module.

    Returns:
        (..., K, K), float64 or exact where P is exact and psi keeps it so.

    Raises:
        ValueError: an unknown name, a psi that changes the shape, or one not finite at an entry, naming it.
    """
    return _scalarized(validate(P), psi)


def _scalarized(P: Array, psi: Psi) -> Array:
    if psi == "identity":
        return P
    if psi == "log_odds":
        q = P.astype(np.float64)
        with np.errstate(divide="ignore"):
            A = np.log(q) - np.log1p(-q)
    elif callable(psi):
        try:
            with np.errstate(all="ignore"):
                A = as_numeric(psi(P), "psi(P)")
        except ArithmeticError as error:  # of rationals, which have no infinity
            raise ValueError(f"psi is undefined on P ({error}): {_KEEP_INSIDE}") from error
        if A.shape != P.shape:
            raise ValueError(
                f"psi made shape {A.shape} of P's {P.shape}; it must take each entry for itself, "
                "a constant c as lambda q: np.full_like(q, c)"
            )
    else:
        raise ValueError(f'psi = {psi!r} must be "identity", "log_odds" or a function of arrays of preferences')
    name = psi if isinstance(psi, str) else "psi"
    refuse(
        not_finite(A), lambda index: f"{name} is {A[index]} at {entry_name('P', index)} = {P[index]}: {_KEEP_INSIDE}"
    )
    return A


def _problem(P: npt.ArrayLike, mu: npt.ArrayLike, psi: Psi) -> tuple[Array, Array, Array]:
    """Validated P and mu, and psi(P)."""
    P = validate(P)
    mu = validate_distribution(mu, "mu")
    if mu.shape[-1:] != P.shape[-1:] or mu.ndim not in (1, P.ndim - 1):
        raise ValueError(f"mu of shape {mu.shape} does not fit P of shape {P.shape}")
    return P, mu, _scalarized(P, psi)


def _weighted(table: Array, mu: Array) -> Array:
    """table[..., i, j] mu[..., j]; exact only where both are."""
    if table.dtype != mu.dtype:
        table, mu = table.astype(np.float64), mu.astype(np.float64)
    return table * mu[..., None, :]


def _mean(policy: Array, A: Array, mu: Array) -> Any:
    """sum_j mu_j sum_i policy[..., i, j] A[..., i, j]; exact only where all are."""
    if policy.dtype != A.dtype:
        policy, A = policy.astype(np.float64), A.astype(np.float64)
    return _weighted(policy * A, mu).sum(axis=(-2, -1))


def _sized(table: Array, P: Array, name: str) -> Array:
    """Check that a table is about as many responses as P."""
    if table.shape[-1] != P.shape[-1]:
        raise ValueError(f"{name} has {table.shape[-1]} responses, P has {P.shape[-1]}")
    return table


def _conditioned_policy(policy: Array) -> Array:
    if policy.ndim < 2 or policy.shape[-1] != policy.shape[-2]:
        raise ValueError(f"a conditioned policy must be square, (..., K, K), got shape {policy.shape}")
    if _sums_off(policy, -2).any() and not _sums_off(policy, -1).any():
        raise ValueError(
            "the policy's rows sum to 1, not its columns: if row j is pi(. | x, y_j), transpose it; if each row is "
            "a prompt-only policy, give them where those go, one by one or with P[None]"
        )
    return validate_distribution(policy, "policy", axis=-2)


def _sums_off(array: Array, axis: int) -> npt.NDArray[np.bool_]:
    """Where the entries along `axis` do not sum to one."""
    total = array.sum(axis=axis)
    off = (total != 1) if array.dtype == object else ~(np.abs(total - 1) <= SUM_TOLERANCE)
    return np.asarray(off, dtype=bool)


def _near_best(
    table: Array, axis: int, atol: float | Fraction | None, rounding: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    """Where entries are at most `atol`, by default `rounding` in floating point, below the best along `axis`."""
    if atol is not None and not atol >= 0:
        raise ValueError(f"atol = {atol} must be >= 0")
    margin = rounding if atol is None and table.dtype != object else atol or 0  # 0.0 would round rationals
    return np.asarray(table >= table.max(axis=axis, keepdims=True) - margin, dtype=bool)


def _logps(distribution: Array) -> torch.Tensor:
    with np.errstate(divide="ignore"):
        return torch.as_tensor(np.log(distribution.astype(np.float64)))

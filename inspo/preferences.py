"""Preference matrices: make them, load them, check them, measure how separable they are.

A preference matrix holds, for one prompt with K responses, the probabilities
``P[i, j] = P(y_i is preferred to y_j)``; :mod:`inspo.matrices` says which are valid. Every
function checks a plain array; a :class:`PreferenceMatrix` has been checked.

Shapes: K responses; ``...`` any leading batch of problems. Arrays are float64, or object arrays
of :class:`fractions.Fraction` for exact work.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from numbers import Rational

import numpy as np
import numpy.typing as npt

from inspo.matrices import (
    Array,
    PreferenceMatrix,
    as_numeric,
    from_counts,
    not_finite,
    refuse_entries,
    validate,
    validate_counts,
)
from inspo.tables import PreferenceTable, load_preferences, load_table

__all__ = [
    "Array",
    "PreferenceMatrix",
    "PreferenceTable",
    "Separability",
    "bradley_terry",
    "cyclic_triads",
    "fit_bradley_terry",
    "from_counts",
    "load_preferences",
    "load_table",
    "random_preferences",
    "rock_paper_scissors",
    "separability",
    "validate",
    "validate_counts",
]

Floats = npt.NDArray[np.float64]

# Newton's steps of a Bradley-Terry fit, at most 2 nats each: enough for scores hundreds of nats apart.
MAX_STEPS = 500


def bradley_terry(scores: npt.ArrayLike) -> Array:
    """Bradley-Terry preferences, Eq. (1): ``P[i, j] = sigmoid(scores[i] - scores[j])``.

    Args:
        scores: (..., K) rewards in nats. For strengths s, pass log(s).

    Returns:
        (..., K, K) float64.

    Raises:
        ValueError: fewer than two scores, or one that is not finite.

    >>> bradley_terry(np.log([4, 2, 1]))[0, 1].round(6).item()
    0.666667
    """
    from scipy.special import expit

    values = as_numeric(scores, "scores").astype(np.float64)
    if values.ndim < 1 or values.shape[-1] < 2:
        raise ValueError(f"scores must have shape (..., K) with K >= 2, got {values.shape}")
    refuse_entries(not_finite(values), values, "scores", " must be finite")
    return np.asarray(expit(values[..., :, None] - values[..., None, :]))


def rock_paper_scissors(p: float | Fraction) -> Array:
    """Cyclic preferences of three responses: each beats the next with probability p.

    Args:
        p: probability in [0, 1]; a Fraction gives an exact matrix. p = 1/2 is indifference.

    Returns:
        (3, 3), ``P[0, 1] = P[1, 2] = P[2, 0] = p``.

    Raises:
        ValueError: p outside [0, 1].
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p = {p} is not a probability in [0, 1]")
    half = Fraction(1, 2) if isinstance(p, Rational) else 0.5
    q = 1 - p
    return np.array([[half, p, q], [q, half, p], [p, q, half]])


def random_preferences(k: int, rng: np.random.Generator, scale: float = 1.0) -> Array:
    """Random non-separable preferences: independent log-odds N(0, scale^2) for each pair.

    Args:
        k: number of responses, at least 2.
        rng: the source of randomness.
        scale: standard deviation of the log-odds, in nats; 0 gives indifference.

    Returns:
        (k, k) float64.

    Raises:
        ValueError: k < 2 or a negative scale.
    """
    from scipy.special import expit

    if k < 2:
        raise ValueError(f"k = {k}: a preference needs at least two responses")
    if not scale >= 0:
        raise ValueError(f"scale = {scale} must be non-negative")
    log_odds = np.triu(rng.normal(0.0, 1.0, (k, k)) * scale, 1)
    return np.asarray(expit(log_odds - log_odds.T))


def fit_bradley_terry(wins: npt.ArrayLike, *, bounded: bool = True) -> Floats:
    """Bradley-Terry scores of maximum likelihood, Eq. (1), by Newton's method.

    They solve ``sum_j n[i, j] sigmoid(scores[i] - scores[j]) = sum_j wins[i, j]``, n = wins + wins^T.

    Args:
        wins: (..., K, K), how often or with what weight i was preferred to j: counts, or a preference matrix,
            whose pairs all have the same weight. The diagonal does not count.
        bounded: refuse wins whose likelihood has no maximum, as where a response always loses. Otherwise their
            scores are large and finite, and their fitted probabilities at their limits to 1e-11 or so.

    Returns:
        (..., K) nats, mean zero.

    Raises:
        ValueError: not square, an entry that is negative or not finite, responses that no chain of comparisons
            links, or no maximum although `bounded`.

    Source: Ford 1957 for when there is a maximum.

    >>> fit_bradley_terry([[0, 3], [1, 0]]).round(4)  # log 3 apart
    array([ 0.5493, -0.5493])
    """
    from scipy.special import expit

    table = as_numeric(wins, "wins").astype(np.float64)
    if table.ndim < 2 or table.shape[-1] != table.shape[-2]:
        raise ValueError(f"wins must be square, (..., K, K), got shape {table.shape}")
    refuse_entries(not_finite(table) | (table < 0), table, "wins", " must be a finite number >= 0")
    k = table.shape[-1]
    table = table * (1 - np.eye(k))
    compared = table + np.swapaxes(table, -1, -2)
    if not _linked(compared > 0):
        raise ValueError("no chain of comparisons links all responses, so their scores have no common scale")
    if bounded and not _linked(table > 0):
        raise ValueError("no finite Bradley-Terry fit: some responses always lose to the others")
    weights = compared.max(axis=(-2, -1), keepdims=True)
    table, compared = table / weights, compared / weights

    scores = np.zeros(table.shape[:-1])
    for _ in range(MAX_STEPS):
        fitted = expit(scores[..., :, None] - scores[..., None, :])
        gradient = (table - compared * fitted).sum(axis=-1)
        curvature = compared * fitted * (1 - fitted)
        hessian = np.eye(k) * curvature.sum(axis=-1, keepdims=True) - curvature
        # The likelihood depends on differences alone; pinning the mean makes the system regular.
        pinned = hessian + np.trace(hessian, axis1=-2, axis2=-1)[..., None, None] / k**2
        step = np.linalg.solve(pinned, gradient[..., None])
        # Damped where the fit is far off: a full step may overshoot into saturation.
        step = step[..., 0] / np.maximum(1.0, abs(step).max(axis=-2) / 2)
        scores = scores + step
        if abs(step).max() < 1e-12 or abs(gradient).max() < (1e-15 if bounded else 1e-12):
            break
    return np.asarray(scores - scores.mean(axis=-1, keepdims=True))


def _linked(beats: npt.NDArray[np.bool_]) -> bool:
    """Whether in every problem a chain leads from each response to each other one."""
    reached = beats | np.eye(beats.shape[-1], dtype=bool)
    for _ in range(beats.shape[-1].bit_length()):
        reached = reached @ reached
    return bool(reached.all())


@dataclass(frozen=True)
class Separability:
    """How far preferences are from Bradley-Terry, Eq. (1). All zero where they are separable.

    Attributes:
        scores: (K,) maximum-likelihood Bradley-Terry scores in nats, mean zero.
        mean_kl: mean over pairs i < j of KL(P[i, j] || fitted), in nats.
        max_error: largest absolute difference of P[i, j] and the fit over pairs.
        cyclic_triads: number of triples i > j > k > i, each preferred with probability above 1/2.
    """

    scores: Floats
    mean_kl: float
    max_error: float
    cyclic_triads: int


def cyclic_triads(P: npt.ArrayLike) -> int:
    """Number of triples of responses that beat each other in a circle, each with P > 1/2.

    Args:
        P: (K, K) preference matrix.

    >>> cyclic_triads(rock_paper_scissors(0.6))
    1
    """
    matrix = validate(P)
    if matrix.ndim != 2:
        raise ValueError(f"P must be one matrix, (K, K), got shape {matrix.shape}")
    beats = (matrix > 0.5).astype(np.int64)
    return int(np.trace(beats @ beats @ beats)) // 3


def separability(P: npt.ArrayLike) -> Separability:
    """Fit Bradley-Terry by maximum likelihood, all pairs with the same weight, and measure the misfit.

    Where the likelihood has no maximum the scores are as :func:`fit_bradley_terry` says, not bounded.

    Args:
        P: (K, K) preference matrix.
    """
    from scipy.special import expit, xlogy

    checked = PreferenceMatrix(P)
    triads = cyclic_triads(checked)
    matrix = checked.values.astype(np.float64)
    scores = fit_bradley_terry(matrix, bounded=False)
    i, j = np.triu_indices(len(matrix), 1)
    p, fitted = matrix[i, j], expit(scores[i] - scores[j])
    tiny = np.finfo(np.float64).tiny
    kl = xlogy(p, p / np.maximum(fitted, tiny)) + xlogy(1 - p, (1 - p) / np.maximum(1 - fitted, tiny))
    return Separability(scores, float(kl.mean()), float(abs(p - fitted).max()), triads)

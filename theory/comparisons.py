"""Paired comparisons by people: the published tables, their Bradley-Terry fits and parametric bootstraps.

``wins[i, j]`` counts how often y_i was preferred to y_j; functions take (..., K, K) of them. Comparisons
are drawn as independent; one person's comparisons of different pairs are not quite that.

Kept independent of the fits and bootstraps in inspo/ and toy/ on purpose, as a second opinion;
tests/test_twins.py holds them together.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inspo.preferences import load_table
from theory.exact import HALF

Floats = npt.NDArray[np.float64]

DATA = Path(__file__).parents[1] / "toy" / "data"


def load_wins(name: str) -> Floats:
    """Counts of a published table, (K, K)."""
    counts = load_table(DATA / f"{name}.json").counts
    assert counts is not None, f"{name} holds no counts"
    return counts.astype(np.float64)


def rational_frequencies(name: str) -> list[list[Fraction]]:
    """Relative frequencies of a table, exactly; 1/2 on the diagonal."""
    wins = load_wins(name)
    return [
        [HALF if i == j else Fraction(int(n), int(n + wins[j][i])) for j, n in enumerate(row)]
        for i, row in enumerate(wins)
    ]


def frequencies(wins: Floats) -> Floats:
    """Relative frequencies, 1/2 on the diagonal."""
    games = wins + wins.swapaxes(-1, -2)
    share: Floats = np.where(games > 0, wins, 0.5) / np.where(games > 0, games, 1)
    return share


def fit(wins: Floats, rounds: int = 2000) -> Floats:
    """Bradley-Terry probabilities by maximum likelihood, (..., K, K).

    Hunter's (2004) minorization-maximization on strengths; a response that never wins keeps a tiny one.
    """
    games = wins + wins.swapaxes(-1, -2)
    total = np.maximum(wins.sum(axis=-1), 1e-6)
    strengths = np.ones(total.shape)
    for _ in range(rounds):
        updated = total / (games / (strengths[..., :, None] + strengths[..., None, :])).sum(axis=-1)
        updated /= np.exp(np.log(updated).mean(axis=-1, keepdims=True))
        moved = np.abs(np.log(updated / strengths)).max()
        strengths = updated
        if moved < 1e-9:
            break
    fitted: Floats = strengths[..., :, None] / (strengths[..., :, None] + strengths[..., None, :])
    return fitted


def gaps(P: Floats) -> Floats:
    """V(pi*) - V(pi_bar) with uniform mu, psi = identity: the mean of the maxima less the maximum of the means."""
    difference: Floats = P.max(axis=-2).mean(axis=-1) - P.mean(axis=-1).max(axis=-1)
    return difference


def deviances(wins: Floats) -> Floats:
    """Twice the log-likelihood of the frequencies less that of the Bradley-Terry fit."""
    from scipy.special import xlogy

    excess: Floats = 2 * (xlogy(wins, frequencies(wins)) - xlogy(wins, fit(wins))).sum(axis=(-2, -1))
    return excess


def degrees_of_freedom(k: int) -> int:
    """Of the deviance: pairs less the k - 1 strengths of Bradley-Terry."""
    return (k - 1) * (k - 2) // 2


def triads(P: Floats) -> Floats:
    """Number of cyclic triads."""
    beats = (P > 0.5).astype(np.float64)
    count: Floats = np.trace(beats @ beats @ beats, axis1=-2, axis2=-1) / 3
    return count


def resample(wins: Floats, P: Floats, size: int) -> Floats:
    """(size, K, K) counts drawn from P, with as many comparisons of each pair as the (K, K) `wins` have."""
    i, j = np.triu_indices(len(wins), 1)
    games = (wins + wins.T)[i, j]
    drawn = np.random.default_rng(2026).binomial(games.astype(int), P[i, j], (size, len(i)))
    samples = np.zeros((size, *wins.shape))
    samples[:, i, j], samples[:, j, i] = drawn, games - drawn
    return samples

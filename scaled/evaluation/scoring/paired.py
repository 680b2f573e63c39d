"""Two models on the same questions: wins, the difference with its standard error, and tests of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaled.evaluation.scoring.numbers import mean_and_error

ROUNDING = 1e-12
"""Relative differences up to this are none."""


@dataclass(frozen=True)
class Comparison:
    """A first model against a second.

    Attributes:
        wins: questions on which the first is ahead.
        losses: on which the second is.
        ties: on which neither is.
        difference: of the means, first less second.
        se: its standard error, from the differences on single questions; 0 where all are equal, which says nothing.
        sign_p: of the exact sign test of wins against losses (McNemar's, where scores are right or wrong).
        t_p: of the paired t-test; None where the differences have no spread to test against.
    """

    wins: int
    losses: int
    ties: int
    difference: float
    se: float
    sign_p: float
    t_p: float | None

    @property
    def reach(self) -> float:
        """Two standard errors: what a difference must pass to be more than chance, about."""
        return 2 * self.se


def compare(
    first: NDArray[np.float64], second: NDArray[np.float64], contributions: NDArray[np.float64] | None = None
) -> Comparison:
    """Compare (questions,) scores of two models.

    Args:
        first: of the first model.
        second: of the second, question by question.
        contributions: (questions,) whose mean is the difference of both scores, where that is not the mean of
            `first - second`: a weighted mean's.

    Raises:
        ValueError: not the same number of questions.
    """
    from scipy.stats import binomtest, t

    if first.shape != second.shape:
        raise ValueError(f"{len(first)} questions of one model, {len(second)} of the other")
    parts = first - second if contributions is None else contributions
    difference, se = mean_and_error(parts)
    if np.ptp(parts) <= ROUNDING * np.abs(parts).max():
        se = 0.0
    wins, losses = int((first > second).sum()), int((first < second).sum())
    sign_p = float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    t_p = float(2 * t.sf(abs(difference) / se, len(first) - 1)) if se > 0 else None
    return Comparison(wins, losses, len(first) - wins - losses, difference, se, sign_p, t_p)

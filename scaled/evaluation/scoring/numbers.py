"""One number with what it needs to be read, and means with standard errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Number:
    """One score of one model.

    Attributes:
        metric: such as ``alpaca_eval_lc``.
        model: whose.
        value: percent, or points of 10.
        se: standard error in the same unit; None where there is none.
        n: questions behind it.
        interval: 95 %, in the same unit; None where none was drawn.
        counts: of what was and was not usable.
        together: models that were fitted with it, itself included; empty where nothing was fitted.
        note: what a reader must know of it, or empty.
        category: whose questions are behind it; empty for all of them.
    """

    metric: str
    model: str
    value: float
    se: float | None
    n: int
    interval: tuple[float, float] | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    together: tuple[str, ...] = ()
    note: str = ""
    category: str = ""


def influences(values: ArrayLike, clusters: ArrayLike, weights: ArrayLike | None = None) -> NDArray[np.float64]:
    """(clusters,) what each cluster contributes to a weighted mean: their plain mean is the weighted mean.

    Their standard deviation over the root of their number is the mean's standard error, to first order in the spread
    of the clusters' weights and exactly for equal ones; the difference of two models' is that of the difference.

    Args:
        values: (n,).
        clusters: (n,) what belongs together, such as a question's games; in the order of np.unique.
        weights: (n,), 1 each where none are given.
    """
    values = np.asarray(values, dtype=np.float64)
    weights = np.ones_like(values) if weights is None else np.asarray(weights, dtype=np.float64)
    names, index = np.unique(np.asarray(clusters), return_inverse=True)
    mean = float(values @ weights / weights.sum())
    residuals = np.bincount(index, weights * (values - mean), len(names))
    return np.asarray(mean + len(names) * residuals / weights.sum())


def mean_and_error(contributions: NDArray[np.float64]) -> tuple[float, float]:
    """(mean, standard error); the error of a single contribution is not known: NaN."""
    n = len(contributions)
    error = float(contributions.std(ddof=1)) / sqrt(n) if n > 1 else nan
    return float(contributions.mean()), error


def known(error: float) -> float | None:
    """A standard error as files keep it."""
    return None if np.isnan(error) else error

"""The preference problems that the plots are about."""

from __future__ import annotations

import numpy as np

from inspo.preferences import PreferenceTable, bradley_terry, random_preferences, rock_paper_scissors
from toy.training import Floats

RESPONSES = ("y1", "y2", "y3")


class NotApplicableError(ValueError):
    """A plot has nothing to say about this preference table; the message says why."""


def witness() -> PreferenceTable:
    """The smallest table on which every claim can be told apart: P12 = .3, P13 = .9, P23 = .6 (audit, row 1c)."""
    P = np.array([[0.5, 0.3, 0.9], [0.7, 0.5, 0.6], [0.1, 0.4, 0.5]])
    return PreferenceTable(P, RESPONSES, "witness", "P12 = .3, P13 = .9, P23 = .6")


def cyclic(p: float) -> PreferenceTable:
    """Rock-paper-scissors, where no Bradley-Terry reward tells the responses apart."""
    return PreferenceTable(rock_paper_scissors(p), RESPONSES, "cyclic", f"rock-paper-scissors, p = {p:.3g}")


def separable() -> PreferenceTable:
    """Bradley-Terry preferences, where a comparator carries no information."""
    return PreferenceTable(bradley_terry(np.log([4, 2, 1])), RESPONSES, "Bradley-Terry", "strengths 4 : 2 : 1")


def random_problems(n: int, k: int, rng: np.random.Generator, scale: float = 1.0) -> Floats:
    """(n, k, k) tables with independent L[i, j] ~ N(0, scale), which no reward explains."""
    return np.stack([random_preferences(k, rng, scale) for _ in range(n)])


def reference(name: str, k: int) -> Floats:
    """(k,) the reference policy by name: ``uniform``, or ``skewed``, each response half as likely as the one before."""
    weights = np.ones(k) if name == "uniform" else 0.5 ** np.arange(k)
    return np.asarray(weights / weights.sum())


def require_interior(table: PreferenceTable) -> None:
    """Refuse a table with certain preferences where log-odds are needed.

    Raises:
        NotApplicableError: some P[i, j] is 0 or 1.
    """
    if not ((table.P > 0) & (table.P < 1)).all():
        raise NotApplicableError("it needs every preference strictly between 0 and 1, and one of yours is certain")

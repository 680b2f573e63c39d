"""The preference problems that the plots are about, and the reference policies."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from inspo.preferences import PreferenceTable, bradley_terry, load_table, random_preferences, rock_paper_scissors
from toy.estimates import Floats

RESPONSES = ("y1", "y2", "y3")
DATA = Path(__file__).parent / "data"
HUMAN_TABLES = ("celebrities_1971", "school_subjects_1940_girls", "school_subjects_1940_boys", "weights_1975")
ReferencePolicy = Literal["uniform", "skewed"]


# What the labels of the published tables stand for, where they are not plain words.
FULL_NAMES = {
    "celebrities_1971": "LBJ Lyndon Johnson, HW Harold Wilson, CDG Charles de Gaulle, JU Johnny Unitas, CY Carl "
    "Yastrzemski, "
    "AJF A. J. Foyt, BB Brigitte Bardot, ET Elizabeth Taylor, SL Sophia Loren",
    "school_subjects_1940": "wood woodwork, gymn gymnastics, sci science, dome domestic science, hist history, arit "
    "arithmetic, geog geography, lit English literature, reli religion, comm commercial subjects, alge algebra, "
    "gram English grammar, "
    "geom geometry",
}
# What the toy has time and memory for, measured (LOG.md, 2026-11-26).
MOST_RESPONSES = 60


class NotApplicableError(ValueError):
    """A plot has nothing to say about this preference table; the message says why."""


def witness() -> PreferenceTable:
    """A table on which pi_bar depends on psi and on the reference, and no response is best against all."""
    P = np.array([[0.5, 0.3, 0.9], [0.7, 0.5, 0.6], [0.1, 0.4, 0.5]])
    return PreferenceTable(P, RESPONSES, "witness", "P12 = .3, P13 = .9, P23 = .6")


def cyclic(p: float) -> PreferenceTable:
    """Rock-paper-scissors, where every Bradley-Terry reward is the same for all responses."""
    return PreferenceTable(rock_paper_scissors(p), RESPONSES, "cyclic", f"rock-paper-scissors, p = {p:.3g}")


def separable() -> PreferenceTable:
    """Bradley-Terry preferences, where a comparator carries no information."""
    return PreferenceTable(bradley_terry(np.log([4, 2, 1])), RESPONSES, "Bradley-Terry", "strengths 4 : 2 : 1")


def human_tables() -> list[PreferenceTable]:
    """Four published paired-comparison experiments, with their citations."""
    return [load_table(DATA / f"{name}.json") for name in HUMAN_TABLES]


def random_problems(n: int, k: int, rng: np.random.Generator, scale: float = 1.0) -> Floats:
    """(n, k, k) tables with independent log-odds N(0, scale^2), which no reward explains."""
    return np.stack([random_preferences(k, rng, scale) for _ in range(n)])


def reference(name: ReferencePolicy, k: int) -> Floats:
    """(k,) the reference policy by name: ``uniform``, or ``skewed``, each response half as likely as the one before."""
    weights = np.ones(k) if name == "uniform" else 0.5 ** np.arange(k)
    return np.asarray(weights / weights.sum())


def is_interior(P: Floats) -> bool:
    """Whether no preference is certain, so that all log-odds are finite."""
    return bool(((P > 0) & (P < 1)).all())


def certain_cell(table: PreferenceTable) -> str | None:
    """The first preference of a table that is certain, with infinite log-odds, and what to do; None without one."""
    for i, j in np.argwhere(table.P >= 1).tolist():
        cell = f"{table.labels[i]} is preferred to {table.labels[j]} with probability 1"
        if table.counts is None:
            return cell
        wins = f"{table.counts[i, j]} : {table.counts[j, i]}"
        return f"{cell} ({wins}; --smoothing 0.5 adds half a win to both sides of every pair)"
    return None


def require_interior(user: PreferenceTable | None) -> None:
    """Refuse a user's table with certain preferences where log-odds are needed.

    Raises:
        NotApplicableError: some P[i, j] is 0 or 1; it says which.
    """
    if user is not None and (certain := certain_cell(user)):
        raise NotApplicableError(f"it needs every preference strictly between 0 and 1, and {certain}")


def require_at_most(user: PreferenceTable | None, most: int, why: str) -> None:
    """Refuse a user's table that is too large for a plot.

    Raises:
        NotApplicableError: more than `most` responses.
    """
    if user is not None and len(user.P) > most:
        raise NotApplicableError(f"{why}: up to {most} responses, and yours has {len(user.P)}")

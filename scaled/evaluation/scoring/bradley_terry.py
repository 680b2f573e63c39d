"""Win rates against one baseline: Bradley-Terry's, and its bootstrap intervals.

Every game is against the baseline, so the likelihood falls apart into one term a model, and the fitted win rate is the
weighted share of points. It needs no solver, and a model that loses every game has one: 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDS = 1000
LEVELS = (2.5, 97.5)


@dataclass(frozen=True)
class Games:
    """Games of several models against one baseline.

    Attributes:
        models: their names.
        model: (games,) index into them.
        question: (games,) which question.
        points: (games,) of the model: 1 won, 1/2 tied, 0 lost.
        weight: (games,) battles that a game counts as.
    """

    models: tuple[str, ...]
    model: NDArray[np.int64]
    question: NDArray[np.str_]
    points: NDArray[np.float64]
    weight: NDArray[np.int64]

    def of(self, model: str) -> Games:
        """One model's."""
        mine = self.model == self.models.index(model)
        zeros = np.zeros(int(mine.sum()), dtype=np.int64)
        return Games((model,), zeros, self.question[mine], self.points[mine], self.weight[mine])


def win_rates(games: Games) -> NDArray[np.float64]:
    """(models,) fitted probabilities to beat the baseline; NaN for a model without games."""
    weights = np.bincount(games.model, games.weight, len(games.models))
    points = np.bincount(games.model, games.weight * games.points, len(games.models))
    rates: NDArray[np.float64] = np.divide(points, weights, out=np.full(len(games.models), np.nan), where=weights > 0)
    return rates


def intervals(games: Games, *, rounds: int = ROUNDS, seed: int) -> NDArray[np.float64]:
    """(2, models) percentiles of win rates over redrawn battles.

    Battles are drawn as upstream draws them: with replacement from those of all models together, a strong verdict
    being three of them. Questions are not kept together; the standard error by question does that.
    """
    outcomes = np.round(2 * games.points).astype(np.int64)
    cells = np.bincount(3 * games.model + outcomes, games.weight, 3 * len(games.models))
    total = round(cells.sum())
    drawn = np.random.default_rng(seed).multinomial(total, cells / total, size=rounds)
    drawn = drawn.reshape(rounds, len(games.models), 3).astype(np.float64)
    weights = drawn.sum(-1)
    rates = np.divide(drawn @ [0.0, 0.5, 1.0], weights, out=np.full(weights.shape, np.nan), where=weights > 0)
    return np.asarray(np.nanpercentile(rates, LEVELS, axis=0))

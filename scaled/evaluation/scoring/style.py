"""Arena-Hard's style control: win rates at equal style, from a logistic regression on models and differences of style.

A game's differences (model - baseline) / (model + baseline + 1) of tokens, headers, list items and bold texts are
standardized over all battles and stand beside the models' columns; the fit has scikit-learn's L2 penalty with C = 1,
as upstream's has. Its coefficients come from all models fitted together, and so does every score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit

from scaled.evaluation.scoring.bradley_terry import LEVELS, Games

ELEMENTS = ("tokens", "headers", "lists", "bold")
ROUNDS = 200

Array = NDArray[np.float64]


@dataclass(frozen=True)
class StyleFit:
    """What was fitted.

    Attributes:
        rates: (models,) win rates at equal style.
        errors: (models,) their standard errors, by question.
        coefficients: of each element that was used, for one standard deviation of its difference, in nats.
        left_out: elements that do not vary, and so say nothing.
    """

    rates: Array
    errors: Array
    coefficients: dict[str, float]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Problem:
    """Columns of the regression: the models', the baseline's, then style's; twice the battles, as upstream has them."""

    columns: Array
    points: Array
    weights: NDArray[np.floating]

    def fit(self, weights: NDArray[np.floating], start: Array | None = None) -> Array:
        """The minimum of weighted log loss + |b|^2 / 2, by Newton's method to rounding.

        Raises:
            ArithmeticError: it did not converge.
        """
        b = np.zeros(self.columns.shape[1]) if start is None else start
        loss = self._loss(b, weights)
        for _ in range(100):
            rates = expit(self.columns @ b)
            gradient = self.columns.T @ (weights * (rates - self.points)) + b
            step = cho_solve(cho_factor(self.curvature(rates, weights)), gradient)
            if float(np.abs(step).max()) < 1e-9:
                return b - step
            scale = 1.0
            while (new := self._loss(b - scale * step, weights)) > loss * (1 + 1e-12) and scale > 1e-8:
                scale /= 2
            b, loss = b - scale * step, new
        raise ArithmeticError("style control did not converge")

    def _loss(self, b: Array, weights: NDArray[np.floating]) -> float:
        scores = self.columns @ b
        return float(weights @ (np.logaddexp(0, scores) - self.points * scores) + b @ b / 2)

    def curvature(self, rates: Array, weights: NDArray[np.floating]) -> Array:
        """The Hessian at fitted rates."""
        hessian: Array = (self.columns.T * (weights * rates * (1 - rates))) @ self.columns
        hessian[np.diag_indices_from(hessian)] += 1
        return hessian


def differences(model: Array, baseline: Array) -> Array:
    """(games, elements) from counts of both: in [-1, 1]."""
    return (model - baseline) / (model + baseline + 1)


def fit(games: Games, style: Array, elements: Sequence[str] = ELEMENTS) -> StyleFit:
    """Win rates at equal style of all models of `games`.

    Args:
        games: of all models that are fitted together.
        style: (games, 4) differences in the order of ELEMENTS.
        elements: those that are controlled for.
    """
    problem, used = _problem(games, style, elements)
    b = problem.fit(problem.weights)
    rates = _rates(b, len(games.models))
    fitted = expit(problem.columns @ b)
    _, question = np.unique(games.question, return_inverse=True)
    scores = np.zeros((int(question.max()) + 1, len(b)))
    np.add.at(scores, question, (problem.weights * (games.points - fitted))[:, None] * problem.columns)
    factor = cho_factor(problem.curvature(fitted, problem.weights))
    contrast = np.eye(len(games.models), len(b))
    contrast[:, len(games.models)] = -1
    # Each question's pull on each model's coefficient less the baseline's, in the units of the linear predictor.
    pulls = scores @ cho_solve(factor, contrast.T) * log(10)
    n = len(scores)
    errors = rates * (1 - rates) * np.sqrt((pulls**2).sum(0) * n / max(n - 1, 1))
    coefficients = dict(zip(used, b[len(games.models) + 1 :].tolist(), strict=True))
    return StyleFit(rates, errors, coefficients, tuple(e for e in elements if e not in used))


def intervals(
    games: Games, style: Array, elements: Sequence[str] = ELEMENTS, *, rounds: int = ROUNDS, seed: int
) -> Array:
    """(2, models) percentiles of win rates at equal style over redrawn battles, standardized as in the main fit."""
    problem, _ = _problem(games, style, elements)
    start = problem.fit(problem.weights)
    total = int(games.weight.sum())
    generator = np.random.default_rng(seed)
    rates = []
    for _ in range(rounds):
        drawn = generator.multinomial(total, games.weight / total)
        rates.append(_rates(problem.fit(2.0 * drawn, start), len(games.models)))
    return np.percentile(rates, LEVELS, axis=0)


def _problem(games: Games, style: Array, elements: Sequence[str]) -> tuple[_Problem, list[str]]:
    chosen = style[:, [ELEMENTS.index(element) for element in elements]]
    mean = np.average(chosen, axis=0, weights=games.weight)
    spread = np.sqrt(np.average((chosen - mean) ** 2, axis=0, weights=games.weight))
    varies = spread > 1e-12
    models = np.zeros((len(games.model), len(games.models) + 1))
    models[np.arange(len(games.model)), games.model] = log(10)
    models[:, -1] = -log(10)
    standard = (chosen[:, varies] - mean[varies]) / spread[varies]
    used = [element for element, kept in zip(elements, varies, strict=True) if kept]
    return _Problem(np.hstack([models, standard]), games.points, 2.0 * games.weight), used


def _rates(b: Array, models: int) -> Array:
    return np.asarray(expit((b[:models] - b[models]) * log(10)))

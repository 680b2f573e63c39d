"""DPO's Figure 2 in its form, from the results that there are: reward and win rate against KL, method by method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from experiments import curves
from experiments.ledger import Result
from experiments.smol.cells import Cell
from experiments.smol.hypotheses import HYPERPARAMETERS
from toy import style
from toy.words import Caption

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "reward_kl"

PANELS: Mapping[str, tuple[str, float]] = {
    "reward_gained": ("VADER score gained", 0.0),
    "value": ("win rate over the reference", 0.5),
}
"""What is drawn, and what the reference has of it."""

CAPTION = Caption(
    "SmolLM2-135M-Instruct: reward and win rate against KL",
    "Each curve begins at the reference and goes through its policy at shares of a training. Left: the reward, VADER's "
    "compound score, above the reference's. Right: win rate over the reference's answers by the whole judge.",
    "means over seeds with standard errors in both directions; faint points are single trainings.",
    "color is the method; full lines are INS, dashed ones the plain method.",
)


def draw(results: Sequence[Result], page: style.Page) -> Figure:
    """The figure.

    Args:
        results: of this world; cells that differ from those of the questions in training are not drawn.
        page: what for.
    """

    def usual(cell: Cell) -> bool:
        return cell == Cell(
            cell.method,
            cell.conditioning,
            HYPERPARAMETERS.get(cell.method, {}),
            pretraining_seed=cell.pretraining_seed,
            cycle=cell.cycle,
            seed=cell.seed,
        )

    return curves.draw(results, usual, PANELS, "answer", page)

"""What policies of conversations are worth along their trainings, against KL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from experiments import curves
from experiments.dialogue.hypotheses import HYPOTHESES
from experiments.hypotheses import wanted
from experiments.ledger import Result
from toy import style
from toy.words import Caption

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "two_replies"

PANELS: Mapping[str, tuple[str, float]] = {
    "value": ("win rate over the reference", 0.5),
    "value_even_length": ("the same, whatever the length", 0.5),
}
"""What is drawn, and what the reference has of it."""

CAPTION = Caption(
    "Conversations of two replies: win rate against KL",
    "Each curve begins at the reference and goes through its policy at shares of a training. A response is a reply, "
    "what the user asks then, and a second reply; the judge compares whole conversations.",
    "means over seeds with standard errors in both directions; faint points are single trainings.",
    "full line INS-DPO, dashed DPO.",
)


def draw(results: Sequence[Result], page: style.Page) -> Figure:
    """The figure, of the questions' cells."""
    asked = {cell.key() for cell in wanted(list(HYPOTHESES.values()))}
    return curves.draw(results, lambda cell: cell.key() in asked, PANELS, "conversation", page)

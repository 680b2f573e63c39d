"""Self-play round by round, from the results that there are: value and exploitability, with a cycle and without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.ledger import Result
from experiments.selfplay.cells import Cell
from experiments.selfplay.hypotheses import CYCLES, IMPLICIT, INS, MARGIN, NASH, ONLINE
from toy import style
from toy.words import Caption

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "self_play"

LOOKS: Sequence[tuple[Mapping[str, Any], str, str, str]] = (
    (ONLINE, "DPO, true judge", style.DPO, "s"),
    (INS, "INS-DPO, true judge", style.INS, "o"),
    (MARGIN, "INS-DPO, own margin", style.ANCHORED, "D"),
    (IMPLICIT, "DPO, own implicit reward", style.ORANGE, "v"),
    (NASH, "INPO, true judge", style.GREEN, "^"),
)
"""Name, color and marker of each way of self-play."""

CAPTION = Caption(
    "Self-play in the language world, round by round",
    "Each round trains on pairs of the policy's own responses; the first round's labels are the true judge's, the "
    "others' as named above. Value: win rate over the first policy. Exploitability: the best style's win rate over "
    "what is deployed, less 1/2, its quality and length distributed as the first policy's.",
    "means over first policies and data with standard errors.",
    "each color and marker is one way of self-play, named above.",
)


def draw(results: Sequence[Result], page: style.Page) -> Figure:
    """The figure.

    Args:
        results: of this world; cells that differ from those of the questions in rounds or training are not drawn.
        page: what for.
    """
    by_key = {result.cell.key(): result for result in results}
    panels = style.sheet(page, 4, across=2, aspect=0.55)
    axes, drawn = iter(panels.axes), {}
    for cycle in CYCLES:
        for number, label in (("value", "win rate over the first policy"), ("exploitability", "exploitability")):
            axis = next(axes)
            for look in LOOKS:
                found = [result for result in results if by_key.get(_usual(result, look[0], cycle).key()) is result]
                if found:
                    _line(axis, found, number, *look[2:])
                    drawn[look[1]] = look
            axis.set(xlabel="round", ylabel=label)
            panels.title(axis, f"cycle {cycle:g}" if cycle else "Bradley-Terry")
    panels.legend([style.line(name, color=color, marker=marker) for _, name, color, marker in drawn.values()])
    return panels.figure


def _usual(result: Result, way: Mapping[str, Any], cycle: float) -> Cell:
    """The questions' cell of a way of self-play, with a result's seeds."""
    cell: Any = result.cell
    return Cell(**way, cycle=cycle, pretraining_seed=cell.pretraining_seed, seed=cell.seed)


def _line(axis: Any, results: Sequence[Result], number: str, color: str, marker: str) -> None:
    values = np.array([[point[number] for point in result.points] for result in results])
    error = values.std(0, ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.zeros(values.shape[1])
    rounds = [point["round"] for point in results[0].points]
    axis.errorbar(rounds, values.mean(0), error, color=color, marker=marker, ms=5, lw=1.2)
    axis.set_xticks(rounds)

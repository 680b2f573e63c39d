"""DPO's Figure 2 in its form, from the results that there are: reward and win rate against KL, method by method."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.ledger import Result
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

LOOKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "symmetric": ("INS (symmetric)", {"ls": "-", "marker": "o", "mfc": None}),
    "none": ("plain", {"ls": (0, (4, 2)), "marker": "s", "mfc": "white"}),
}

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
    found: dict[float, dict[tuple[str, str], list[Sequence[Mapping[str, float]]]]] = defaultdict(dict)
    for result in results:
        cell: Any = result.cell
        usual = type(cell)(
            cell.method,
            cell.conditioning,
            HYPERPARAMETERS.get(cell.method, {}),
            pretraining_seed=cell.pretraining_seed,
            cycle=cell.cycle,
            seed=cell.seed,
        )
        if cell == usual and cell.conditioning in LOOKS:
            found[cell.cycle].setdefault((cell.method, cell.conditioning), []).append(result.points)
    sheet = style.sheet(page, len(PANELS) * len(found), across=len(PANELS), row=2.7)
    axes = iter(sheet.axes)
    for cycle in sorted(found, reverse=True):
        for number, (label, start) in PANELS.items():
            axis = next(axes)
            for (method, conditioning), paths in sorted(found[cycle].items()):
                look = {"color": style.METHOD_COLORS[method], **LOOKS[conditioning][1]}
                _curve(axis, paths, number, start, look)
            axis.set(xlabel="KL from the reference, nats an answer", ylabel=label)
            sheet.title(axis, f"cycle {cycle:g}" if cycle else "Bradley-Terry")
    methods = dict.fromkeys(method for curves in found.values() for method, _ in sorted(curves))
    entries = [style.line(style.METHOD_NAMES[method], color=style.METHOD_COLORS[method], lw=2) for method in methods]
    entries += [
        style.line(name, color=style.GRAY, **{**look, "mfc": look["mfc"] or style.GRAY})
        for name, look in LOOKS.values()
    ]
    sheet.legend(entries)
    return sheet.figure


def _curve(
    axis: Any, paths: Sequence[Sequence[Mapping[str, float]]], number: str, start: float, look: Mapping[str, Any]
) -> None:
    """Means over seeds with standard errors, where there are two seeds, and every seed's points."""
    table = np.array([[(0.0, start), *((point["kl"], point[number]) for point in path)] for path in paths])
    kl, value = table.mean(0).T
    errors = table.std(0, ddof=1).T / len(paths) ** 0.5 if len(paths) > 1 else np.zeros((2, len(kl)))
    axis.plot(*table[:, 1:].reshape(-1, 2).T, look["marker"], color=look["color"], ms=3, alpha=0.3, mec="none")
    axis.errorbar(kl, value, errors[1], errors[0], ms=5, lw=1.2, markevery=range(1, len(kl)), **_filled(look))


def _filled(look: Mapping[str, Any]) -> dict[str, Any]:
    return {**look, "mfc": look["mfc"] or look["color"]}

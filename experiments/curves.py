"""Curves of policies along their trainings, against KL: DPO's Figure 2 in its form, for the worlds that draw it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.ledger import Result
from toy import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "symmetric": ("INS (symmetric)", {"ls": "-", "marker": "o", "mfc": None}),
    "none": ("plain", {"ls": (0, (4, 2)), "marker": "s", "mfc": "white"}),
}
"""Of each conditioning that is drawn."""


def draw(
    results: Sequence[Result],
    usual: Callable[[Any], bool],
    panels: Mapping[str, tuple[str, float]],
    unit: str,
    page: style.Page,
) -> Figure:
    """A row of panels for each strength of the cycle, a curve for each method and conditioning.

    Args:
        results: of one world.
        usual: whether a cell is of the questions: others are not drawn.
        panels: what is drawn -> its label, and what the reference has of it.
        unit: that the KL is of, such as "answer".
        page: what for.
    """
    found: dict[float, dict[tuple[str, str], list[Sequence[Mapping[str, float]]]]] = defaultdict(dict)
    for result in results:
        cell: Any = result.cell
        if cell.conditioning in LOOKS and usual(cell):
            found[cell.cycle].setdefault((cell.method, cell.conditioning), []).append(result.points)
    sheet = style.sheet(page, len(panels) * len(found), across=len(panels), row=2.7)
    axes = iter(sheet.axes)
    for cycle in sorted(found, reverse=True):
        for number, (label, start) in panels.items():
            axis = next(axes)
            for (method, conditioning), paths in sorted(found[cycle].items()):
                look = {"color": style.METHOD_COLORS[method], **LOOKS[conditioning][1]}
                _curve(axis, paths, number, start, look)
            axis.set(xlabel=f"KL from the reference, nats per {unit}", ylabel=label)
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

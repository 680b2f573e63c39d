"""The three uses of a policy, and how its margin learns, in one picture, from the results that there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.language.cells import PREFERENCE_MODELS, UNRELATED, Cell
from experiments.language.hypotheses import CYCLE, STRENGTHS
from experiments.ledger import Result
from toy import style
from toy.words import Caption

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "three_uses"

LOOKS: Mapping[str, tuple[str, str, str]] = {
    "none": ("DPO", style.DPO, "s"),
    "symmetric": ("INS-DPO (symmetric)", style.INS, "o"),
    "anchored": ("anchored", style.ANCHORED, "D"),
    "averaged": ("averaged", style.GREEN, "^"),
    "one_sided": ("one-sided", style.ORANGE, "v"),
    UNRELATED: ("unrelated context", style.GRAY, "X"),
    "reward": ("reward model", style.SKY, "P"),
    "pairwise": ("pairwise model", style.BLACK, "*"),
}
"""Name, color and marker of each conditioning and of each preference model."""

TICKS = (0, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)
"""Of KL, on a scale of logarithms but for its first nat."""

CAPTION = Caption(
    "What each policy is worth: deployed, as a reviser, as a judge",
    "Deployed: win rate over fresh responses of the reference, against a policy's KL from it; the line is DPO over "
    f"{len(STRENGTHS['dpo'])} strengths of its regularization. Reviser: how often an answer beats the draft, written "
    "without it (open) and in view of it (full). Judge: how far sigma(margin), at its best scale, is from the true "
    "preference, over preferences from Bradley-Terry's to a cycle. Dynamics: how often the margin's sign is the "
    "likelier label's, on pairs not trained on, as training goes on.",
    "means over references and data with standard errors; faint points are single trainings.",
    "each color and marker is one way of training, named above.",
)


def draw(results: Sequence[Result], page: style.Page) -> Figure:
    """The figure.

    Args:
        results: of this world; cells that differ from the usual ones in data or windows are not drawn.
        page: what for.
    """
    usual = Cell("dpo", "none", {})
    found: dict[tuple[str, float], list[Result]] = defaultdict(list)
    for result in results:
        cell: Any = result.cell
        alike = ("reference", "pairs", "epochs", "learning_rate", "max_length", "draft_cap")
        if any(getattr(cell, name) != getattr(usual, name) for name in alike):
            continue
        if cell.method in PREFERENCE_MODELS:
            found[cell.method, cell.cycle].append(result)
        elif cell.method == "dpo" and cell.hyperparameters == STRENGTHS["dpo"][0]:
            found[cell.conditioning, cell.cycle].append(result)
        elif cell.method == "dpo" and cell.conditioning == "none":
            found[f"dpo {cell.hyperparameters['beta']}", cell.cycle].append(result)
    sheet = style.sheet(page, 4, across=2, row=2.9)
    deployed, reviser, judge, dynamics = sheet.axes
    _deployed(deployed, found)
    _reviser(reviser, found)
    _judge(judge, found)
    _dynamics(dynamics, found)
    drawn = {kind for kind, _ in found}
    sheet.legend(
        [
            style.line(name, color=color, marker=marker, ls="none")
            for kind, (name, color, marker) in LOOKS.items()
            if kind in drawn
        ]
    )
    sheet.title(deployed, f"Deployed, cycle {CYCLE:g}")
    sheet.title(reviser, f"Reviser, cycle {CYCLE:g}")
    sheet.title(judge, "Judge")
    sheet.title(dynamics, f"Dynamics, cycle {CYCLE:g}")
    return sheet.figure


Found = Mapping[tuple[str, float], Sequence[Result]]


def _deployed(axis: Any, found: Found) -> None:
    frontier = [(0.0, 0.5)]
    for beta in STRENGTHS["dpo"]:
        kind = "none" if beta == STRENGTHS["dpo"][0] else f"dpo {beta['beta']}"
        if results := found.get((kind, CYCLE)):
            frontier.append(_point(axis, results, "none"))
    axis.plot(*zip(*sorted(frontier), strict=True), color=style.DPO, lw=1.2, ls=(0, (4, 2)), zorder=1)
    for kind in LOOKS:
        if kind not in ("none", *PREFERENCE_MODELS) and (results := found.get((kind, CYCLE))):
            _point(axis, results, kind)
    axis.set_xscale("symlog", linthresh=1, linscale=0.5)
    axis.set(xlabel="KL from the reference, nats a response", ylabel="win rate over the reference", xlim=(0, None))
    axis.set_xticks(ticks := [tick for tick in TICKS if tick <= axis.get_xlim()[1]], ticks)


def _point(axis: Any, results: Sequence[Result], kind: str) -> tuple[float, float]:
    """Where the mean is drawn."""
    _, color, marker = LOOKS[kind]
    x, y = _last(results, "kl"), _last(results, "value")
    middle = float(x.mean()), float(y.mean())
    axis.plot(x, y, marker, color=color, ms=3, alpha=0.3, mec="none", ls="none")
    axis.errorbar(*middle, _se(y), _se(x), color=color, marker=marker, ms=6, lw=1.2)
    return middle


def _reviser(axis: Any, found: Found) -> None:
    kinds = [kind for kind in LOOKS if kind not in PREFERENCE_MODELS and (kind, CYCLE) in found]
    for place, kind in enumerate(kinds):
        _, color, marker = LOOKS[kind]
        plain, revised = (_last(found[kind, CYCLE], number) for number in ("value", "revised"))
        axis.plot([place, place], [plain.mean(), revised.mean()], color=color, lw=1.2)
        for values, fill in ((plain, "white"), (revised, color)):
            axis.errorbar(place, values.mean(), _se(values), color=color, marker=marker, ms=6, mfc=fill, lw=1.2)
    axis.set_xticks(range(len(kinds)), [LOOKS[kind][0].split(" (")[0] for kind in kinds], rotation=30, ha="right")
    axis.set(ylabel="win rate over the draft", xlim=(-0.6, len(kinds) - 0.4))


def _judge(axis: Any, found: Found) -> None:
    for kind in ("none", "symmetric", "anchored", *PREFERENCE_MODELS):
        cycles = sorted(cycle for known, cycle in found if known == kind)
        _, color, marker = LOOKS[kind]
        values = [
            _last(found[kind, cycle], "log_loss_rescaled") - _last(found[kind, cycle], "log_loss_best")
            for cycle in cycles
        ]
        axis.errorbar(
            cycles,
            [each.mean() for each in values],
            [_se(each) for each in values],
            color=color,
            marker=marker,
            ms=6,
            lw=1.2,
        )
    axis.set(xlabel="strength of the cycle, nats", ylabel="excess log-loss, nats a pair", ylim=(0, None))


def _dynamics(axis: Any, found: Found) -> None:
    for kind in ("none", "symmetric", "anchored"):
        if results := found.get((kind, CYCLE)):
            _, color, marker = LOOKS[kind]
            updates = np.array([[point["update"] for point in result.points] for result in results])
            values = np.array([[point["agrees"] for point in result.points] for result in results])
            errors = [_se(column) for column in values.T]
            axis.errorbar(updates.mean(0), values.mean(0), errors, color=color, marker=marker, ms=5, lw=1.2)
    axis.set(xlabel="updates", ylabel="accuracy of the margin", xlim=(0, None))


def _last(results: Sequence[Result], name: str) -> np.ndarray:
    return np.array([result.points[-1][name] for result in results])


def _se(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0

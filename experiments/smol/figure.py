"""``python -m experiments.smol.figure``: DPO's Figure 2 in its form, reward against KL, from results that are there.

One curve a method, its INS variant solid and itself dashed, one point a share of the training: means over seeds with
their standard errors in both directions, the seeds themselves as dots. A row for each strength of the cycle; beside
the reward, which is VADER's score alone, stands the win rate by the whole judge.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from experiments.ledger import Ledger
from experiments.smol.cells import VERSION, Cell
from inspo.command_line import OneLineParser, UserError
from toy.style import METHOD_COLORS, METHOD_NAMES, line, plt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Trace = Sequence[Mapping[str, float]]
NAME = "reward_kl"
PANELS = {"reward": "VADER compound score", "value": "win rate over the reference"}
LOOKS: Mapping[str, Mapping[str, Any]] = {
    "symmetric": {"ls": "-", "marker": "o", "mfc": None},
    "none": {"ls": (0, (4, 2)), "marker": "s", "mfc": "white"},
}
_METADATA: Mapping[str, Mapping[str, Any]] = {"png": {"Software": None}, "pdf": {"CreationDate": None}}


def load(folder: Path) -> list[tuple[Cell, Trace]]:
    """The results of this version of the code.

    Raises:
        UserError: there are none.
    """
    results, refused = Ledger(folder, VERSION, Cell.of).all()
    for reason in refused:
        sys.stderr.write(f"not drawn: {reason}\n")
    if not results:
        raise UserError(f"{folder}: has no results of this world")
    return [(cast("Cell", result.cell), result.points) for result in results]


def draw(found: Sequence[tuple[Cell, Trace]]) -> Figure:
    """The figure.

    Args:
        found: cells and their points; those of other conditionings than none and symmetric are left out.
    """
    cycles = sorted({cell.cycle for cell, _ in found})
    width, height = 7.0, 0.55 + 2.6 * len(cycles)
    figure: Figure
    figure, axes = plt(8.0).subplots(
        len(cycles), len(PANELS), figsize=(width, height), squeeze=False, sharex=True, layout="constrained"
    )
    for row, cycle in zip(axes, cycles, strict=True):
        groups: dict[tuple[str, str], list[Trace]] = defaultdict(list)
        for cell, points in found:
            if cell.cycle == cycle and cell.conditioning in LOOKS:
                groups[cell.method, cell.conditioning].append(points)
        for axis, (number, label) in zip(row, PANELS.items(), strict=True):
            for (method, conditioning), paths in sorted(groups.items()):
                _curve(axis, paths, number, {"color": METHOD_COLORS[method], **LOOKS[conditioning]})
            axis.set(ylabel=label, title="Bradley-Terry" if cycle == 0 else f"with a cycle of {cycle:g} nats")
    for axis in axes[-1]:
        axis.set_xlabel("KL from the reference, nats an answer")
    methods = sorted({cell.method for cell, _ in found}, key=list(METHOD_COLORS).index)
    handles = [line(METHOD_NAMES[method], color=METHOD_COLORS[method], lw=2) for method in methods]
    names = {"symmetric": "INS (symmetric)", "none": "plain"}
    handles += [
        line(name, color="0.2", **{**LOOKS[each], "mfc": LOOKS[each]["mfc"] or "0.2"}) for each, name in names.items()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure


def _curve(axis: Any, paths: Sequence[Trace], number: str, look: Mapping[str, Any]) -> None:
    """Means over seeds with standard errors, where there are two seeds, and every seed's points."""
    shown = {**look, "mfc": look["mfc"] or look["color"], "ms": 4, "lw": 1.4}
    table = np.array([[(point["kl"], point[number]) for point in path] for path in paths])  # (seeds, shares, 2)
    kl, value = table.mean(0).T
    if len(paths) > 1:
        errors = table.std(0, ddof=1).T / len(paths) ** 0.5
        shown |= {"xerr": errors[0], "yerr": errors[1], "elinewidth": 0.8, "capsize": 1.5}
        axis.scatter(*table.reshape(-1, 2).T, s=5, color=look["color"], alpha=0.35, lw=0)
    axis.errorbar(kl, value, **shown)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; a mistake of the user's is one line and exit code 2."""
    parser = OneLineParser(prog="python -m experiments.smol.figure", description=str(__doc__), allow_abbrev=False)
    parser.add_argument(
        "--results", type=Path, default=Path("experiments/results/smol"), metavar="FOLDER", help="[%(default)s]"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("results/experiments/smol"), metavar="FOLDER", help="[%(default)s]"
    )
    try:
        options = parser.parse_args(arguments)
        figure = draw(load(options.results))
        options.out.mkdir(parents=True, exist_ok=True)
        for suffix, metadata in _METADATA.items():
            figure.savefig(options.out / f"{NAME}.{suffix}", dpi=200, metadata=dict(metadata))
            print(options.out / f"{NAME}.{suffix}")  # noqa: T201  # a command line prints
        plt().close(figure)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

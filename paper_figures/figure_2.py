"""Figure 2's form, INS solid and baselines dashed: from the toy's results and from a tiny training run.

Beside the paper's accuracy, reward margin and loss stands what its figure leaves out: the policy
without context, which is the one that is deployed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from inspo.conditioning import Conditioning
from paper_figures import commands
from paper_figures.drawing import files, plt
from paper_figures.item import Item
from toy.style import METHOD_COLORS, METHOD_NAMES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Figure 2. Training dynamics, INS solid and baselines dashed"
COLUMNS = ("(a) preference accuracy", "(b) reward margin, nats", "(c) training loss", "(d) without context")

# The panels' numbers under the names that each source gives them; of two, the difference.
TOY_KEYS = ("accuracy", "margin", "relative_loss", "value_deployed")
TINY_KEYS = (("accuracy",), ("margin",), ("loss",), ("plain_chosen_logratio", "plain_rejected_logratio"))
FLAT = 0.05
DRAWN = (Conditioning.NONE.value, Conditioning.SYMMETRIC.value)
CAPTION = r"""(a) and (b) let an INS policy see the other response; (d) does not: $\pi(\cdot\mid x)$, as deployed.
Toy: mean and standard error over datasets; $V$: value against responses drawn from the reference.
The paper's own curves are a picture without numbers, so none of them are drawn here."""
STEP_KEYS = ("update", "step")
TOY_LABELS = ("on unseen pairs", "on unseen pairs", "share of its start", r"$V$ of $\pi(\cdot\mid x)$")
UNITS = {"identity": "", "log_odds": ", nats"}
TINY_LABELS = ("training batch", "training batch", "nats", r"margin of $\pi(\cdot\mid x)$ over ref., nats")

# Folder below the result files, whether it is the INS run, and the command that makes it.
TINY_RUNS = (
    ("train-tiny", True, commands.TINY),
    ("train-tiny-baseline", False, commands.TINY_BASELINE),
)


class Line(NamedTuple):
    """One curve of one panel; `band` is the standard error around it, or None."""

    steps: list[float]
    values: list[float]
    band: list[float] | None
    colour: str
    ins: bool


class Panels(NamedTuple):
    """One row of the figure: its name, y labels, the curves of each of its panels, what is missing."""

    title: str
    labels: tuple[str, ...]
    lines: tuple[list[Line], ...]
    missing: tuple[str, ...] = ()


def make(results: Path) -> Item:
    """The figure in all formats.

    Raises:
        ValueError: a result file that is there but not as it should be.
    """
    rows = [*toy_rows(results / "toy" / "results.json"), tiny_row(results)]
    drawn = sum(bool(lines) for row in rows for lines in row.lines)
    total = len(rows) * len(COLUMNS)
    return Item("figure_2", TITLE, files(draw(rows), "figure_2"), f"{drawn} of {total} panels")


def toy_rows(path: Path) -> list[Panels]:
    """A row for each of the toy's problems."""
    nothing: tuple[list[Line], ...] = ([], [], [], [])
    if not path.exists():
        return [Panels("toy", TOY_LABELS, nothing, (f"not run here: {commands.named(commands.TOY)}",))]
    try:
        facts = json.loads(path.read_text())
        unit = UNITS[facts["config"]["psi"]]
        return [_toy_row(problem, unit) for problem in facts["plots"]["training_dynamics"]["problems"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: not a results.json of the toy ({error!r}); make it anew with {commands.TOY}"
        ) from None


def _toy_row(problem: dict[str, Any], unit: str) -> Panels:
    runs = [run for run in problem["runs"] if run["conditioning"] in DRAWN]
    others = sorted({run["conditioning"].replace("_", "-") for run in problem["runs"]} - set(DRAWN))
    missing = []
    if others:
        missing.append(f"not drawn, since Figure 2 has only INS and baseline: the toy's {' and '.join(others)} runs")
    if not runs:
        missing.append(f"not run here: {commands.named(commands.TOY)}")
    lines = tuple(
        [
            Line(
                run["steps"],
                run[key]["mean"],
                run[key]["se"],
                METHOD_COLORS[run["method"]],
                run["conditioning"] == Conditioning.SYMMETRIC.value,
            )
            for run in runs
        ]
        for key in TOY_KEYS
    )
    labels = (*TOY_LABELS[:3], TOY_LABELS[3] + unit)
    return Panels(f"toy, {problem['problem']}: {problem['source']}", labels, lines, tuple(missing))


def tiny_row(results: Path) -> Panels:
    """The row of the tiny training runs, as far as they are there."""
    lines: tuple[list[Line], ...] = ([], [], [], [])
    missing = []
    for folder, ins, command in TINY_RUNS:
        path = results / folder / "metrics.jsonl"
        if not path.exists():
            missing.append(f"{'INS' if ins else 'baseline'} not run here: {commands.named(command)}")
            continue
        updates = read_updates(path)
        for panel, keys in zip(lines, TINY_KEYS, strict=True):
            if all(key in update for update in updates for key in keys):
                steps = [_step(update, path) for update in updates]
                values = [update[keys[0]] - sum(update[key] for key in keys[1:]) for update in updates]
                panel.append(Line(steps, values, None, METHOD_COLORS["dpo"], ins))
    return Panels("train-tiny: DPO on a small transformer", TINY_LABELS, lines, tuple(missing))


def read_updates(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl that are about updates; a last line that a stopped run cut off is left out.

    Raises:
        ValueError: a line that is no JSON object, by its number, or no update at all.
    """
    updates = []
    lines = path.read_text().splitlines()
    for number, text in enumerate(lines, start=1):
        try:
            line = json.loads(text)
        except ValueError:
            if number == len(lines):
                break
            raise ValueError(f"{path}: line {number} is not JSON") from None
        if not isinstance(line, dict):
            raise ValueError(f"{path}: line {number} is not an object")
        if line.get("kind", "update") == "update":
            updates.append(line)
    if not updates:
        raise ValueError(f"{path}: holds no update")
    return updates


def _step(update: dict[str, Any], path: Path) -> float:
    for key in STEP_KEYS:
        if key in update:
            return float(update[key])
    raise ValueError(f"{path}: a line has none of {', '.join(STEP_KEYS)}")


def draw(rows: list[Panels]) -> Figure:
    """One row for each source, one column for each panel."""
    figure: Figure
    missing = dict.fromkeys(text.replace("`", "") for row in rows for text in row.missing)
    below = "\n".join([CAPTION, *missing])
    bottom = 0.62 + 0.175 * (below.count("\n") + 1)
    height = 0.8 + bottom + 2.05 * len(rows)
    figure, axes = plt().subplots(len(rows), len(COLUMNS), figsize=(11, height), squeeze=False)
    figure.subplots_adjust(
        left=0.06, right=0.99, top=1 - 1.25 / height, bottom=bottom / height, wspace=0.36, hspace=0.5
    )
    for row, line_of_axes in zip(rows, axes, strict=True):
        for axis, lines, label in zip(line_of_axes, row.lines, row.labels, strict=True):
            _draw_panel(axis, lines, label)
        line_of_axes[0].set_title(row.title, loc="left", fontsize=10.5, pad=6)
        _say_what_is_missing(line_of_axes, row)
    for axis, name in zip(axes[0], COLUMNS, strict=True):
        axis.annotate(
            name, (0.5, 1), (0, 26), xycoords="axes fraction", textcoords="offset points", ha="center", fontsize=11
        )
    for axis in axes[-1]:
        axis.set_xlabel("step")
    figure.suptitle(TITLE, x=0.01, y=0.995, ha="left", va="top", fontsize=12.5)
    _legend(figure, rows)
    figure.text(0.01, 0.01, below, fontsize=9.5, color="0.2", va="bottom", linespacing=1.3)
    return figure


def _draw_panel(axis: Any, lines: list[Line], label: str) -> None:
    axis.set_ylabel(label)
    values = [value for line in lines for value in line.values]
    if values and max(values) - min(values) < FLAT:  # no axis blows up what does not move
        axis.set_ylim(min(values) - FLAT, max(values) + FLAT)
    for line in lines:
        axis.plot(line.steps, line.values, color=line.colour, lw=1.7, ls="-" if line.ins else (0, (4, 2)))
        if line.band is not None:
            low = [value - error for value, error in zip(line.values, line.band, strict=True)]
            high = [value + error for value, error in zip(line.values, line.band, strict=True)]
            axis.fill_between(line.steps, low, high, color=line.colour, alpha=0.15, lw=0)


def _say_what_is_missing(axes: Any, row: Panels) -> None:
    for axis, lines in zip(axes, row.lines, strict=True):
        if not lines:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.text(
                0.5,
                0.5,
                "not run here",
                transform=axis.transAxes,
                ha="center",
                va="center",
                color="0.45",
                style="italic",
            )


def _legend(figure: Figure, rows: list[Panels]) -> None:
    used = {line.colour for row in rows for lines in row.lines for line in lines}
    handles = [
        plt().Line2D([], [], color=colour, lw=2.2, label=METHOD_NAMES[method])
        for method, colour in METHOD_COLORS.items()
        if colour in used
    ]
    for label, dash in (("INS", "-"), ("baseline", (0, (4, 2)))):
        handles.append(plt().Line2D([], [], color="0.2", lw=1.7, ls=dash, label=label))
    # On a line of its own below the title, as wide as all of the toy's methods together.
    narrow = {"ncols": len(handles), "fontsize": 10, "columnspacing": 1.3, "handlelength": 1.7}
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.0, 1 - 0.27 / figure.get_figheight()), **narrow)

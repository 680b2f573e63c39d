"""Figure 2's form, INS solid and baselines dashed: from the toy's results and from a tiny training run.

Beside the paper's accuracy, reward margin and loss stands what its figure leaves out: the policy
without context, which is the one that is deployed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, Field, TypeAdapter, model_validator

from inspo.conditioning import Conditioning
from paper_figures.commands import TINY, TINY_BASELINE, TOY
from paper_figures.drawing import METHOD_COLORS, METHOD_NAMES, figure_item, plt
from paper_figures.measured import reading
from paper_figures.table import Item

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Figure 2. Training dynamics, INS solid and baselines dashed"
CAPTION = r"""(a) and (b) let an INS policy see the other response; (d) does not: $\pi(\cdot\mid x)$, as deployed.
Toy: mean and standard error over datasets; $V$: value against responses drawn from the reference.
train-tiny: margins are differences of log-ratios to the reference.
The paper's own curves are a picture without numbers, so none of them are drawn here."""
COLUMNS = ("(a) preference accuracy", "(b) reward margin, nats", "(c) training loss", "(d) without context")
FLAT = 0.05  # no axis spans less, so that what does not move looks flat
INS, BASELINE = "-", (0, (4, 2))

# The toy: each panel's key in its results and y label.
TOY_KEYS = ("accuracy", "margin", "relative_loss", "value_deployed")
TOY_LABELS = ("on unseen pairs", "on unseen pairs", "share of its start", r"$V$ of $\pi(\cdot\mid x)$")
UNITS = {"identity": "", "log_odds": ", nats"}

# A training run: each panel's key in its journal, and y label.
TINY_KEYS = ("accuracy", "margin", "loss", "deployed_margin")
TINY_LABELS = ("training batch", "training batch", "nats", r"margin of $\pi(\cdot\mid x)$, nats")
TINY_RUNS = {"train-tiny": (True, TINY), "train-tiny-baseline": (False, TINY_BASELINE)}


# Further from 0 nothing can be drawn.
Number = Annotated[float, Field(ge=-1e100, le=1e100)]


class _Curve(BaseModel):
    mean: list[Number]
    se: list[Number]


class _Run(BaseModel):
    """What is read of a run in the toy's results.json."""

    method: str
    conditioning: Conditioning
    steps: list[Number]
    accuracy: _Curve
    margin: _Curve
    relative_loss: _Curve
    value_deployed: _Curve

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.method not in METHOD_COLORS:
            raise ValueError(f"unknown method {self.method!r}; known: {', '.join(METHOD_COLORS)}")
        for key in TOY_KEYS:
            curve: _Curve = getattr(self, key)
            if not len(curve.mean) == len(curve.se) == len(self.steps) > 0:
                raise ValueError(f"{key} must have a mean and an se for each of the steps, and there must be steps")
        return self


class _Problem(BaseModel):
    problem: str
    source: str
    runs: list[_Run]


class _Config(BaseModel):
    psi: Literal["identity", "log_odds"]


class _Dynamics(BaseModel):
    problems: list[_Problem] = Field(min_length=1)


class _Plots(BaseModel):
    training_dynamics: _Dynamics


class _Toy(BaseModel):
    config: _Config
    plots: _Plots


class _Update(BaseModel):
    """What is read of an update in a run's journal."""

    update: int
    accuracy: Number
    margin: Number
    loss: Number
    deployed_margin: Number


class Line(NamedTuple):
    """One curve of one panel; `errors` are standard errors."""

    steps: list[float]
    values: list[float]
    errors: list[float]
    method: str
    ins: bool


class Panels(NamedTuple):
    """One row of the figure: its title, y labels, the curves of each of its panels, what is missing."""

    title: str
    labels: tuple[str, ...]
    lines: list[list[Line]]
    missing: list[str]


def make(results: Path) -> Item:
    """The figure.

    Raises:
        UserError: a result file that is there but not as it should be.
    """
    rows = [*toy_rows(results / "toy" / "results.json"), tiny_row(results)]
    drawn = [bool(lines) for row in rows for lines in row.lines]
    return figure_item(draw(rows), "figure_2", f"{sum(drawn)} of {len(drawn)} panels")


def toy_rows(path: Path) -> list[Panels]:
    """A row for each of the toy's problems."""
    if not path.exists():
        return [Panels("toy", TOY_LABELS, [[], [], [], []], [f"not run here: {TOY}"])]
    with reading(path, f"; make it again with {TOY}"):
        facts = _Toy.model_validate(json.loads(path.read_text(encoding="utf-8")))
        labels = (*TOY_LABELS[:3], TOY_LABELS[3] + UNITS[facts.config.psi])
        return [_toy_row(problem, labels) for problem in facts.plots.training_dynamics.problems]


def _toy_row(problem: _Problem, labels: tuple[str, ...]) -> Panels:
    runs = [(run, run.conditioning is Conditioning.SYMMETRIC) for run in problem.runs]
    drawn = [(run, ins) for run, ins in runs if ins or run.conditioning is Conditioning.NONE]
    shown = {run.conditioning for run, _ in drawn}
    others = {run.conditioning.value.replace("_", "-") for run, _ in runs if run.conditioning not in shown}
    missing = [f"not drawn, neither INS nor baseline: the toy's {' and '.join(sorted(others))} runs"] if others else []
    missing += [] if drawn else [f"not run here: {TOY}"]
    lines = [
        [Line(run.steps, getattr(run, key).mean, getattr(run, key).se, run.method, ins) for run, ins in drawn]
        for key in TOY_KEYS
    ]
    title = f"toy, {problem.problem}: {problem.source}".replace("$", r"\$")  # of a user's table, no mathematics
    return Panels(title, labels, lines, missing)


def tiny_row(results: Path) -> Panels:
    """The row of the tiny training runs, as far as they are there."""
    row = Panels("train-tiny: DPO on a small transformer", TINY_LABELS, [[], [], [], []], [])
    for folder, (ins, command) in TINY_RUNS.items():
        path = results / folder / "metrics.jsonl"
        name = "INS" if ins else "baseline"
        if not path.exists():
            row.missing.append(f"{name} not run here: {command}")
            continue
        with reading(path, f"; make it again with {command}"):
            updates = read_updates(path)
            steps = [float(update.update) for update in updates]
            if not path.with_name("run.json").exists():
                row.missing.append(f"{name} is unfinished, drawn to update {updates[-1].update}: {command}")
            for panel, key in zip(row.lines, TINY_KEYS, strict=True):
                values = [getattr(update, key) for update in updates]
                panel.append(Line(steps, values, [0.0] * len(steps), "dpo", ins))
    return row


def read_updates(path: Path) -> list[_Update]:
    """The lines of a training journal that are about updates.

    Raises:
        ValueError: a line that is not JSON, by its number, or no update at all.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    if lines and not lines[-1].endswith("}"):  # the run was stopped while it wrote this line
        lines.pop()
    facts = json.loads(",\n".join(lines).join("[]"))  # as one list, so that an error has the line's number
    updates = TypeAdapter(list[_Update]).validate_python([line for line in facts if line["kind"] == "update"])
    if not updates:
        raise ValueError("holds no update")
    return updates


def draw(rows: list[Panels]) -> Figure:
    """One row for each source, one column for each panel."""
    figure: Figure
    below = "\n".join([CAPTION, *dict.fromkeys(text for row in rows for text in row.missing)])
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
    above = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "center", "fontsize": 11}
    for axis, last, name in zip(axes[0], axes[-1], COLUMNS, strict=True):
        axis.annotate(name, (0.5, 1), (0, 26), **above)
        last.set_xlabel("step")
    figure.suptitle(TITLE, x=0.01, y=0.995, ha="left", va="top", fontsize=12.5)
    figure.text(0.01, 0.01, below, fontsize=9.5, color="0.2", va="bottom", linespacing=1.3)
    methods = {line.method for row in rows for lines in row.lines for line in lines}
    _legend(figure, [method for method in METHOD_COLORS if method in methods], 1 - 0.27 / height)
    return figure


def _draw_panel(axis: Any, lines: list[Line], label: str) -> None:
    axis.set_ylabel(label)
    if not lines:
        axis.set(xticks=[], yticks=[])
        place = {"transform": axis.transAxes, "ha": "center", "va": "center"}
        axis.text(0.5, 0.5, "not run here", color="0.45", style="italic", **place)
        return
    values = [value for line in lines for value in line.values]
    if max(values) - min(values) < FLAT:
        axis.set_ylim(min(values) - FLAT, max(values) + FLAT)
    methods = list(dict.fromkeys(line.method for line in lines))
    for steps, means, errors, method, ins in lines:
        color = METHOD_COLORS[method]
        width = max(1.0, 2.6 - 0.4 * methods.index(method))  # later ones are thinner, so that none hides another
        axis.plot(steps, means, color=color, lw=width, ls=INS if ins else BASELINE)
        low, high = ([m + sign * e for m, e in zip(means, errors, strict=True)] for sign in (-1, 1))
        axis.fill_between(steps, low, high, color=color, alpha=0.15, lw=0)


def _legend(figure: Figure, methods: list[str], top: float) -> None:
    """On a line of its own below the title, as wide as all of the toy's methods together."""
    line = plt().Line2D
    colors = [line([], [], color=METHOD_COLORS[method], lw=2.2, label=METHOD_NAMES[method]) for method in methods]
    dashes = [
        line([], [], color="0.2", lw=1.7, ls=ls, label=label) for label, ls in (("INS", INS), ("baseline", BASELINE))
    ]
    handles = colors + dashes
    narrow = {"ncols": len(handles), "fontsize": 10, "columnspacing": 1.3, "handlelength": 1.7}
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.0, top), **narrow)

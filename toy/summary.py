"""What a finished run says in words: report.md and the closing table."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from toy.config import ToyConfig, flag
from toy.plots import PLOTS, human_tables
from toy.words import Caption, literal, plain, spaced
from toy.words import markdown as written


def markdown(results: dict[str, Any]) -> str:
    """report.md: for every plot its finding, how to read it, the number to remember, and the picture."""
    command = reproduce(results)
    smoothed = f" (smoothed by {added:g})" if (added := results["config"]["smoothing"]) else ""
    table = f"{written(literal(results['preferences']))}{smoothed}"
    origin = f"Preferences: {table}; inspo {results['inspo']}, torch {results['torch']}."
    lines = [
        "# The toy: what preference optimization does when preferences are not separable",
        "",
        origin,
        "Every number is in `results.json`. To make all of it again, to the last bit:",
        "",
        f"```bash\n{command}\n```",
        "",
        "and with `--redraw` instead of other options it is drawn again from the numbers alone.",
    ]
    for name, numbers in results["plots"].items():
        words = Caption(*map(written, PLOTS[name].describe(numbers)))
        lines += ["", f"## {words.headline}", "", f"![{name}]({name}.png)", "", words.text, ""]
        lines += [f"**The number to remember:** {words.number}", "", f"**Key.** {words.key}", ""]
        lines += [f"Numbers: `results.json`, `plots.{name}`. For papers: [{name}.pdf]({name}.pdf)."]
    if results["skipped"]:
        lines += ["", "## Left out", ""]
        lines += [f"- `{name}`: {written(literal(reason))}" for name, reason in results["skipped"].items()]
    return "\n".join(lines) + "\n"


def reproduce(results: dict[str, Any]) -> str:
    """The command that makes these results, with every option that is not at its default."""
    arguments = ["python toy/run.py"]
    if results["preferences_file"] is not None:
        arguments.append(f"--preferences {shlex.quote(results['preferences_file'])}")
    usual = ToyConfig(quick=results["config"]["quick"]).effective().record() | {"quick": False}
    for name, now in results["config"].items():
        if now != usual[name]:
            values = [] if now is True else now if isinstance(now, list) else [now]
            arguments.append(" ".join([flag(name), *map(str, values)]))
    return " ".join(arguments)


def print_closing(console: Any, results: dict[str, Any], out: Path) -> None:
    """The closing table and what to remember, on the terminal."""
    from rich.table import Table
    from rich.text import Text

    unit = "probability" if results["config"]["psi"] == "identity" else "nats"
    if "human_tables" in results["plots"]:
        console.print(_policies(results["plots"]["human_tables"]["tables"], unit))
    table = Table(title="What to remember", title_justify="left", show_lines=True)
    table.add_column("plot")
    table.add_column("number")
    for name, numbers in results["plots"].items():
        table.add_row(name, Text(plain(PLOTS[name].describe(numbers).number)))
    console.print(table, markup=False)
    for name, reason in results["skipped"].items():
        console.print(f"skipped {name}: {reason}", style="yellow", highlight=False, markup=False)
    console.print(
        f"plots (PNG, SVG, PDF), report.md and results.json: {out}", highlight=False, markup=False, soft_wrap=True
    )


def _policies(entries: list[dict[str, Any]], unit: str) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=f"Against comparators drawn from the reference (V, regret: {unit}; KL: nats)", title_justify="left"
    )
    for column in ("table", "policy", "V", "KL", "worst regret"):
        table.add_column(column, justify="left" if column in ("table", "policy") else "right")
    for entry in entries:
        table.add_section()
        for i, (name, row) in enumerate(entry["policies"].items()):
            table.add_row(
                Text(plain(spaced(entry["name"])) if i == 0 else ""),
                plain(human_tables.POLICIES[name][0]),
                _number(row["value"], row["value_se"]),
                _number(row["kl"], row["kl_se"]),
                _number(row["worst_regret"], row["worst_regret_se"]),
            )
    return table


def _number(value: float, se: float | None) -> str:
    return f"{value:.3f}" if se is None else f"{value:.3f} ± {se:.3f}"

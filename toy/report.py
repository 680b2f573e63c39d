"""Run every plot of the toy, keep the numbers, say what was found."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inspo import __version__
from inspo.objectives import apply_psi
from inspo.preferences import PreferenceTable, load_table
from toy import dynamics, flips, tables
from toy.config import ToyConfig
from toy.style import save

PLOTS = {
    "prop_3_1": flips.draw,
    "training_dynamics": dynamics.draw,
    "human_tables": tables.draw,
}


def run(config: ToyConfig) -> None:
    """Compute, draw and write everything, then print the closing table.

    Results appear in `config.out` only when all of them are there; a run that fails or is stopped
    leaves the folder as it was.

    Raises:
        ValueError: a preference table that is invalid, an output folder that cannot be written, or
            (with ``redraw``) a results.json that is missing or not ours.
    """
    from rich.console import Console

    user = _user_table(config)
    earlier = _read(config.out / "results.json") if config.redraw else None
    with _writable(config.out) as staging:
        results = earlier or compute(config.effective(), user)
        if not earlier:
            (staging / "results.json").write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")
        for name, numbers in results["plots"].items():
            save(PLOTS[name](numbers), staging, name)
    console = Console()
    _print_table(console, results)
    for name, reason in results["skipped"].items():
        console.print(f"skipped {name}: {reason}", style="yellow", highlight=False, markup=False)
    console.print(f"plots (PNG, SVG) and results.json: {config.out}", highlight=False, markup=False, soft_wrap=True)


def compute(config: ToyConfig, user: PreferenceTable | None) -> dict[str, Any]:
    """Every number of every plot, under a progress bar.

    Args:
        config: the effective configuration.
        user: the user's own preferences instead of the built-in problems, or None.

    Returns:
        What results.json holds: the same bytes for the same configuration and seed.
    """
    import torch
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    plots: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        if user is None:
            plots["prop_3_1"] = flips.compute()
        else:
            skipped["prop_3_1"] = "it is about the paper's own counterexample, not about your preferences"
        for name, module in (("training_dynamics", dynamics), ("human_tables", tables)):
            task = progress.add_task(name.replace("_", " "), total=module.total_steps(config, user))
            plots[name] = module.compute(config, user, lambda done, task=task: progress.advance(task, done))
    skipped |= plots["human_tables"]["skipped"]
    return {
        "inspo": __version__,
        "torch": torch.__version__,
        "config": config.record(),
        "preferences": "built-in" if user is None else user.name,
        "plots": plots,
        "skipped": skipped,
    }


def _user_table(config: ToyConfig) -> PreferenceTable | None:
    if config.preferences is None:
        return None
    table = load_table(config.preferences)
    try:
        apply_psi(table.P, config.psi)
    except ValueError as error:
        raise ValueError(f"{config.preferences}: {error}") from None
    return table


@contextmanager
def _writable(out: Path) -> Iterator[Path]:
    """A staging folder beside `out`, moved into it file by file when all went well."""
    existed = out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=out))
    except OSError as error:
        raise ValueError(f"--out {out}: cannot be written ({error.strerror}); name a folder that can") from None
    try:
        yield staging
        for file in sorted(staging.iterdir()):
            file.replace(out / file.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if not existed and not any(out.iterdir()):
            out.rmdir()


def _read(path: Path) -> dict[str, Any]:
    try:
        results: dict[str, Any] = json.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; run without --redraw first") from None
    except ValueError:
        raise ValueError(f"{path}: not valid JSON (cut off?); run without --redraw to make it anew") from None
    if "plots" not in results or not set(results["plots"]) <= set(PLOTS):
        raise ValueError(f"{path}: not the results of this program; run without --redraw to make them anew")
    return results


def _print_table(console: Any, results: dict[str, Any]) -> None:
    from rich.table import Table

    unit = "probability" if results["config"]["psi"] == "identity" else "nats"
    table = Table(title=f"Against comparators drawn uniformly (V: {unit}; KL: nats)", title_justify="left")
    for column in ("table", "policy", "V", "KL"):
        table.add_column(column, justify="left" if column in ("table", "policy") else "right")
    for entry in results["plots"]["human_tables"]["tables"]:
        table.add_section()
        for i, (name, row) in enumerate(entry["policies"].items()):
            table.add_row(
                entry["name"].replace("_", " ") if i == 0 else "",
                tables.POLICIES[name][0],
                _number(row["value"], row["value_se"]),
                _number(row["kl"], row["kl_se"]),
            )
    console.print(table)


def _number(value: float, se: float | None) -> str:
    return f"{value:.3f}" if se is None else f"{value:.3f} ± {se:.3f}"

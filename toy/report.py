"""Run every plot of the toy, keep the numbers, say what was found.

Each plot is a job of its own. What it found is kept in a hidden folder beside the results as soon as
it is finished, under a name that stands for everything that decides a number: configuration, table
and source code. So a run that was stopped goes on where it was, and never with stale numbers.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from inspo import __version__
from inspo.command_line import UserError
from inspo.objectives import apply_psi
from inspo.preferences import PreferenceTable, load_table
from toy import summary
from toy.config import ToyConfig
from toy.plots import LONGEST_FIRST, PLOTS
from toy.problems import MOST_RESPONSES, NotApplicableError, certain_cell
from toy.style import is_saved, save

# The layout of results.json: to be raised when what a plot computes gets other names, so that --redraw
# and every other reader can tell an older file (a test notices a layout that changed under its number).
FORMAT = 7
SOURCES = Path(__file__).resolve().parent, Path(apply_psi.__code__.co_filename).parent


def run(config: ToyConfig) -> None:
    """Compute, draw and write everything, then print the closing table.

    Results appear in `config.out` only when all of them are there. A run that fails or is stopped
    leaves what was there before, and a hidden folder with the plots that were finished.

    Raises:
        UserError: a preference table that is invalid or too large, an output folder that cannot be written, training
            that diverges, or (with ``redraw``) a results.json that is missing or not as it was written.
    """
    from rich.console import Console

    user = _user_table(config)
    earlier = read(config.out / "results.json") if config.redraw else None
    effective = config.effective()
    with _parts(config.out, _key(effective, user, earlier)) as parts:
        if earlier:
            for name, numbers in earlier["plots"].items():
                (parts / f"{name}.json").write_text(json.dumps({"results": numbers}))
        _work(config, effective, user, parts, list(earlier["plots"]) if earlier else LONGEST_FIRST)
        results = earlier or _assemble(effective, user, config.preferences, parts)
        if not earlier:
            _write(parts / "results.json", json.dumps(results, indent=1, allow_nan=False) + "\n")
        _write(parts / "report.md", summary.markdown(results))
        for name in PLOTS:
            (parts / f"{name}.json").unlink(missing_ok=True)
        for file in sorted(parts.iterdir()):
            file.replace(config.out / file.name)
    summary.print_closing(Console(), results, config.out)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def compute(name: str, config: ToyConfig, user: PreferenceTable | None, parts: Path) -> None:
    """One job: the numbers and pictures of one plot into `parts`, unless they are there already."""
    kept = parts / f"{name}.json"
    if not kept.exists():
        part: dict[str, Any]
        try:
            part = {"results": PLOTS[name].compute(config, user)}
        except NotApplicableError as reason:
            part = {"skipped": str(reason)}
        unfinished = parts / f".{name}.unfinished"
        unfinished.write_text(json.dumps(part, allow_nan=False))
        unfinished.replace(kept)
    part = json.loads(kept.read_text())
    if "results" in part and not is_saved(parts, name):
        plot, page = PLOTS[name], config.page()
        save(plot.draw(part["results"], page), plot.describe(part["results"]), parts, name, page)


def _work(config: ToyConfig, effective: ToyConfig, user: PreferenceTable | None, parts: Path, names: list[str]) -> None:
    """Every job, in `config.workers` processes under a progress bar."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    if config.workers == 1:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            for name in progress.track(names, description="plots"):
                compute(name, effective, user, parts)
        return
    # Forked where that is safe, since importing torch again would take longer than most plots; started
    # before the progress bar, whose thread a fork must not meet.
    method = "fork" if sys.platform == "linux" else "spawn"
    with ProcessPoolExecutor(config.workers, mp_context=multiprocessing.get_context(method)) as pool:
        jobs = [pool.submit(compute, name, effective, user, parts) for name in names]
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            for job in progress.track(_finished(pool, jobs), total=len(jobs), description="plots"):
                job.result()


def _finished(pool: Executor, jobs: list[Future[None]]) -> Iterator[Future[None]]:
    try:
        yield from as_completed(jobs)
    except BaseException:
        pool.shutdown(wait=True, cancel_futures=True)
        raise


def _assemble(config: ToyConfig, user: PreferenceTable | None, file: Path | None, parts: Path) -> dict[str, Any]:
    """What results.json holds: the same bytes for the same configuration, seed and name of the table's file."""
    found = {name: json.loads((parts / f"{name}.json").read_text()) for name in PLOTS}
    plots = {name: part["results"] for name, part in found.items() if "results" in part}
    skipped = {name: part["skipped"] for name, part in found.items() if "skipped" in part}
    for numbers in plots.values():
        skipped |= numbers.get("skipped", {})
    results = {
        "format": FORMAT,
        "inspo": __version__,
        "torch": torch.__version__,
        "config": config.record(),
        "preferences": "built-in" if user is None else user.name,
        "preferences_file": None if file is None else str(file),
        "plots": plots,
        "skipped": skipped,
    }
    return results | {"checksum": checksum(results)}


def checksum(results: dict[str, Any]) -> str:
    """By which --redraw knows that a results.json is as it was written."""
    content = {name: part for name, part in results.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _key(config: ToyConfig, user: PreferenceTable | None, earlier: dict[str, Any] | None) -> str:
    """A name for everything that decides a number."""
    table = None if user is None else [user.name, user.labels, user.P.tolist(), user.source, str(user.counts)]
    digest = hashlib.sha256(
        json.dumps([config.record(), config.width, config.plain, table, earlier, torch.__version__]).encode()
    )
    for file in sorted(file for folder in SOURCES for file in folder.rglob("*") if file.suffix in (".py", ".json")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _user_table(config: ToyConfig) -> PreferenceTable | None:
    if config.preferences is None:
        return None
    table = load_table(config.preferences, smoothing=config.smoothing)
    if len(table.P) > MOST_RESPONSES:
        raise UserError(
            f"{config.preferences}: {len(table.P)} responses, more than the {MOST_RESPONSES} that the toy has time and "
            "memory for; choose those that matter"
        )
    if config.psi == "log_odds" and (certain := certain_cell(table)):
        raise UserError(f"{config.preferences}: {certain}, so --psi log_odds has no value")
    return table


@contextmanager
def _parts(out: Path, key: str) -> Iterator[Path]:
    """The hidden folder of finished plots; kept when something stops the run, if there is anything in it."""
    existed = out.exists()
    parts = out / f".parts-{key}"
    try:
        parts.mkdir(parents=True, exist_ok=True)
        (parts / ".writable").touch()
        (parts / ".writable").unlink()
    except (OSError, ValueError) as error:  # Python's own ValueError: a name with NUL
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"--out {out}: cannot be written ({why}); name a folder that can") from None
    finished = False
    try:
        yield parts
        finished = True
    finally:
        if finished or not any(parts.glob("*.json")):
            shutil.rmtree(parts, ignore_errors=True)
        if not existed and not any(out.iterdir()):
            out.rmdir()


def read(path: Path) -> dict[str, Any]:
    """A results.json as this version wrote it, changed by nobody since.

    Raises:
        UserError: it is missing, foreign, of another version, or was changed; the message says which.
    """
    anew = "run without --redraw to make it anew"
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: no file; {anew}")
    try:
        results: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; run without --redraw first") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path}: not valid JSON (cut off?); {anew}") from None
    if not isinstance(results, dict) or not isinstance(results.get("plots"), dict):
        raise UserError(f"{path}: not the results of this program; {anew}")
    if results.get("format") != FORMAT or not set(results["plots"]) <= set(PLOTS):
        raise UserError(f"{path}: written by another version of this program; {anew}")
    if results.get("checksum") != checksum(results):
        raise UserError(f"{path}: changed since it was written; {anew}")
    return dict(results)

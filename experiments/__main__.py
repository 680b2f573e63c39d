"""``python -m experiments run | status | analyze | cell``: what InSPO is good for, in worlds with a known judge."""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from experiments import report
from experiments.hypotheses import wanted
from experiments.ledger import BusyError, Cell, Result, expected_seconds, locked, within
from experiments.worlds import WORLDS, World, world
from inspo.command_line import OneLineParser, UserError, exit_code

HERE = Path(__file__).parent
RESULTS = HERE / "results"
KEPT = "references and data are kept there [%(default)s]"
CLAIMS = "claims"
"""Of the cells that processes run, a folder in that of their work."""

FIRST_GUESS = 120.0
"""Seconds of a cell, where none has been run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; a mistake of the user's is one line and exit code 2."""

    def command() -> str:
        options = _parser().parse_args(arguments)
        return COMMANDS[options.command](world(options.world), options)

    return exit_code(command)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="python -m experiments", description=__doc__, allow_abbrev=False)
    choices = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=OneLineParser)
    run = choices.add_parser(
        "run", help="run cells that have no result yet, for a while; start again to go on, start more for more cores"
    )
    run.add_argument("--minutes", type=_positive, required=True, metavar="M", help="for so long, references included")
    run.add_argument("--questions", nargs="+", metavar="NAME", help="the cells of these alone, such as a-dpo [all]")
    status = choices.add_parser("status", help="what has been run, and what is left")
    analyze = choices.add_parser("analyze", help="what the results say, and write it beside them")
    cell = choices.add_parser("cell", help="run one cell of your own, print its numbers and keep nothing")
    cell.add_argument("changes", nargs="*", metavar="NAME=VALUE", help="of the usual cell, such as cycle=0 seed=3")
    for each in (run, cell):
        each.add_argument("--work", type=Path, default=Path("results/experiments"), metavar="FOLDER", help=KEPT)
    for each in (run, status, analyze, cell):
        each.add_argument("--world", choices=WORLDS, default=next(iter(WORLDS)), help="[%(default)s]")
    for each in (run, status, analyze):
        each.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="[%(default)s]")
    return parser


def run(here: World, options: argparse.Namespace) -> str:
    """Run cells, those first whose reference no other process is making."""
    started = time.monotonic()
    from experiments.machine import about

    _prepare()
    book = here.ledger(options.results)
    kept, refused = book.all()
    names = options.questions or list(here.hypotheses)
    if unknown := [name for name in names if name not in here.hypotheses]:
        raise UserError(f"--questions {unknown[0]}: the world {here.name} asks {', '.join(here.hypotheses)}")
    left = book.missing(wanted([here.hypotheses[name] for name in names]))
    work = options.work / here.name
    command = f"python -m experiments run --world {here.name}"

    def expected(cell: Cell) -> float:
        return expected_seconds(cell, kept, FIRST_GUESS)

    done = others = 0
    queue = deque(left)
    for cell in within(_drained(queue), 60 * options.minutes, expected, lambda: time.monotonic() - started):
        with book.claimed(cell, work / CLAIMS) as mine:
            if not mine:
                others += 1
                continue
            reference = _reference(here, cell, work)
            if reference is None:
                queue.append(cell)
                time.sleep(0.1)
                continue
            number = len(left) - len(queue)
            sys.stderr.write(f"{cell.key()} ({number} of {len(left)}, about {expected(cell):.0f} s)\n")
            points, seconds = here.run(cell, work)
            result = Result(cell, points, seconds, about(command, reference))
            book.write(result)
        kept.append(result)
        done += 1
    notes = [f"not counted: {line}" for line in refused]
    notes += [f"{others} cells were left to other processes"] if others else []
    return "\n".join(
        [*notes, f"{done} cells in {(time.monotonic() - started) / 60:.1f} minutes; results in {book.folder}"]
    )


def _reference(here: World, cell: Cell, work: Path) -> Path | None:
    """The folder of a cell's reference, made where it is not there; None where another process makes it."""
    try:
        return here.reference(cell, work)
    except BusyError:
        return None


def _drained(queue: deque[Cell]) -> Iterator[Cell]:
    """Its cells, with those that are put back meanwhile."""
    while queue:
        yield queue.popleft()


def cell(here: World, options: argparse.Namespace) -> str:
    """Run one cell of the user's own; it waits where another process makes its reference."""
    chosen = _changed(here.usual, options.changes)
    _prepare()
    work = options.work / here.name
    with locked(work / CLAIMS, chosen.key()) as mine:
        if not mine:
            raise UserError(f"another process runs {chosen.key()}: wait for it, or give another --work")
        while _reference(here, chosen, work) is None:
            time.sleep(1)
        points, seconds = here.run(chosen, work)
    last = points[-1]
    lines = [f"{chosen}", ""]
    for name, value in last.items():
        if not name.endswith("_se"):
            error = f" ± {last[f'{name}_se']:.4f}" if f"{name}_se" in last else ""
            lines.append(f"  {name:20} {value:9.4f}{error}")
    return "\n".join([*lines, "", f"{seconds:.0f} s; what the names mean is in experiments/{here.name}/measuring.py"])


def _changed(usual: Any, changes: Sequence[str]) -> Any:
    """A cell with values of the user's.

    Raises:
        UserError: a name that cells do not have, or a value that none can have.
    """
    import yaml

    named = [change.partition("=") for change in changes]
    known = [each.name for each in fields(usual)]
    for name, _, _ in named:
        if name not in known:
            raise UserError(f"{name}: a cell has {', '.join(known)}; write NAME=VALUE")
    try:
        values = {name: yaml.safe_load(text) for name, _, text in named}
        for name, value in values.items():
            if not _alike(value, getattr(usual, name)):
                raise UserError(f"{name} = {value!r} must be like {getattr(usual, name)!r}")
        return replace(usual, **values)
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(str(error).splitlines()[0]) from None


def _alike(value: Any, usual: Any) -> bool:
    """Whether a value may stand where another one does."""
    if usual is None or isinstance(usual, float):
        return type(value) in (int, float) or (usual is None and value is None)
    return type(value) is type(usual)


def _prepare() -> None:
    import torch

    from scaled.workarounds import quiet_deprecations

    quiet_deprecations()
    torch.set_num_threads(1)  # of so small a model; run several processes side by side


def status(here: World, options: argparse.Namespace) -> str:
    """What has been run."""
    book = here.ledger(options.results)
    kept, refused = book.all()
    cells = wanted(list(here.hypotheses.values()))
    left = book.missing(cells)
    hours = sum(expected_seconds(cell, kept, FIRST_GUESS) for cell in left) / 3600
    lines = [f"{len(cells) - len(left)} of {len(cells)} cells; the rest takes about {hours:.1f} hours of one core"]
    missing = {cell.key() for cell in left}
    for hypothesis in here.hypotheses.values():
        whole = sum(missing.isdisjoint(cell.key() for cell in sides) for sides in hypothesis.cells().values())
        lines.append(f"  {hypothesis.name:30} {whole:2} of {len(hypothesis.seeds)} seeds")
    return "\n".join([*lines, *(f"not counted: {line}" for line in refused)])


def analyze(here: World, options: argparse.Namespace) -> str:
    """What the results say."""
    book = here.ledger(options.results)
    kept, refused = book.all()
    if not kept:
        raise UserError(f"{book.folder}: has no results; run python -m experiments run --world {here.name} --minutes M")
    picture = here.draw(kept, options.results)
    text = report.markdown(here, report.answers(here.hypotheses, kept), kept, refused, picture)
    path = options.results / f"{here.name.upper()}.md"
    path.write_text(text)
    return f"{text}\nwritten: {path}"


COMMANDS = {"run": run, "status": status, "analyze": analyze, "cell": cell}


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be greater than 0")
    return value


if __name__ == "__main__":
    sys.exit(main())

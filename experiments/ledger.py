"""What has been run and what has not: one small result file a cell, and nothing beside them that could disagree.

    experiments/results/WORLD/CELL.json     committed: the cell, its numbers, cost, versions and the command
    results/experiments/WORLD/...           not committed: references, data, trained models

A cell is done where its file is there, whole, of this cell and of this version of the code. Files of another version,
of another cell than their name says, or that cannot be read are named and never counted.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from experiments.cells import VERSION, Cell


@dataclass(frozen=True)
class Result:
    """What a cell came to.

    Attributes:
        cell: what was run.
        points: along the training, from the first to the last; each a mapping of names to numbers.
        seconds: of the clock, training and measuring, without what other cells share.
        about: versions, device, date and command.
    """

    cell: Cell
    points: Sequence[dict[str, float]]
    seconds: float
    about: dict[str, Any]


class Ledger:
    """The results of one world in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, cell: Cell) -> Path:
        """Where a cell's result is, or will be."""
        return self.folder / f"{cell.key()}.json"

    def write(self, result: Result) -> Path:
        """Keep a result; the file appears whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(result.cell)
        facts = {"version": VERSION, **asdict(result)}
        fresh = path.with_suffix(f".{os.getpid()}.new")
        fresh.write_text(json.dumps(facts, indent=1, default=dict) + "\n")
        fresh.replace(path)
        return path

    def read(self, path: Path) -> Result:
        """One result.

        Raises:
            ValueError: a file that is cut short, foreign, of another version or of another cell than its name says.
        """
        try:
            result = _result(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            what = f"has no {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"{path.name}: {what}") from None
        if result.cell.key() != path.stem:
            raise ValueError(f"{path.name}: is the result of {result.cell.key()}")
        return result

    def all(self) -> tuple[list[Result], list[str]]:
        """Every result that counts, and in a line each why others do not."""
        found, refused = [], []
        for path in sorted(self.folder.glob("*.json")):
            try:
                found.append(self.read(path))
            except ValueError as error:
                refused.append(str(error))
        return found, refused

    def missing(self, cells: Iterable[Cell]) -> list[Cell]:
        """Those of the cells, each once and in their order, that have no result that counts."""
        done = {result.cell.key() for result in self.all()[0]}
        by_key = {cell.key(): cell for cell in cells}
        return [cell for key, cell in by_key.items() if key not in done]


def _result(facts: Any) -> Result:
    if facts["version"] != VERSION:
        raise ValueError(f"is of version {facts['version']} of the code, which is at {VERSION} now")
    result = Result(Cell.of(facts["cell"]), facts["points"], float(facts["seconds"]), facts["about"])
    if not result.points:
        raise ValueError("holds no numbers")
    return result


def expected_seconds(cell: Cell, results: Sequence[Result], otherwise: float) -> float:
    """What a cell will likely take: by pair and epoch the median of what its method and conditioning took."""
    alike = [r for r in results if (r.cell.method, r.cell.conditioning) == (cell.method, cell.conditioning)] or results
    rates = [result.seconds / (result.cell.pairs * result.cell.epochs) for result in alike]
    return median(rates) * cell.pairs * cell.epochs if rates else otherwise


def within(
    cells: Sequence[Cell],
    seconds: float,
    expected: Callable[[Cell], float],
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Cell]:
    """Cells, one after another, for as long as the next one will likely end in time."""
    started = clock()
    for cell in cells:
        if clock() - started + expected(cell) > seconds:
            return
        yield cell

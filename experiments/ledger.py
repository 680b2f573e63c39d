"""What has been run and what has not: one small result file a cell, and nothing beside them that could disagree.

    experiments/results/WORLD/CELL.json     committed: the cell, its numbers, cost, versions and the command
    results/experiments/WORLD/...           not committed: references, data, trained models

A cell is done where its file is there, whole, of this cell and of this version of the code. Files of another version,
of another cell than their name says, or that cannot be read are named and never counted.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any, Protocol, TypeVar

from filelock import FileLock, Timeout

from scaled.files import write_atomically


class Cell(Protocol):
    """One run of a world: a frozen dataclass of plain values, all that decides its numbers."""

    def key(self) -> str:
        """A name for files that no other cell has."""

    def kind(self) -> str:
        """Of the reference, a letter."""

    def cost(self) -> tuple[str, float]:
        """What cells that take alike share, and how much there is of it."""


FACTS = "reference.json"
"""In the folder of every reference: what made it, and what is known of it."""


class BusyError(Exception):
    """What a cell needs, a folder, is being made by another process: other cells can be run meanwhile."""


Facts = TypeVar("Facts")


def digest(cell: Any) -> str:
    """Eight characters that depend on every value of a cell."""
    facts = json.dumps(asdict(cell), sort_keys=True, default=dict)
    return hashlib.sha256(facts.encode()).hexdigest()[:8]


def of_facts(kind: Callable[..., Facts], facts: Mapping[str, Any]) -> Facts:
    """A cell from what a result file holds.

    Raises:
        ValueError: keys that are missing or unknown, or a value that is out of range.
    """
    known = [each.name for each in fields(kind)]  # type: ignore[arg-type]  # a dataclass
    if set(facts) != set(known):
        odd = sorted(set(facts) ^ set(known))
        raise ValueError(f"a cell has {', '.join(known)}; missing or unknown: {', '.join(odd)}")
    return kind(**facts)


@contextmanager
def locked(folder: Path, name: str) -> Iterator[bool]:
    """Whether this process holds what is named, until the context or the process ends, however it ends; no two can.

    Args:
        folder: of the locks of all processes that share what is named.
        name: such as a cell's key.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as locks:
        try:
            locks.enter_context(FileLock(folder / f"{name}.lock", timeout=0))
        except Timeout:
            yield False
        else:
            yield True


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

    def origin(self) -> tuple[float | None, float | None]:
        """Those of its numbers that reference, judge and data alone decide, so that cells with the same agree in them.

        They tell one making of a reference from another: on another machine it comes out otherwise.
        """
        return self.points[-1].get("log_loss_best"), self.points[0].get("pairs")


@dataclass(frozen=True)
class Ledger:
    """The results of one world in a folder.

    Attributes:
        folder: of the result files.
        version: of the code that makes the numbers.
        cell: the class of its cells.
    """

    folder: Path
    version: int
    cell: Callable[..., Cell]

    def path(self, cell: Cell) -> Path:
        """Where a cell's result is, or will be."""
        return self.folder / f"{cell.key()}.json"

    def write(self, result: Result) -> Path:
        """Keep a result; the file appears whole or not at all."""
        path = self.path(result.cell)
        self.folder.mkdir(parents=True, exist_ok=True)
        facts = {"version": self.version, **asdict(result)}
        write_atomically(path, json.dumps(facts, indent=1, default=dict) + "\n")
        return path

    def read(self, path: Path) -> Result:
        """One result.

        Raises:
            ValueError: a file that is cut short, foreign, of another version or of another cell than its name says.
        """
        try:
            result = self._result(json.loads(path.read_text()))
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
        by_key = {cell.key(): cell for cell in cells}
        return [cell for cell in by_key.values() if not self._counts(cell)]

    @contextmanager
    def claimed(self, cell: Cell, folder: Path) -> Iterator[bool]:
        """Whether a cell is left for this process to run: no other holds it, and none has ended it meanwhile.

        Args:
            cell: to run.
            folder: of the locks of all processes that share cells, see :func:`locked`.
        """
        with locked(folder, cell.key()) as mine:
            yield mine and not self._counts(cell)

    def _counts(self, cell: Cell) -> bool:
        try:
            self.read(self.path(cell))
        except ValueError:
            return False
        return True

    def _result(self, facts: Any) -> Result:
        if facts["version"] != self.version:
            raise ValueError(f"is of version {facts['version']} of the code, which is at {self.version} now")
        result = Result(of_facts(self.cell, facts["cell"]), facts["points"], float(facts["seconds"]), facts["about"])
        if not result.points:
            raise ValueError("holds no numbers")
        return result


def expected_seconds(cell: Cell, results: Sequence[Result], otherwise: float) -> float:
    """What a cell will likely take: the median rate of those that take alike, or of all."""
    alike, amount = cell.cost()
    rates = [(result.cell.cost()[0], result.seconds / result.cell.cost()[1]) for result in results]
    counted = [rate for kind, rate in rates if kind == alike] or [rate for _, rate in rates]
    return median(counted) * amount if counted else otherwise


def within(
    cells: Iterable[Cell],
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

"""The worlds that questions are asked of, and what each needs to be run and answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from experiments.hypotheses import Hypothesis
from experiments.ledger import Cell, Ledger, Result

WORLDS = {
    "language": "a small language whose judge is known, and tiny transformers that learned it",
    "selfplay": "training in rounds on a policy's own responses, in that language",
}


@dataclass(frozen=True)
class World:
    """One world.

    Attributes:
        name: of its package in :mod:`experiments` and of its folder of results.
        about: what it is, in a line.
        version: of the code that makes a cell's numbers.
        cell: makes a cell from what a result file holds.
        usual: the cell that others are changes of.
        hypotheses: by name.
        run: a cell in a folder for what is made on the way, and its points and seconds.
        draw: its picture into a folder, from results; gives its name.
    """

    name: str
    about: str
    version: int
    cell: Callable[[Mapping[str, Any]], Cell]
    usual: Cell
    hypotheses: Mapping[str, Hypothesis]
    run: Callable[[Any, Path], tuple[Sequence[dict[str, float]], float]]
    draw: Callable[[Sequence[Result], Path], str]

    def ledger(self, results: Path) -> Ledger:
        """Its results."""
        return Ledger(results / self.name, self.version, self.cell)


def world(name: str) -> World:
    """A world by its name, one of :data:`WORLDS`."""
    cells, hypotheses = (import_module(f"experiments.{name}.{part}") for part in ("cells", "hypotheses"))

    def run(cell: Any, work: Path) -> Any:
        return import_module(f"experiments.{name}.training").run(cell, work)  # with torch

    def draw(results: Sequence[Result], folder: Path) -> Any:
        return import_module(f"experiments.{name}.figure").save(results, folder)  # with matplotlib

    return World(name, WORLDS[name], cells.VERSION, cells.Cell.of, cells.USUAL, hypotheses.HYPOTHESES, run, draw)

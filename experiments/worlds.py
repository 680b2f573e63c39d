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
    "smol": "SmolLM2-135M-Instruct, short English answers, and a judge of their words",
    "dialogue": "responses of two replies in the small language, with what the user asks between them",
}


@dataclass(frozen=True)
class World:
    """One world.

    Attributes:
        name: of its package in :mod:`experiments` and of its folder of results.
        about: what it is, in a line.
        version: of the code that makes a cell's numbers.
        cell: the class of its cells.
        usual: the cell that others are changes of.
        hypotheses: by name.
        reference: of a cell, its folder in that of what is made on the way; made where it is not there.
        run: a cell in a folder for what is made on the way, and its points and seconds.
        draw: its picture into a folder, from results, in every format of the toy's; gives its name.
    """

    name: str
    about: str
    version: int
    cell: Callable[..., Cell]
    usual: Cell
    hypotheses: Mapping[str, Hypothesis]
    reference: Callable[[Any, Path], Path]
    run: Callable[[Any, Path], tuple[Sequence[dict[str, float]], float]]
    draw: Callable[[Sequence[Result], Path], str]

    def ledger(self, results: Path) -> Ledger:
        """Its results."""
        return Ledger(results / self.name, self.version, self.cell)


def world(name: str) -> World:
    """A world by its name, one of :data:`WORLDS`."""
    cells, hypotheses = (import_module(f"experiments.{name}.{part}") for part in ("cells", "hypotheses"))

    def reference(cell: Any, work: Path) -> Any:
        return import_module(f"experiments.{name}.training").reference_of(cell, work)  # with torch

    def run(cell: Any, work: Path) -> Any:
        return import_module(f"experiments.{name}.training").run(cell, work)

    def draw(results: Sequence[Result], folder: Path) -> Any:
        figure = import_module(f"experiments.{name}.figure")  # with matplotlib
        from toy import style

        folder.mkdir(parents=True, exist_ok=True)
        page = style.Page(width=9.0, bare=True)
        style.save(figure.draw(results, page), figure.CAPTION, folder, figure.NAME, page)
        return str(figure.NAME)

    return World(
        name, WORLDS[name], cells.VERSION, cells.Cell, cells.USUAL, hypotheses.HYPOTHESES, reference, run, draw
    )

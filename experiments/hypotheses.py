"""A question to a world, written down before its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import Any

from experiments.analysis import Point
from experiments.ledger import Cell

Seed = tuple[int, int]
"""Of what is trained from, the reference, and of the data."""


@dataclass(frozen=True)
class Hypothesis:
    """One question; yes is a positive difference. All tests are two-sided: either answer is one.

    Attributes:
        name: letter and number.
        question: in a sentence.
        sides: what the cells of each side have that those of the others do not, the treatment first.
        base: what all share.
        measure: a difference of one path from each side, in their order; None where they cannot be compared.
        unit: of the difference.
        seeds: that are run.
    """

    name: str
    question: str
    sides: Sequence[Mapping[str, Any]]
    base: Cell
    measure: Callable[..., float | None]
    unit: str
    seeds: Sequence[Seed]

    def cells(self) -> dict[Seed, list[Cell]]:
        """By seed one cell of each side, in their order."""
        return {
            (pretraining, seed): [
                replace(self.base, pretraining_seed=pretraining, seed=seed, **side)  # type: ignore[type-var]
                for side in self.sides
            ]
            for pretraining, seed in self.seeds
        }


def wanted(hypotheses: Sequence[Hypothesis]) -> list[Cell]:
    """Every cell that some hypothesis needs, each once: the first seed of all questions, then the second, and so on."""
    found: dict[str, Cell] = {}
    for cells in zip_longest(*(hypothesis.cells().values() for hypothesis in hypotheses), fillvalue=()):
        for cell in chain(*cells):
            found.setdefault(cell.key(), cell)
    return list(found.values())


def last(name: str, other: str | None = None) -> Callable[[Sequence[Point], Sequence[Point]], float]:
    """The difference of a number, or of two, at the end of two trainings."""
    return lambda treated, control: treated[-1][name] - control[-1][other or name]


def less(name: str) -> Callable[[Sequence[Point], Sequence[Point]], float]:
    """How much smaller a number is at the end of the first of two trainings."""
    return lambda treated, control: control[-1][name] - treated[-1][name]

"""What is run: one cell is one training on conversations with everything that decides its numbers."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.cells import TrainingCell

VERSION = 1
"""Of the code that makes a cell's numbers, the language world's included. Raised by hand when they change."""


@dataclass(frozen=True)
class Cell(TrainingCell):
    """One training on pairs of conversations; the reference is one of :mod:`experiments.dialogue.reference`.

    >>> Cell("dpo", "symmetric", cycle=3.0, seed=1).key()[:-9]
    'dpo-symmetric-D0-cycle3-seed1'
    """

    def kind(self) -> str:
        """Of the reference: it has conversations."""
        return "D"


USUAL = Cell("dpo", "symmetric", {"beta": 0.5}, cycle=3.0)
"""What ``python -m experiments cell --world dialogue`` changes one thing of."""

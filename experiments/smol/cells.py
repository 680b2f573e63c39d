"""What is run: one cell is one training of the real model with everything that decides its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from experiments.cells import TrainingCell

VERSION = 1
"""Of the code that makes a cell's numbers. Raised by hand when they change."""


@dataclass(frozen=True)
class Cell(TrainingCell):
    """One training of SmolLM2-135M-Instruct.

    Attributes:
        reference: its kind, see :mod:`experiments.smol.reference`.
        batch: pairs an update.
        lora_rank: of the adapter that is trained; None trains all weights.
        prompts: on which policies are measured.

    >>> Cell("dpo", "symmetric", cycle=3.0, seed=1).key()[:-9]
    'dpo-symmetric-B0-cycle3-seed1'
    """

    pairs: int = 640
    epochs: float = 1.0
    learning_rate: float = 2e-4
    reference: Literal["A", "B"] = "B"
    batch: int = 16
    lora_rank: int | None = 16
    prompts: int = 96

    def kind(self) -> str:
        """Of the reference."""
        return self.reference


USUAL = Cell("dpo", "symmetric", {"beta": 0.1}, cycle=3.0)
"""What ``python -m experiments cell --world smol`` changes one thing of."""

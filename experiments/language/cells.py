"""What is run: one cell is one training with everything that decides its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from experiments.cells import TrainingCell

VERSION = 2
"""Of the code that makes a cell's numbers. Raised by hand when they change; a test holds one cell's to those kept."""

UNRELATED = "unrelated"
"""A conditioning of this world alone: both responses given the same response to another prompt."""

PREFERENCE_MODELS = ("reward", "pairwise")
"""What is trained to judge and cannot write, see :mod:`experiments.language.preference_models`."""


@dataclass(frozen=True)
class Cell(TrainingCell):
    """One training in the language world: of a policy, or of one of :data:`PREFERENCE_MODELS`, which is a method here.

    Attributes:
        reference: its kind, see :mod:`experiments.language.reference`.
        max_length: tokens of prompt, context and response; longer responses are cut.
        draft_cap: share of `max_length` that a context may have; None for all of it.

    >>> Cell("dpo", "symmetric", cycle=3.0, seed=1).key()[:-9]
    'dpo-symmetric-B0-cycle3-seed1'
    """

    methods = (*TrainingCell.methods, *PREFERENCE_MODELS)
    conditionings = (*TrainingCell.conditionings, UNRELATED)

    reference: Literal["A", "B", "C"] = "B"
    max_length: int = 96
    draft_cap: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reference not in ("A", "B", "C"):
            raise ValueError(f"reference = {self.reference!r} must be A, B or C")
        if self.method in PREFERENCE_MODELS and self.conditioning != "none":
            raise ValueError(f"method = {self.method!r} has conditioning none, not {self.conditioning}")

    def kind(self) -> str:
        """Of the reference."""
        return self.reference

    def data(self) -> dict[str, Any]:
        """What its pairs depend on, so that cells which share it are trained on the same ones."""
        names = ("reference", "pretraining_seed", "cycle", "seed", "pairs")
        return {name: getattr(self, name) for name in names}


USUAL = Cell("dpo", "symmetric", {"beta": 0.5}, cycle=3.0)
"""What ``python -m experiments cell`` changes one thing of."""

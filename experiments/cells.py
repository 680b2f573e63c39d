"""What the cells of worlds share that train once on pairs; each adds what is its own, and its defaults."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from experiments.ledger import digest
from inspo.conditioning import Conditioning
from inspo.losses import METHODS

CONDITIONINGS = tuple(one.value for one in Conditioning)


def check_names(cell: object, **known: Collection[str]) -> None:
    """Raise a ValueError where a cell's attribute is none of the names that are known for it."""
    for name, names in known.items():
        if getattr(cell, name) not in names:
            raise ValueError(f"{name} = {getattr(cell, name)!r} must be one of {', '.join(names)}")


@dataclass(frozen=True)
class TrainingCell:
    """One training on pairs of a reference's responses.

    Attributes:
        method: a name of :attr:`methods`.
        conditioning: which log-probs are compared, a name of :attr:`conditionings`.
        hyperparameters: of the loss, where they are not the method's defaults.
        pretraining_seed: of the reference.
        cycle: nats for the better style.
        seed: of the data: prompts, pairs, labels and order.
        pairs: to train on.
        epochs: passes over them.
        learning_rate: at its peak.
    """

    methods: ClassVar[Collection[str]] = tuple(METHODS)
    conditionings: ClassVar[Collection[str]] = CONDITIONINGS

    method: str
    conditioning: str
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    pretraining_seed: int = 0
    cycle: float = 0.0
    seed: int = 0
    pairs: int = 8000
    epochs: float = 2.0
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        check_names(self, method=self.methods, conditioning=self.conditionings)

    def kind(self) -> str:
        """Of the reference, a letter."""
        raise NotImplementedError

    def key(self) -> str:
        """A name for files: what is read of it, and a digest of all."""
        parts = (self.method, self.conditioning, f"{self.kind()}{self.pretraining_seed}", f"cycle{self.cycle:g}")
        return "-".join((*parts, f"seed{self.seed}", digest(self)))

    def cost(self) -> tuple[str, float]:
        """What cells that take alike share, and how much there is of it."""
        return f"{self.method} {self.conditioning}", self.pairs * self.epochs

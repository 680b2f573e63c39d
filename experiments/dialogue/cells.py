"""What is run: one cell is one training on conversations with everything that decides its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from experiments.ledger import digest
from inspo.conditioning import Conditioning
from inspo.losses import METHODS

VERSION = 1
"""Of the code that makes a cell's numbers, the language world's included. Raised by hand when they change."""


@dataclass(frozen=True)
class Cell:
    """One training on pairs of conversations.

    Attributes:
        method: a name of :data:`inspo.losses.METHODS`.
        conditioning: which log-probs are compared, by name.
        hyperparameters: of the loss, where they are not the method's defaults.
        pretraining_seed: of the reference, see :mod:`experiments.dialogue.reference`.
        cycle: nats for the better style of the second reply.
        seed: of the data: prompts, pairs, labels and order.
        pairs: to train on.
        epochs: passes over them.
        learning_rate: at its peak.
    """

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
        if self.method not in METHODS:
            raise ValueError(f"method = {self.method!r} must be one of {', '.join(METHODS)}")
        known = [one.value for one in Conditioning]
        if self.conditioning not in known:
            raise ValueError(f"conditioning = {self.conditioning!r} must be one of {', '.join(known)}")

    def key(self) -> str:
        """A name for files: what is read of it, and a digest of all.

        >>> Cell("dpo", "symmetric", cycle=3.0, seed=1).key()[:-9]
        'dpo-symmetric-D0-cycle3-seed1'
        """
        parts = (self.method, self.conditioning, f"D{self.pretraining_seed}", f"cycle{self.cycle:g}")
        return "-".join((*parts, f"seed{self.seed}", digest(self)))

    def cost(self) -> tuple[str, float]:
        """What cells that take alike share, and how much there is of it."""
        return f"{self.method} {self.conditioning}", self.pairs * self.epochs


USUAL = Cell("dpo", "symmetric", {"beta": 0.5}, cycle=3.0)
"""What ``python -m experiments cell --world dialogue`` changes one thing of."""

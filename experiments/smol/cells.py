"""What is run: one cell is one training of the real model with everything that decides its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from experiments.ledger import digest
from inspo.conditioning import Conditioning
from inspo.losses import METHODS

VERSION = 1
"""Of the code that makes a cell's numbers. Raised by hand when they change."""


@dataclass(frozen=True)
class Cell:
    """One training of SmolLM2-135M-Instruct.

    Attributes:
        method: a name of :data:`inspo.losses.METHODS`.
        conditioning: which log-probs are compared, by name.
        hyperparameters: of the loss, where they are not the method's defaults.
        reference: kind of the reference, see :mod:`experiments.smol.reference`.
        pretraining_seed: of the reference.
        cycle: nats for the better style.
        seed: of the data: prompts, pairs, labels and order.
        pairs: to train on.
        epochs: passes over them.
        batch: pairs an update.
        learning_rate: at its peak.
        lora_rank: of the adapter that is trained; None trains all weights.
        prompts: on which policies are measured.
    """

    method: str
    conditioning: str
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    reference: Literal["A", "B"] = "B"
    pretraining_seed: int = 0
    cycle: float = 0.0
    seed: int = 0
    pairs: int = 640
    epochs: float = 1.0
    batch: int = 16
    learning_rate: float = 2e-4
    lora_rank: int | None = 16
    prompts: int = 96

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method = {self.method!r} must be one of {', '.join(METHODS)}")
        known = [one.value for one in Conditioning]
        if self.conditioning not in known:
            raise ValueError(f"conditioning = {self.conditioning!r} must be one of {', '.join(known)}")

    def key(self) -> str:
        """A name for files: what is read of it, and a digest of all.

        >>> Cell("dpo", "symmetric", cycle=3.0, seed=1).key()[:-9]
        'dpo-symmetric-B0-cycle3-seed1'
        """
        parts = (self.method, self.conditioning, f"{self.reference}{self.pretraining_seed}", f"cycle{self.cycle:g}")
        return "-".join((*parts, f"seed{self.seed}", digest(self)))

    def cost(self) -> tuple[str, float]:
        """What cells that take alike share, and how much there is of it."""
        return f"{self.method} {self.conditioning}", self.pairs * self.epochs


USUAL = Cell("dpo", "symmetric", {"beta": 0.1}, cycle=3.0)
"""What ``python -m experiments cell --world smol`` changes one thing of."""

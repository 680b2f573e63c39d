"""What is run: one cell is one training with everything that decides its numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from inspo.conditioning import Conditioning
from inspo.losses import METHODS

VERSION = 1
"""Of the code that makes a cell's numbers. Raised by hand when they change; a test holds one cell's to those kept."""


@dataclass(frozen=True)
class Cell:
    """One training in the language world.

    Attributes:
        method: a name of :data:`inspo.losses.METHODS`.
        conditioning: which log-probs are compared, by name.
        hyperparameters: of the loss, where they are not the method's defaults.
        reference: kind of the reference, see :mod:`experiments.language.reference`.
        pretraining_seed: of the reference.
        cycle: nats for the better style.
        seed: of the data: prompts, pairs, labels and order.
        pairs: to train on.
        epochs: passes over them.
        learning_rate: at its peak.
    """

    method: str
    conditioning: str
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    reference: Literal["A", "B", "C"] = "B"
    pretraining_seed: int = 0
    cycle: float = 0.0
    seed: int = 0
    pairs: int = 4000
    epochs: float = 2.0
    learning_rate: float = 5e-4

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
        facts = json.dumps(asdict(self), sort_keys=True, default=dict)
        digest = hashlib.sha256(facts.encode()).hexdigest()[:8]
        parts = (self.method, self.conditioning, f"{self.reference}{self.pretraining_seed}", f"cycle{self.cycle:g}")
        return "-".join((*parts, f"seed{self.seed}", digest))

    def data(self) -> dict[str, Any]:
        """What its pairs depend on, so that cells which share it are trained on the same ones."""
        names = ("reference", "pretraining_seed", "cycle", "seed", "pairs")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Cell:
        """A cell from what a result file holds.

        Raises:
            ValueError: keys that are missing or unknown, or a value that is out of range.
        """
        known = cls.__dataclass_fields__
        if set(facts) != set(known):
            odd = sorted(set(facts) ^ set(known))
            raise ValueError(f"a cell has {', '.join(known)}; missing or unknown: {', '.join(odd)}")
        return cls(**facts)

"""What is run: one cell is one training with everything that decides its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from experiments.ledger import digest
from inspo.conditioning import Conditioning
from inspo.losses import METHODS

VERSION = 2
"""Of the code that makes a cell's numbers. Raised by hand when they change; a test holds one cell's to those kept."""

UNRELATED = "unrelated"
"""A conditioning of this world alone: both responses given the same response to another prompt."""

PREFERENCE_MODELS = ("reward", "pairwise")
"""What is trained to judge and cannot write, see :mod:`experiments.language.preference_models`."""


@dataclass(frozen=True)
class Cell:
    """One training in the language world.

    Attributes:
        method: a name of :data:`inspo.losses.METHODS`, or of :data:`PREFERENCE_MODELS`.
        conditioning: which log-probs are compared, by name, or :data:`UNRELATED`.
        hyperparameters: of the loss, where they are not the method's defaults.
        reference: kind of the reference, see :mod:`experiments.language.reference`.
        pretraining_seed: of the reference.
        cycle: nats for the better style.
        seed: of the data: prompts, pairs, labels and order.
        pairs: to train on.
        epochs: passes over them.
        learning_rate: at its peak.
        max_length: tokens of prompt, context and response; longer responses are cut.
        draft_cap: share of `max_length` that a context may have; None for all of it.
    """

    method: str
    conditioning: str
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    reference: Literal["A", "B", "C"] = "B"
    pretraining_seed: int = 0
    cycle: float = 0.0
    seed: int = 0
    pairs: int = 8000
    epochs: float = 2.0
    learning_rate: float = 1e-3
    max_length: int = 96
    draft_cap: float | None = None

    def __post_init__(self) -> None:
        methods = (*METHODS, *PREFERENCE_MODELS)
        if self.method not in methods:
            raise ValueError(f"method = {self.method!r} must be one of {', '.join(methods)}")
        known = [*(one.value for one in Conditioning), UNRELATED]
        if self.conditioning not in known:
            raise ValueError(f"conditioning = {self.conditioning!r} must be one of {', '.join(known)}")
        if self.reference not in ("A", "B", "C"):
            raise ValueError(f"reference = {self.reference!r} must be A, B or C")
        if self.method in PREFERENCE_MODELS and self.conditioning != "none":
            raise ValueError(f"method = {self.method!r} has conditioning none, not {self.conditioning}")

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

    def data(self) -> dict[str, Any]:
        """What its pairs depend on, so that cells which share it are trained on the same ones."""
        names = ("reference", "pretraining_seed", "cycle", "seed", "pairs")
        return {name: getattr(self, name) for name in names}


USUAL = Cell("dpo", "symmetric", {"beta": 0.5}, cycle=3.0)
"""What ``python -m experiments cell`` changes one thing of."""

"""What is run: one cell is one training in rounds with everything that decides its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from experiments.cells import CONDITIONINGS, check_names
from experiments.language.cells import Cell as Training
from experiments.ledger import digest

VERSION = 1
"""Of the code that makes a cell's numbers, the language world's included. Raised by hand when they change."""

UPDATES = {"dpo": ("beta",), "inpo": ("eta", "tau")}
"""How a policy is trained in a round, with hyperparameters."""

LABELERS = ("judge", "margin")
"""Who labels from the second round on: the true judge, or the policy's own margin, which under conditioning none is
its implicit reward. The first round's labels are the true judge's."""


@dataclass(frozen=True)
class Cell:
    """One training in rounds.

    Attributes:
        update: a name of :data:`UPDATES`.
        conditioning: which log-probs are compared, by name.
        labeler: a name of :data:`LABELERS`.
        hyperparameters: of the update, all of them.
        reference: kind of the first policy, see :mod:`experiments.language.reference`.
        pretraining_seed: of the first policy.
        cycle: nats for the better style.
        seed: of the data: prompts, responses, labels and order.
        rounds: how many.
        first_pairs: that are drawn in the first round.
        first_epochs: passes over them; with 8000 pairs a margin that sees the other response needs two for the cycle.
        pairs: that are drawn in every other round.
        epochs: passes over these.
        learning_rate: at its peak, in every round.
    """

    update: str
    conditioning: str
    labeler: str
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    reference: Literal["A", "B", "C"] = "B"
    pretraining_seed: int = 0
    cycle: float = 0.0
    seed: int = 0
    rounds: int = 4
    first_pairs: int = 8000
    first_epochs: float = 2.0
    pairs: int = 1000
    epochs: float = 1.0
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        check_names(self, update=UPDATES, conditioning=CONDITIONINGS, labeler=LABELERS)
        needed = UPDATES[self.update]
        if set(self.hyperparameters) != set(needed):
            raise ValueError(f"hyperparameters of {self.update} are {', '.join(needed)}: give these and no others")
        if self.update == "inpo" and not 0 <= self.pull() <= 1:
            raise ValueError("tau / eta, the first policy's share in the reference, must be within [0, 1]")
        self.training()  # knows what kinds of references there are

    def key(self) -> str:
        """A name for files: what is read of it, and a digest of all.

        >>> Cell("dpo", "symmetric", "margin", {"beta": 0.5}, cycle=3.0).key()[:-9]
        'dpo-symmetric-margin-B0-cycle3-seed0'
        """
        who = f"{self.reference}{self.pretraining_seed}"
        parts = (self.update, self.conditioning, self.labeler, who, f"cycle{self.cycle:g}", f"seed{self.seed}")
        return "-".join((*parts, digest(self)))

    def kind(self) -> str:
        """Of the first policy."""
        return self.reference

    def cost(self) -> tuple[str, float]:
        """What cells that take alike share, and how much there is of it."""
        amount = self.first_pairs * self.first_epochs + (self.rounds - 1) * self.pairs * self.epochs
        return f"{self.update} {self.conditioning} {self.labeler}", amount

    def pull(self) -> float:
        """The first policy's share in the reference of a round, whose other part is the policy before it."""
        return self.hyperparameters["tau"] / self.hyperparameters["eta"] if self.update == "inpo" else 0.0

    def training(self, number: int = 1) -> Training:
        """A round's training as the language world has it, from the policy that the round, counted from 1, starts with.

        INPO's is IPO's with eta in the place of tau; the reference makes the difference.
        """
        given = self.hyperparameters
        method, options = ("ipo", {"tau": given["eta"]}) if self.update == "inpo" else (self.update, given)
        pairs, epochs = (self.first_pairs, self.first_epochs) if number == 1 else (self.pairs, self.epochs)
        names = ("reference", "pretraining_seed", "cycle", "seed", "learning_rate")
        same: dict[str, Any] = {name: getattr(self, name) for name in names}
        return Training(method, self.conditioning, options, pairs=pairs, epochs=epochs, **same)


USUAL = Cell("dpo", "symmetric", "margin", {"beta": 0.5}, cycle=3.0)
"""What ``python -m experiments cell --world selfplay`` changes one thing of."""

"""What is asked of the language world, written down before the headline runs; each with the cells that answer it.

A hypothesis compares a treatment with a control that shares its reference, its data and all random numbers. Policies
are compared at equal KL, never at equal beta. All tests are two-sided: either answer is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from experiments.analysis import Point, equal_kl
from experiments.cells import Cell

SEEDS = [(pretraining, seed) for pretraining in range(3) for seed in range(5)]
"""Of the headline: three references, five data seeds each."""

KL = 2.0
"""Nats a response at which policies are compared: what DPO spends within a few hundred updates, well below where its
responses break down."""

HYPERPARAMETERS: Mapping[str, Mapping[str, float]] = {
    "dpo": {"beta": 0.1},
    "ipo": {"tau": 0.1},
    "r-dpo": {"beta": 0.1, "alpha": 0.02},
    "orpo": {"lam": 0.5},
    "simpo": {"beta": 2.0, "gamma": 0.5},
}
CYCLES = (0.0, 1.5, 3.0)


@dataclass(frozen=True)
class Hypothesis:
    """One question.

    Attributes:
        name: letter and number.
        question: in a sentence; yes is a positive difference.
        treatment: what its cells have that the control's do not.
        control: the same of what it is compared with.
        base: what both share.
        measure: how two paths are compared.
        unit: of the difference.
        seeds: (pretraining seed, data seed) that are run.
    """

    name: str
    question: str
    treatment: Mapping[str, Any]
    control: Mapping[str, Any]
    base: Cell
    measure: Callable[[Sequence[Point], Sequence[Point]], float | None]
    unit: str
    seeds: Sequence[tuple[int, int]] = field(default_factory=lambda: SEEDS)

    def cells(self, side: Mapping[str, Any]) -> dict[tuple[int, int], Cell]:
        """The cells of one side by their seeds."""
        return {
            (pretraining, seed): replace(self.base, pretraining_seed=pretraining, seed=seed, **side)
            for pretraining, seed in self.seeds
        }


def _cell(method: str, **values: Any) -> Cell:
    return Cell(method, "none", HYPERPARAMETERS[method], **values)


_VALUE = equal_kl("value", KL, 0.5)
_NEUTRAL = equal_kl("value_even_length", KL, 0.5)
INS, PLAIN = {"conditioning": "symmetric"}, {"conditioning": "none"}

DEPLOYED = [
    Hypothesis(
        f"a-{method}{'' if cycle else '-separable'}",
        f"INS-{method.upper()} deploys a better policy than {method.upper()} at {KL:g} nats, preferences "
        f"{'with a cycle' if cycle else 'of Bradley-Terry'}",
        INS,
        PLAIN,
        _cell(method, cycle=cycle),
        _VALUE,
        "win rate",
        SEEDS if method == "dpo" else SEEDS[::5] + SEEDS[1::5],
    )
    for method in HYPERPARAMETERS
    for cycle in (3.0, 0.0)
    if method == "dpo" or cycle
]
STRATEGIES = [
    Hypothesis(
        f"b-{conditioning}",
        f"{conditioning} conditioning deploys a better policy than none at {KL:g} nats",
        {"conditioning": conditioning},
        PLAIN,
        _cell("dpo", cycle=3.0),
        _VALUE,
        "win rate",
        SEEDS,
    )
    for conditioning in ("one_sided", "averaged", "anchored")
]
LENGTH = [
    Hypothesis(
        "a-dpo-even-length",
        f"INS-DPO deploys a better policy than DPO at {KL:g} nats where the judge's taste for length is taken away",
        INS,
        PLAIN,
        _cell("dpo", cycle=3.0),
        _NEUTRAL,
        "win rate",
    )
]
REFERENCES = [
    Hypothesis(
        f"d-reference-{kind}",
        f"INS-DPO deploys a better policy than DPO at {KL:g} nats from a reference of kind {kind}",
        INS,
        PLAIN,
        _cell("dpo", cycle=3.0, reference=kind),
        _VALUE,
        "win rate",
        SEEDS[::5] + SEEDS[1::5],
    )
    for kind in ("A", "C")
]
JUDGES = [
    Hypothesis(
        f"e-{conditioning}-cycle{cycle:g}",
        f"the margin of {conditioning} DPO is nearer to the true preference than DPO's, cycle {cycle:g}",
        {"conditioning": conditioning},
        PLAIN,
        _cell("dpo", cycle=cycle),
        lambda treated, control: control[-1]["log_loss"] - treated[-1]["log_loss"],
        "nats a pair",
        SEEDS if cycle in (0.0, 3.0) else SEEDS[::5] + SEEDS[1::5],
    )
    for conditioning in ("symmetric", "anchored")
    for cycle in CYCLES
]
REVISERS = [
    Hypothesis(
        f"g-{conditioning}",
        f"what {conditioning} DPO writes in view of a draft beats it more often than what it writes without",
        {"conditioning": conditioning},
        {"conditioning": conditioning},
        _cell("dpo", cycle=3.0),
        lambda treated, _control: treated[-1]["gained"],
        "win rate",
    )
    for conditioning in ("symmetric", "anchored")
] + [
    Hypothesis(
        "g-independent",
        "revisions by INS-DPO beat an independent opponent more often than DPO's own answers do",
        INS,
        PLAIN,
        _cell("dpo", cycle=3.0),
        lambda treated, control: treated[-1]["revised_other"] - control[-1]["value"],
        "win rate",
    )
]
HYPOTHESES = {h.name: h for h in [*DEPLOYED, *STRATEGIES, *LENGTH, *REFERENCES, *JUDGES, *REVISERS]}


def wanted() -> list[Cell]:
    """Every cell that some hypothesis needs, each once; one seed of all comes first, so that no question waits."""
    found: dict[str, Cell] = {}
    for seed in SEEDS:
        for hypothesis in HYPOTHESES.values():
            for side in (hypothesis.control, hypothesis.treatment):
                if (cell := hypothesis.cells(side).get(seed)) is not None:
                    found.setdefault(cell.key(), cell)
    return list(found.values())

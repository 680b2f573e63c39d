"""What is asked of the real model, written down before the headline runs; each with the cells that answer it.

Sides of a question share their reference, prompts and random numbers. Policies are compared at the largest KL from the
reference that both have had, along their trainings; judges at the best scale of each, fitted on other pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.analysis import at_shared_kl
from experiments.hypotheses import Hypothesis, Seed, last, less
from experiments.smol.cells import Cell

SEEDS: Sequence[Seed] = [(seed, seed) for seed in range(3)]
"""Of the headline, DPO's: three references, each with data of its own."""

CYCLE = 3.0

HYPERPARAMETERS: Mapping[str, Mapping[str, float]] = {
    "dpo": {"beta": 0.1},
    "ipo": {"tau": 0.1},
    "simpo": {"beta": 2.0, "gamma": 0.5},
}

INS, PLAIN = {"conditioning": "symmetric"}, {"conditioning": "none"}


def _hypothesis(
    name: str,
    question: str,
    *sides: Mapping[str, Any],
    method: str = "dpo",
    cycle: float = CYCLE,
    measure: Callable[..., float | None],
    unit: str = "win rate",
) -> Hypothesis:
    base = Cell(method, "none", HYPERPARAMETERS[method], cycle=cycle)
    where = f"cycle {cycle:g}" if cycle else "preferences of Bradley-Terry"
    name = name if cycle else f"{name}-cycle0"
    seeds = SEEDS if method == "dpo" else SEEDS[:2]
    return Hypothesis(name, f"{question}, {where}", sides, base, measure, unit, seeds)


DEPLOYED = [
    _hypothesis(
        f"a-{method}{'' if number == 'value' else '-reward'}",
        f"INS-{method.upper()} deploys a policy of more {what} than {method.upper()} at its KL",
        INS,
        PLAIN,
        method=method,
        cycle=cycle,
        measure=at_shared_kl(number, start),
        unit=unit,
    )
    for number, start, what, unit in (
        ("value", 0.5, "value", "win rate"),
        ("reward_gained", 0.0, "reward", "VADER score"),
    )
    for cycle in (CYCLE, 0.0)
    for method in HYPERPARAMETERS
    if cycle or method == "dpo"
]
JUDGES = [
    _hypothesis(
        f"e-symmetric-{name}",
        f"the margin of symmetric DPO {what} than DPO's",
        INS,
        PLAIN,
        cycle=cycle,
        measure=measure,
        unit=unit,
    )
    for cycle in (CYCLE, 0.0)
    for name, what, measure, unit in (
        ("log-loss", "is nearer to the true preference", less("log_loss_rescaled"), "nats a pair"),
        ("agrees", "more often prefers what the truth prefers", last("agrees"), "accuracy"),
    )
]
REVISERS = [
    _hypothesis(
        "g-gained",
        "what symmetric DPO writes in view of a draft beats it more often than what it writes without",
        INS,
        measure=lambda path: path[-1]["gained"],
    ),
    _hypothesis(
        "g-draft",
        "revisions by INS-DPO beat their draft more often than DPO's own answers do",
        INS,
        PLAIN,
        measure=last("revised", "value_draft"),
    ),
    _hypothesis(
        "g-independent",
        "revisions by INS-DPO beat independent answers more often than DPO's own answers do",
        INS,
        PLAIN,
        measure=last("revised_other", "value_other"),
    ),
]
HYPOTHESES = {hypothesis.name: hypothesis for hypothesis in [*DEPLOYED, *JUDGES, *REVISERS]}

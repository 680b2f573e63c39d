"""What is asked of conversations, written down before the runs; each with the cells that answer it.

Sides of a question share their reference, prompts, users and random numbers. Policies are compared at the largest KL
from the reference that both have had, along their trainings; judges at the best scale of each, fitted on other pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.analysis import at_shared_kl
from experiments.dialogue.cells import Cell
from experiments.hypotheses import Hypothesis, Seed, last, less

SEEDS: Sequence[Seed] = [(seed, seed) for seed in range(3)]
"""Three references, each with data of its own."""

CYCLES = (3.0, 0.0)
INS, PLAIN = {"conditioning": "symmetric"}, {"conditioning": "none"}


def _hypotheses(
    name: str, question: str, *sides: Mapping[str, Any], measure: Callable[..., float | None], unit: str = "win rate"
) -> list[Hypothesis]:
    """A question with a cycle, and where preferences are Bradley-Terry's."""
    return [
        Hypothesis(
            name if cycle else f"{name}-cycle0",
            f"{question}, {f'cycle {cycle:g}' if cycle else 'preferences of Bradley-Terry'}",
            sides,
            Cell("dpo", "none", {"beta": 0.5}, cycle=cycle),
            measure,
            unit,
            SEEDS,
        )
        for cycle in CYCLES
    ]


QUESTIONS = [
    *_hypotheses(
        "a-value",
        "trained on conversations, INS-DPO deploys a policy of more value than DPO at its KL",
        INS,
        PLAIN,
        measure=at_shared_kl("value", 0.5),
    ),
    *_hypotheses(
        "e-log-loss",
        "the margin of symmetric DPO is nearer to the true preference between conversations than DPO's",
        INS,
        PLAIN,
        measure=less("log_loss_rescaled"),
        unit="nats a pair",
    ),
    *_hypotheses(
        "g-gained",
        "behind another conversation symmetric DPO holds one that beats it more often than without",
        INS,
        measure=lambda path: path[-1]["gained"],
    ),
    *_hypotheses(
        "g-draft",
        "INS-DPO's conversations behind another one beat it more often than DPO's own do",
        INS,
        PLAIN,
        measure=last("revised", "value"),
    ),
]
HYPOTHESES = {hypothesis.name: hypothesis for hypothesis in QUESTIONS}

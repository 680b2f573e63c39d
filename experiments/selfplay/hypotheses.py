"""What is asked of self-play, written down before the headline runs; each with the cells that answer it.

Self-play may end anywhere: in the end values are compared as they are, and again at the KL from the first policy that
both have reached. Sides of a question share their first policy, prompts, random numbers and the first round's judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.analysis import at_shared_kl
from experiments.hypotheses import Hypothesis, Seed, last, less
from experiments.selfplay.cells import Cell

SEEDS: Sequence[Seed] = [(pretraining, seed) for seed in range(2) for pretraining in range(3)]
"""Three first policies, two data seeds each."""

CYCLES = (3.0, 0.0)

DPO: Mapping[str, Any] = {"update": "dpo", "hyperparameters": {"beta": 0.5}}
INPO: Mapping[str, Any] = {"update": "inpo", "hyperparameters": {"eta": 0.125, "tau": 0.025}}
"""As long a step as DPO's near even preferences, whose log-odds are 4 (P - 1/2), and a pull of a fifth."""

MARGIN = {**DPO, "conditioning": "symmetric", "labeler": "margin"}
INS = {**DPO, "conditioning": "symmetric", "labeler": "judge"}
IMPLICIT = {**DPO, "conditioning": "none", "labeler": "margin"}
ONLINE = {**DPO, "conditioning": "none", "labeler": "judge"}
NASH = {**INPO, "conditioning": "none", "labeler": "judge"}


def _hypothesis(
    name: str,
    question: str,
    cycle: float,
    *sides: Mapping[str, Any],
    measure: Callable[..., float | None] | None = None,
    unit: str = "win rate",
) -> Hypothesis:
    where = f"cycle {cycle:g}" if cycle else "preferences of Bradley-Terry"
    name = name if cycle else f"{name}-cycle0"
    base = Cell(**sides[0], cycle=cycle)
    return Hypothesis(f"h-{name}", f"{question}, {where}", sides, base, measure or last("value"), unit, SEEDS)


BY_KL = at_shared_kl("value", 0.5)
ASKED = [  # without a cycle no style beats another, and how exploitable a policy is is 1/2 less its value
    _hypothesis(name, question, cycle, *sides, measure=measure)
    for cycle in CYCLES
    for name, question, sides, measure in (
        (
            "margin",
            "INS-DPO labeled by its own margin ends with a larger value than DPO labeled by its implicit reward",
            (MARGIN, IMPLICIT),
            None,
        ),
        (
            "margin-kl",
            "INS-DPO labeled by its own margin has a larger value at equal KL than DPO labeled by its implicit reward",
            (MARGIN, IMPLICIT),
            BY_KL,
        ),
        (
            "margin-judge",
            "INS-DPO ends with a larger value labeled by its own margin than by the true judge",
            (MARGIN, INS),
            None,
        ),
        (
            "exploitability",
            "INS-DPO labeled by its own margin ends less exploitable than DPO labeled by its implicit reward",
            (MARGIN, IMPLICIT),
            less("exploitability"),
        ),
        (
            "exploitability-style",
            "INS-DPO labeled by its own margin leaves style less to gain than DPO labeled by its implicit reward",
            (MARGIN, IMPLICIT),
            less("exploitability_of_style"),
        ),
        (
            "nash",
            "INPO ends less exploitable than online DPO, both labeled by the true judge",
            (NASH, ONLINE),
            less("exploitability"),
        ),
        (
            "nash-value",
            "INPO ends with a larger value than online DPO, both labeled by the true judge",
            (NASH, ONLINE),
            None,
        ),
        (
            "nash-margin",
            "INS-DPO labeled by its own margin ends less exploitable than INPO labeled by the true judge",
            (MARGIN, NASH),
            less("exploitability"),
        ),
    )
    if cycle or measure in (None, BY_KL)
]
HYPOTHESES = {hypothesis.name: hypothesis for hypothesis in ASKED}

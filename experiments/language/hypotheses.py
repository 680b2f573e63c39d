"""What is asked of the language world, written down before the headline runs; each with the cells that answer it.

Sides of a question share their reference, their data and all random numbers. A deployed policy is held against a
frontier: what the plain method has at the same KL from the reference, over several strengths of its regularization.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.analysis import Point, at_kl, beyond_frontier
from experiments.hypotheses import Hypothesis, Seed, last, less
from experiments.language.cells import UNRELATED, Cell

SEEDS: Sequence[Seed] = [(pretraining, seed) for seed in range(5) for pretraining in range(3)]
"""Of the headline: three references, five data seeds each."""

SIX, THREE = SEEDS[:6], SEEDS[:3]
"""Of the rest: three references, two data seeds each, or one."""

NEW: Sequence[Seed] = [(pretraining, pretraining + 2) for pretraining in (3, 4, 7, 8, 9, 11)]
"""Of what is asked again: six more references, each with data of its own, none of them looked at before: the first from
3 on that have learned to mention what they are asked for, :data:`experiments.language.reference.LEARNED`."""

STRENGTHS: Mapping[str, Sequence[Mapping[str, float]]] = {
    "dpo": [{"beta": beta} for beta in (0.5, 0.25, 0.1, 0.05, 0.02)],
    "ipo": [{"tau": tau} for tau in (0.5, 0.25, 0.1, 0.05, 0.02)],
    "r-dpo": [{"beta": beta, "alpha": 0.05} for beta in (0.5, 0.25, 0.1, 0.05)],
    "orpo": [{"lam": lam} for lam in (0.5, 1.0, 2.0, 8.0)],
    "simpo": [{"beta": beta, "gamma": 0.5} for beta in (5.0, 2.0, 1.0)],
}
"""Of regularization, by method, the strongest first, at which INS is run. The weakest was added where INS policies went
further than all plain ones and could not be compared; no comparison that had been made changed by it."""

CYCLE = 3.0
CYCLES = (0.0, 1.5, CYCLE)
FEW = 2000
"""Pairs, where labels are scarce."""

INS, PLAIN = {"conditioning": "symmetric"}, {"conditioning": "none"}


def _cell(method: str = "dpo", cycle: float = CYCLE, **values: Any) -> Cell:
    return Cell(method, "none", STRENGTHS[method][0], cycle=cycle, **values)


def _frontier(method: str = "dpo") -> list[dict[str, Any]]:
    """Plain trainings of a method."""
    return [{**PLAIN, "hyperparameters": strength} for strength in STRENGTHS[method]]


def _hypothesis(
    name: str,
    question: str,
    *sides: Mapping[str, Any],
    base: Cell | None = None,
    measure: Any = None,
    unit: str = "win rate",
    seeds: Sequence[Seed] = SEEDS,
) -> Hypothesis:
    return Hypothesis(name, question, sides, base or _cell(), measure or beyond_frontier("value", 0.5), unit, seeds)


def _judge(method: str) -> dict[str, Any]:
    return {"method": method, "conditioning": "none", "hyperparameters": {}}


DEPLOYED = [
    _hypothesis(
        f"a-{method}{'' if cycle == CYCLE else f'-cycle{cycle:g}'}",
        f"INS-{method.upper()} deploys a better policy than {method.upper()} at its KL, "
        f"{f'cycle {cycle:g}' if cycle else 'preferences of Bradley-Terry'}",
        INS,
        *_frontier(method),
        base=_cell(method, cycle),
        seeds=(SEEDS if cycle == CYCLE else SIX if cycle == 0 else THREE) if method == "dpo" else THREE,
    )
    for method in STRENGTHS
    for cycle in CYCLES
    if method == "dpo" or cycle == CYCLE
] + [
    _hypothesis(
        f"a-dpo-{name}",
        f"INS-DPO deploys a better policy than DPO at its KL, {how}",
        INS,
        *_frontier(),
        measure=beyond_frontier(number, 0.5),
    )
    for name, number, how in (
        ("even-length", "value_even_length", "by the judge without its taste for length"),
        ("strata", "value_strata", "in strata of length"),
        ("lc", "value_lc", "length-controlled as in AlpacaEval 2"),
    )
]
STRATEGIES = [
    _hypothesis(
        f"b-{conditioning}",
        f"{conditioning} conditioning deploys a better policy than DPO at its KL",
        {"conditioning": conditioning},
        *_frontier(),
    )
    for conditioning in ("one_sided", "averaged", "anchored", UNRELATED)
]
WINDOWS = [
    _hypothesis(
        f"c-{name}",
        f"INS-DPO in {what}, deploys a better policy than DPO in 96 at its KL",
        {**INS, **window},
        *_frontier(),
        seeds=THREE,
    )
    for name, what, window in (
        ("maxlen32", "32 tokens, no cap", {"max_length": 32}),
        ("maxlen32-cap40", "32 tokens, a cap of 40 %", {"max_length": 32, "draft_cap": 0.4}),
        ("maxlen48-cap20", "48 tokens, a cap of 20 %", {"max_length": 48, "draft_cap": 0.2}),
        ("maxlen48-cap40", "48 tokens, a cap of 40 %", {"max_length": 48, "draft_cap": 0.4}),
    )
]
REFERENCES = [
    _hypothesis(
        f"d-reference-{kind}",
        f"INS-DPO deploys a better policy than DPO at its KL, from a reference of kind {kind}",
        INS,
        *_frontier(),
        base=_cell(reference=kind),
        seeds=THREE,
    )
    for kind in ("A", "C")
]


# Judges are compared at the best scale of each, fitted on other pairs.
JUDGES = (
    [
        _hypothesis(
            f"e-{conditioning}-cycle{cycle:g}",
            f"the margin of {conditioning} DPO is nearer to the true preference than DPO's, cycle {cycle:g}",
            {"conditioning": conditioning},
            PLAIN,
            base=_cell(cycle=cycle),
            measure=less("log_loss_rescaled"),
            unit="nats a pair",
            seeds=SEEDS if cycle == CYCLE else SIX if cycle == 0 else THREE,
        )
        for conditioning in ("symmetric", "anchored")
        for cycle in CYCLES
    ]
    + [
        _hypothesis(
            f"e-{name}",
            f"the margin of {'DPO' if conditioning == 'none' else 'symmetric DPO'} is nearer to the true preference "
            f"than a {'reward' if model == 'reward' else 'pairwise preference'} model, {how}",
            {"conditioning": conditioning},
            _judge(model),
            base=_cell(cycle=cycle),
            measure=less("log_loss_rescaled"),
            unit="nats a pair",
            seeds=SIX,
        )
        for name, conditioning, model, cycle, how in (
            ("dpo-reward-separable", "none", "reward", 0.0, "preferences of Bradley-Terry"),
            ("dpo-reward", "none", "reward", CYCLE, "with a cycle"),
            ("symmetric-reward", "symmetric", "reward", CYCLE, "with a cycle"),
            ("symmetric-pairwise", "symmetric", "pairwise", CYCLE, "with a cycle"),
            ("symmetric-pairwise-separable", "symmetric", "pairwise", 0.0, "preferences of Bradley-Terry"),
        )
    ]
    + [
        _hypothesis(
            f"e-{conditioning}-few",
            f"the margin of {conditioning} DPO is nearer to the true preference than DPO's after {FEW} pairs",
            {"conditioning": conditioning},
            PLAIN,
            base=_cell(pairs=FEW),
            measure=less("log_loss_rescaled"),
            unit="nats a pair",
            seeds=SIX,
        )
        for conditioning in ("symmetric", "anchored")
    ]
)
CHOICES = [
    _hypothesis(
        f"f-{name}",
        f"the best of 8 answers of the reference by the margin of symmetric DPO {how} than by {whose}",
        INS,
        control,
        measure=last(number),
        seeds=SEEDS if control is PLAIN else SIX,
    )
    for number, kind, how in (
        ("best_of_8", "best", "wins more often"),
        ("counter_of_8", "counter", "against a draft that is known beats it more often"),
    )
    for name, control, whose in (
        (kind, PLAIN, "DPO's"),
        (f"{kind}-reward", _judge("reward"), "a reward model"),
        (f"{kind}-pairwise", _judge("pairwise"), "a pairwise preference model"),
    )
]
REVISERS = [
    _hypothesis(
        f"g-{conditioning}",
        f"what {conditioning} DPO writes in view of a draft beats it more often than what it writes without",
        {"conditioning": conditioning},
        measure=lambda path: path[-1]["gained"],
    )
    for conditioning in ("symmetric", "anchored")
] + [
    _hypothesis(f"g-{name}", question, INS, PLAIN, measure=last(number, other))
    for name, question, number, other in (
        (
            "independent",
            "revisions by INS-DPO beat an independent opponent more often than DPO's own answers do",
            "revised_other",
            "value",
        ),
        ("draft", "revisions by INS-DPO beat their draft more often than DPO's own answers do", "revised", "value"),
    )
]
NOVEL = [
    _hypothesis(
        "i-judge",
        "against responses of a kind never seen, the margin of symmetric DPO is nearer to the truth than DPO's",
        INS,
        PLAIN,
        measure=less("able_log_loss"),
        unit="nats a pair",
    ),
    _hypothesis(
        "i-reviser",
        "INS-DPO's revisions of drafts of a kind never seen beat them more often than what it writes without",
        INS,
        measure=lambda path: path[-1]["gained_able"],
    ),
]


def _nearer(*paths: Sequence[Point]) -> float | None:
    """How much farther apart two plain frontiers are, at the KL of each INS policy, than the INS policies are.

    Each INS policy's value is what it has beyond the first frontier, so that their KL may differ.
    """
    ins, other, *frontiers = paths
    plain, others = frontiers[: len(frontiers) // 2], frontiers[len(frontiers) // 2 :]
    beyond = beyond_frontier("value", 0.5)
    apart = [beyond(path, *plain) for path in (ins, other)]
    shift = at_kl(sorted((path[-1] for path in others), key=lambda point: point["kl"]), ins[-1]["kl"], "value", 0.5)
    here = at_kl(sorted((path[-1] for path in plain), key=lambda point: point["kl"]), ins[-1]["kl"], "value", 0.5)
    if None in apart or shift is None or here is None:
        return None
    one, two = (float(value or 0) for value in apart)
    return abs(shift - here) - abs(two - one)


INVARIANCE = [
    _hypothesis(
        f"j-{name}",
        f"{what} changes the deployed value at equal KL less for INS-DPO than for DPO",
        INS,
        {**INS, **change},
        *_frontier(),
        *({**side, **change, **same} for side, same in zip(_frontier(), strengths, strict=True)),
        measure=_nearer,
        seeds=THREE,
    )
    for name, what, change, strengths in (
        (
            "psi",
            "IPO's psi in place of DPO's",
            {"method": "ipo", "hyperparameters": STRENGTHS["ipo"][0]},
            [{"hyperparameters": strength} for strength in STRENGTHS["ipo"]],
        ),
        ("reference", "a reference of kind C in place of B", {"reference": "C"}, [{}] * len(STRENGTHS["dpo"])),
    )
]
DYNAMICS = [
    _hypothesis(f"k-{name}", question, INS, PLAIN, measure=measure, unit=unit)
    for name, question, measure, unit in (
        ("accuracy", "the margin of INS-DPO has a higher accuracy at the end than DPO's", last("agrees"), "accuracy"),
        ("margin", "INS-DPO ends with a larger margin for the likelier response than DPO", last("margin"), "nats"),
    )
]
ASKED = {
    h.name: h
    for h in [
        *DEPLOYED, *STRATEGIES, *WINDOWS, *REFERENCES, *JUDGES, *CHOICES, *REVISERS, *NOVEL, *INVARIANCE, *DYNAMICS,
    ]
}  # fmt: skip
# Three references say little of a fourth, and more seeds of theirs not more. Written down once the above had answers,
# before any of these runs.
AGAIN = [
    replace(ASKED[name], name=f"l-{name}", question=f"{ASKED[name].question}; references and data anew", seeds=NEW)
    for name in (
        "a-dpo",
        "a-dpo-even-length",
        "b-anchored",
        "b-one_sided",
        "e-symmetric-cycle3",
        "e-symmetric-pairwise",
        "f-counter",
        "g-draft",
        "g-independent",
        "i-reviser",
    )
]
HYPOTHESES = ASKED | {h.name: h for h in AGAIN}

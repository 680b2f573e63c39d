"""The answers, as they came out: each question with its effect, interval and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.analysis import Effect, Point, effect, holm, paired
from experiments.cells import Cell
from experiments.hypotheses import HYPOTHESES, Hypothesis
from experiments.ledger import Result

LEVEL = 0.05


@dataclass(frozen=True)
class Answer:
    """What the results say to one question.

    Attributes:
        hypothesis: the question.
        effect: the paired difference; None where fewer than two seeds have both sides.
        left_out: seeds that have both sides and could not be compared, such as for want of KL.
        corrected: the p-value, corrected for all questions that have one.
    """

    hypothesis: Hypothesis
    effect: Effect | None
    left_out: Sequence[tuple[int, int]]
    corrected: float | None = None

    def verdict(self) -> str:
        """Yes, no, or not decided."""
        if self.effect is None or self.corrected is None:
            return "too few seeds"
        if self.corrected >= LEVEL:
            return "not decided"
        return "yes" if self.effect.mean > 0 else "no: the other way round"


def answers(results: Sequence[Result]) -> list[Answer]:
    """To every hypothesis, from the results that count."""
    points = {result.cell.key(): result.points for result in results}
    found = []
    for hypothesis in HYPOTHESES.values():
        treated, control = (
            _points(hypothesis.cells(side), points) for side in (hypothesis.treatment, hypothesis.control)
        )
        differences, left_out = paired(treated, control, hypothesis.measure)
        found.append(Answer(hypothesis, effect(differences) if len(differences) > 1 else None, left_out))
    corrected = holm({a.hypothesis.name: a.effect.p for a in found if a.effect is not None})
    return [Answer(a.hypothesis, a.effect, a.left_out, corrected.get(a.hypothesis.name)) for a in found]


def _points(
    cells: Mapping[tuple[int, int], Cell], points: Mapping[str, Sequence[Point]]
) -> dict[tuple[int, int], Sequence[Point]]:
    return {seed: points[cell.key()] for seed, cell in cells.items() if cell.key() in points}


def markdown(found: Sequence[Answer], results: Sequence[Result], refused: Sequence[str]) -> str:
    """The page."""
    hours = sum(result.seconds for result in results) / 3600
    lines = [
        "# What the language world says",
        "",
        "Written by `python -m experiments analyze`; do not edit. The questions stand in `experiments/hypotheses.py`,",
        "from before the runs. Differences are paired by reference, data and random numbers; ± is the standard error",
        "over seeds, the interval Student's at 95 %, p two-sided and corrected for all questions here (Holm).",
        "",
        f"{len(results)} trainings, {hours:.1f} hours of one core.",
        "",
        "| | question | difference | 95 % | seeds | by reference seed | p | answer |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(answer) for answer in found]
    left_out = [f"- {a.hypothesis.name}: {_seeds(a.left_out)}" for a in found if a.left_out]
    if left_out:
        lines += [
            "",
            "Seeds that have results and could not be compared, since a policy never had that KL:",
            "",
            *left_out,
        ]
    if refused:
        lines += ["", "Result files that do not count:", "", *(f"- {line}" for line in refused)]
    return "\n".join(lines) + "\n"


def _row(answer: Answer) -> str:
    hypothesis, found = answer.hypothesis, answer.effect
    cells = [hypothesis.name, hypothesis.question]
    if found is None or answer.corrected is None:
        cells += ["", "", str(len(answer.left_out)), "", "", answer.verdict()]
    else:
        groups = ", ".join(f"{value:+.3f}" for value in found.groups.values())
        cells += [
            f"{found.mean:+.4f} ± {found.se:.4f} {hypothesis.unit}",
            f"{found.low:+.4f} to {found.high:+.4f}",
            str(found.seeds),
            groups,
            f"{answer.corrected:.2g}",
            answer.verdict(),
        ]
    return "| " + " | ".join(cells) + " |"


def _seeds(seeds: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"reference {pretraining} data {seed}" for pretraining, seed in seeds)

"""The answers, as they came out: each question with its effect, interval and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from experiments.analysis import Effect, effect, holm, paired
from experiments.hypotheses import Hypothesis
from experiments.ledger import Result
from experiments.worlds import World

LEVEL = 0.05


@dataclass(frozen=True)
class Answer:
    """What the results say to one question.

    Attributes:
        hypothesis: the question.
        seeds: that have both sides and could be compared.
        effect: the paired difference; None where fewer than two seeds have both sides.
        left_out: seeds that have both sides and could not be compared, such as for want of KL.
        mixed: seeds that have both sides, measured from two makings of one reference.
        corrected: the p-value, corrected for all questions that have one.
    """

    hypothesis: Hypothesis
    seeds: int
    effect: Effect | None
    left_out: Sequence[tuple[int, int]]
    mixed: Sequence[tuple[int, int]] = ()
    corrected: float | None = None

    def decided(self) -> bool:
        """Whether the difference is one, for these references at least."""
        return self.corrected is not None and self.corrected < LEVEL

    def verdict(self) -> str:
        """Yes, no, or not decided; and whether that is so from these references, but may not be from another."""
        if self.effect is None:
            return "too few seeds"
        if not self.decided():
            return "not decided"
        said = "yes" if self.effect.mean > 0 else "no: the other way round"
        return said if self.effect.holds_elsewhere() else f"{said}, from these references"


def answers(hypotheses: Mapping[str, Hypothesis], results: Sequence[Result]) -> list[Answer]:
    """To every hypothesis, from the results that count."""
    known = {result.cell.key(): result for result in results}
    found = []
    for hypothesis in hypotheses.values():
        keys = {seed: [cell.key() for cell in cells] for seed, cells in hypothesis.cells().items()}
        sides = {seed: [known[key] for key in each] for seed, each in keys.items() if known.keys() >= set(each)}
        paths = {seed: [side.points for side in each] for seed, each in sides.items() if _alike(each)}
        differences, left_out = paired(paths, hypothesis.measure)
        seen = effect(differences) if len(differences) > 1 else None
        found.append(Answer(hypothesis, len(differences), seen, left_out, sorted(sides.keys() - paths)))
    corrected = holm({a.hypothesis.name: a.effect.p for a in found if a.effect is not None})
    return [replace(answer, corrected=corrected.get(answer.hypothesis.name)) for answer in found]


def _alike(sides: Sequence[Result]) -> bool:
    """Whether sides with one kind of reference were measured from one making of it."""
    return len({(side.cell.kind(), side.origin()) for side in sides}) == len({side.cell.kind() for side in sides})


def markdown(
    world: World, found: Sequence[Answer], results: Sequence[Result], refused: Sequence[str], picture: str = ""
) -> str:
    """The page, with a picture beside it by its name."""
    hours = sum(result.seconds for result in results) / 3600
    lines = [
        f"# What the world `{world.name}` says",
        "",
        f"{world.about[0].upper()}{world.about[1:]}. Written by `python -m experiments analyze --world {world.name}`;",
        f"do not edit. The questions stand in `experiments/{world.name}/hypotheses.py`,",
        "from before the runs; `LOG.md` says what was changed later. Differences are paired by reference, data and",
        "random numbers; ± is the standard error over seeds, the intervals Student's at 95 %, p two-sided and",
        "corrected for all questions here that have two seeds (Holm). Seeds of one reference are more alike than",
        "those of two, so that ±, p and the first interval are about these references; the second, over their means",
        "and not corrected, is about another one. An answer without *from these references* has both p below .05 and",
        "no 0 in the second interval.",
        "",
        f"{len(results)} trainings, {hours:.1f} hours of one core.",
        "",
        *([f"![{world.about}]({picture}.png)", ""] if picture else []),
        "| | question | difference | 95 % | another reference | seeds | by reference seed | p | answer |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(answer) for answer in found]
    left_out = [f"- {a.hypothesis.name}: {_seeds(a.left_out)}" for a in found if a.left_out]
    mixed = [f"- {a.hypothesis.name}: {_seeds(a.mixed)}" for a in found if a.mixed]
    for title, named in (
        ("Seeds that have results and could not be compared, since a policy never had that KL:", left_out),
        ("Seeds whose sides come from two makings of one reference, on two machines, and do not count:", mixed),
        ("Result files that do not count:", [f"- {line}" for line in refused]),
    ):
        lines += ["", title, "", *named] if named else []
    return "\n".join(lines) + "\n"


def _row(answer: Answer) -> str:
    hypothesis, found = answer.hypothesis, answer.effect
    cells = [hypothesis.name, hypothesis.question]
    if found is None or answer.corrected is None:
        cells += ["", "", "", _of(answer.seeds, len(hypothesis.seeds)), "", "", answer.verdict()]
    else:
        cells += [
            f"{found.mean:+.3f} ± {found.se:.3f} {hypothesis.unit}",
            _interval((found.low, found.high)),
            _interval(found.elsewhere) if found.elsewhere else "",
            _of(answer.seeds, len(hypothesis.seeds)),
            ", ".join(f"{value:+.3f}" for value in found.groups.values()),
            f"{answer.corrected:.2g}",
            answer.verdict(),
        ]
    return "| " + " | ".join(cells) + " |"


def _interval(ends: tuple[float, float]) -> str:
    return f"{ends[0]:+.3f} to {ends[1]:+.3f}"


def _of(seeds: int, planned: int) -> str:
    return str(seeds) if seeds == planned else f"{seeds} of {planned}"


def _seeds(seeds: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"reference {pretraining} data {seed}" for pretraining, seed in seeds)

"""Put two models side by side on the same questions: wins, losses, lengths, where they differ most, significance."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspo.command_line import UserError
from scaled.evaluation.benchmarks.base import Question, by_name, mode_of
from scaled.evaluation.commands import add_benchmark, add_judgments
from scaled.evaluation.measures import Setting, answer_lengths, on_questions
from scaled.evaluation.scoring.numbers import influences
from scaled.evaluation.scoring.paired import Comparison, compare
from scaled.evaluation.sources import Source, of_folder

SHOWN = 5


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    add_benchmark(parser)
    add = parser.add_argument
    add(
        "--answers",
        required=True,
        nargs=2,
        type=Path,
        metavar=("FOLDER", "OTHER"),
        help="two evaluations, results/eval/MODEL/RUN each, judged by one judge",
    )
    add_judgments(parser)


def run(options: argparse.Namespace) -> str:
    """Compare.

    Returns:
        What to show.

    Raises:
        UserError: an option, the user's files, or judgments that are missing or of two judges.
    """
    benchmark = by_name(options.benchmark)
    mode = mode_of(benchmark, options.mode)
    questions = benchmark.questions(options.copy)
    sources = [
        of_folder(
            benchmark,
            options.copy,
            questions,
            path,
            judge=options.judge,
            endpoint=options.endpoint,
            mode=mode,
            partial=False,
        )
        for path in options.answers
    ]
    if sources[0].judge != sources[1].judge:
        raise UserError(f"judged by {sources[0].judge} and by {sources[1].judge}; name one with --judge")
    if sources[0].endpoints != sources[1].endpoints:
        places = " and at ".join(", ".join(source.endpoints) for source in sources)
        raise UserError(f"judged by {sources[0].judge} at {places}; have both judged at one endpoint")
    setting = Setting(options.copy, questions, mode)
    unit = "points of 10" if options.benchmark == "mt_bench" or mode == "scores" else "points of 100"
    models = [on_questions(options.benchmark, source, setting) for source in sources]
    names = sorted(set(models[0]) & set(models[1]))
    if len(names) < 2:
        raise UserError("fewer than two questions have a usable verdict for both models; nothing to compare")
    first, second = (_Scores.of({name: model[name] for name in names}) for model in models)
    found = compare(first.means, second.means, first.contributions - second.contributions)
    return "\n".join(
        [
            f"{options.benchmark}, judge {sources[0].judge}: {len(names)} of {len(questions)} questions have both",
            f"A: {sources[0].answers[0].model} ({options.answers[0]})",
            f"B: {sources[1].answers[0].model} ({options.answers[1]})",
            "",
            f"score, {unit}: A {first.contributions.mean():.2f}, B {second.contributions.mean():.2f}",
            *_verdict(found),
            *_lengths(sources),
            "",
            *_where(names, first.means - second.means, questions),
        ]
    )


@dataclass(frozen=True)
class _Scores:
    """One model's on (questions,), names sorted: means of each question, and contributions to the benchmark's score."""

    means: NDArray[np.float64]
    contributions: NDArray[np.float64]

    @classmethod
    def of(cls, verdicts: Mapping[str, Sequence[tuple[float, float]]]) -> _Scores:
        flat = [(name, *verdict) for name, mine in sorted(verdicts.items()) for verdict in mine]
        names, values, weights = zip(*flat, strict=True)
        means = [
            sum(value * weight for value, weight in mine) / sum(weight for _, weight in mine)
            for _, mine in sorted(verdicts.items())
        ]
        return cls(np.array(means), influences(values, names, weights))


def _verdict(found: Comparison) -> list[str]:
    ahead = f"questions: A ahead on {found.wins}, B on {found.losses}, level on {found.ties}"
    sign = f"sign test of the questions p = {found.sign_p:.3g}"
    if found.t_p is None:
        spread = "the same on every question: without spread there is no standard error and no t-test"
        return [ahead, f"A - B: {found.difference:+.2f}, {spread}", sign]
    passes = "passes" if abs(found.difference) > found.reach else "does not pass"
    error = f"standard error {found.se:.2f} by question; two standard errors reach {found.reach:.2f}"
    return [
        ahead,
        f"A - B: {found.difference:+.2f}, {error}, which the difference {passes}",
        f"paired t-test p = {found.t_p:.3g}; {sign}",
    ]


def _lengths(sources: Sequence[Source]) -> list[str]:
    first, second = (np.array(answer_lengths(source.answers), dtype=np.float64) for source in sources)
    compared = f"A is longer on {(first > second).sum()} questions, shorter on {(first < second).sum()}"
    return [
        f"length in characters, mean: A {first.mean():.0f}, B {second.mean():.0f}; {compared}",
        *(
            f"empty answers: {name} {int((lengths == 0).sum())}"
            for name, lengths in (("A", first), ("B", second))
            if (lengths == 0).any()
        ),
    ]


def _where(names: Sequence[str], differences: NDArray[np.float64], questions: Sequence[Question]) -> list[str]:
    """By category, then the questions with the largest differences, ties in the order of the names."""
    by_name = {question.name: question for question in questions}
    groups: dict[str, list[float]] = {}
    for name, difference in zip(names, differences.tolist(), strict=True):
        groups.setdefault(by_name[name].category, []).append(difference)
    lines = []
    if len(groups) > 1:
        lines.append("A - B by category:")
        lines += [f"  {np.mean(mine):+8.2f}  {name or '-'} ({len(mine)})" for name, mine in sorted(groups.items())]
        lines.append("")
    order = np.argsort(-np.abs(differences), kind="stable")[:SHOWN]
    lines.append("where they differ most, A - B:")
    for place in order:
        text = " ".join(by_name[names[place]].turns[0].split())
        lines.append(f"  {differences[place]:+8.2f}  {names[place]}: {text[:80]}")
    return lines

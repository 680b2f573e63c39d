"""Write one HTML file to read: questions, answers side by side, verdicts and lengths, with search and filters."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from inspo.command_line import UserError, one_line
from scaled.evaluation import folder
from scaled.evaluation.benchmarks import files
from scaled.evaluation.benchmarks.base import Answer, Benchmark, Question, by_name
from scaled.evaluation.commands import add_benchmark
from scaled.evaluation.judging import store
from scaled.evaluation.page import Entry, Verdict, render
from scaled.evaluation.sources import answered, answers_in, at_endpoints


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    add_benchmark(parser)
    add = parser.add_argument
    add(
        "--answers",
        required=True,
        type=Path,
        nargs="+",
        metavar="FOLDER",
        help="results/eval/MODEL/RUN, which generate wrote, one or several; the filters speak of the first",
    )
    add("--judge", metavar="NAME", help="show this judge's verdicts alone [all judges']")
    add("--page", type=Path, metavar="FILE", help="where to write it [BENCHMARK.html in the first folder]")


def run(options: argparse.Namespace) -> str:
    """Write the page.

    Returns:
        What to show.

    Raises:
        UserError: the user's files, or a page that cannot be written.
    """
    benchmark = by_name(options.benchmark)
    questions = benchmark.questions(options.copy)
    shown: dict[str, list[Answer]] = {}
    verdicts: list[tuple[str, Verdict]] = []  # question and what was said of it
    notes: list[str] = []
    for place in options.answers:
        answers = answers_in(place, benchmark, questions)
        name = answers[0].model if answers[0].model not in shown else f"{answers[0].model} ({place})"
        shown[name] = _with_details(place, options.benchmark, answers)
        for path in _stores(place, options.benchmark, options.judge):
            found, said = _verdicts(path, benchmark, options.copy, questions, answers, name)
            verdicts += found
            notes += [*said, *_scores(place, path, name)]
    try:
        baseline = _baseline(benchmark, options.copy, questions)
    except UserError as error:
        notes.append(f"Without the baseline's answers: {error}")
    else:
        shown |= {answer.model: baseline for answer in baseline[:1] if answer.model not in shown}
    page = options.page or options.answers[0] / f"{options.benchmark}.html"
    folder.write(
        page,
        render(f"{options.benchmark}: {', '.join(shown)}", list(shown), _entries(questions, shown, verdicts), notes),
    )
    judged = len({question for question, _ in verdicts})
    return f"{len(questions)} questions, {judged} of them judged\npage: {page}"


def _stores(place: Path, benchmark: str, judge: str | None) -> list[Path]:
    """A folder's judgments, all judges' or one's."""
    if judge is not None:
        path = folder.judgments(place, benchmark, judge)
        if not path.is_file():
            raise UserError(f"--judge {judge}: {path} is not there; judge first, or leave the option out")
        return [path]
    return folder.stores(place, benchmark)


def _with_details(place: Path, benchmark: str, answers: Sequence[Answer]) -> list[Answer]:
    """The answers with their tokens and drafts, where generate left them and the answers are still those."""
    path = folder.details(place, benchmark)
    if not path.is_file():
        return list(answers)
    try:
        known = {
            (line["question"], *line["turns"]): (
                tuple(line["tokens"]),
                [part["draft"] for part in line["parts"] if "draft" in part],
            )
            for line in files.json_lines(path)
        }
    except (LookupError, TypeError):
        raise UserError(f"{path}: is not as generate writes it; remove it to do without drafts") from None
    found = []
    for answer in answers:
        tokens, drafts = known.get((answer.question, *answer.turns), (answer.tokens, []))
        found.append(replace(answer, tokens=tokens, extra={**answer.extra, "drafts": drafts}))
    return found


def _verdicts(
    path: Path, benchmark: Benchmark, copy: Path, questions: Sequence[Question], answers: Sequence[Answer], name: str
) -> tuple[list[tuple[str, Verdict]], list[str]]:
    """What a judge said of these answers, by question; and in sentences who it was, and when."""
    lines, notes = _current(path, benchmark, copy, questions, answers)
    found, days, judges = [], set(), Counter[tuple[str, str]]()
    several = len({line["endpoint"] for line in lines}) > 1
    for line in lines:
        text, points = benchmark.outcome(line["part"], line["answer"]["text"], line["answer"]["logprobs"])
        judge = f"{line['judge']} at {line['endpoint']}" if several else line["judge"]
        found.append((line["question"], Verdict(name, judge, line["part"], text, points, line["answer"]["text"])))
        days.add(line["date"][:10])
        judges[line["judge"], line["endpoint"]] += 1
    who = "; ".join(f"{judge} at {endpoint}: {count} answers" for (judge, endpoint), count in judges.items())
    when = " to ".join(dict.fromkeys((min(days), max(days)))) if days else "never"
    return found, [f"Judge of {name}: {who or 'none'}, {when}", *notes]


def _current(
    path: Path, benchmark: Benchmark, copy: Path, questions: Sequence[Question], answers: Sequence[Answer]
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """The lines of a store that are about these answers, in any mode, and what of it a reader must know."""
    lines: list[Mapping[str, Any]] = [line for line in store.read(path) if line["model"] == answers[0].model]
    try:
        asked = [each for mode in benchmark.MODES for each in benchmark.requests(copy, questions, answers, mode)]
    except UserError as error:
        return lines, [f"Whether verdicts are about these answers or earlier ones is not known: {error}"]
    found = [
        line
        for judge in dict.fromkeys(line["judge"] for line in lines)
        for mine in at_endpoints(lines).values()
        for line in answered(benchmark, asked, mine, judge)[0]
    ]
    earlier = len(lines) - len(found)
    return found, [f"{earlier} verdicts about earlier answers or prompts are left out"] if earlier else []


def _scores(place: Path, store_path: Path, shown_as: str) -> list[str]:
    """What ``score`` made of a judge's verdicts on a model, if it was run."""
    path = place / "scores" / f"{store_path.stem}.json"
    if not path.is_file():
        return [f"{shown_as} is not scored by this judge yet: run score"]
    try:
        scored = json.loads(path.read_text(encoding="utf-8"))
        return [
            f"{number['metric']} of {shown_as}: {number['value']:.1f}"
            + ("" if number["se"] is None else f" ± {number['se']:.1f}")
            + (f" ({number['note']})" if number["note"] else "")
            for number in scored["numbers"]
            if number["model"] == scored["model"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is not as score writes it ({one_line(error)}); run score again") from None


def _baseline(benchmark: Benchmark, copy: Path, questions: Sequence[Question]) -> list[Answer]:
    """The answers that a benchmark compares with; none where it compares with none."""
    read = getattr(benchmark, "baseline_answers", None)
    return [] if read is None else list(read(copy, questions))


def _entries(
    questions: Sequence[Question], shown: dict[str, list[Answer]], verdicts: Sequence[tuple[str, Verdict]]
) -> list[Entry]:
    """One question with everything about it, answers under the names that the page has for their models."""
    said: dict[str, list[Verdict]] = {}
    for question, verdict in verdicts:
        said.setdefault(question, []).append(verdict)
    answers = {name: {answer.question: answer for answer in given} for name, given in shown.items()}
    return [
        Entry(
            question,
            [by_question.get(question.name) for by_question in answers.values()],
            said.get(question.name, []),
        )
        for question in questions
    ]

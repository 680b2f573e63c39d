"""From judgments to numbers, benchmark by benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from inspo.command_line import UserError
from scaled.evaluation.benchmarks import alpaca_eval, arena_hard, files, markdown, mt_bench, pairwise
from scaled.evaluation.benchmarks.base import Answer, Question
from scaled.evaluation.scoring import alpaca_eval as alpaca_scores
from scaled.evaluation.scoring import arena_hard as arena_scores
from scaled.evaluation.scoring import mt_bench as mt_scores
from scaled.evaluation.scoring import pairwise as pairwise_scores
from scaled.evaluation.scoring.numbers import Number
from scaled.evaluation.sources import Source


@dataclass(frozen=True)
class Setting:
    """What scoring is told beside the judgments.

    Attributes:
        copy: the user's copy of the benchmark.
        questions: of it.
        mode: how the judge was asked.
        partial: score what is there where questions are missing.
        styles: answer files of models whose judgments are files.
        refit: other models' judgments, for AlpacaEval's difficulty where the copy has none.
        seed: of intervals.
    """

    copy: Path
    questions: Sequence[Question]
    mode: str
    partial: bool = False
    styles: tuple[Path, ...] = ()
    refit: Path | None = None
    seed: int = 0

    @property
    def categories(self) -> dict[str, str]:
        """By question."""
        return {question.name: question.category for question in self.questions}


class Row(Protocol):
    """What verdicts of all benchmarks have."""

    @property
    def question(self) -> str:
        """Its name."""

    @property
    def model(self) -> str:
        """Whose answer."""


def numbers(benchmark: str, sources: Sequence[Source], setting: Setting) -> list[Number]:
    """All numbers of all models.

    Raises:
        UserError: judgments of two judges, missing, of other questions or there twice, or without what a number needs.
    """
    judges = {source.judge for source in sources}
    if len(judges) > 1:
        raise UserError(f"judgments of {' and of '.join(sorted(judges))} are not scored together; name one judge's")
    measure, whole = {
        "alpaca_eval": (_alpaca_eval, alpaca_eval.QUESTIONS),
        "arena_hard": (_arena_hard, arena_hard.QUESTIONS),
        "mt_bench": (_mt_bench, mt_bench.QUESTIONS),
        "pairwise": (_pairwise, len(setting.questions)),
    }[benchmark]
    found = measure(sources, setting)
    if len(setting.questions) == whole:
        return found
    note = f"your copy has {len(setting.questions)} questions, the benchmark {whole}"
    return [replace(number, note="; ".join(filter(None, [number.note, note]))) for number in found]


def _checked(rows: Iterable[Row], place: str, setting: Setting) -> None:
    """Refuse questions that are not the copy's, and missing ones unless what is there is to be scored."""
    by_model: dict[str, set[str]] = {}
    for row in rows:
        by_model.setdefault(row.model, set()).add(row.question)
    names = [question.name for question in setting.questions]
    for model, found in by_model.items():
        unknown = sorted(found - set(names))
        if unknown:
            raise UserError(f"{place}: {model} was judged on {unknown[0]}, which is no question of {setting.copy}")
        lacking = [name for name in names if name not in found]
        if lacking and not setting.partial:
            raise UserError(
                f"{place}: {model} was not judged on {len(lacking)} of {len(names)} questions, first {lacking[0]};"
                " judge them, or score what is there with --partial"
            )


def _arena_hard(sources: Sequence[Source], setting: Setting) -> list[Number]:
    rows: list[arena_hard.Row] = []
    for source in sources:
        found = (
            arena_hard.rows_of_store(source.lines)
            if source.stored
            else arena_hard.rows_of_upstream(source.lines, source.place)
        )
        _checked(found, source.place, setting)
        rows += found
    against_itself = {row.model for row in rows} & {arena_hard.BASELINE}
    rows = [row for row in rows if row.model not in against_itself]
    files.distinct((f"a judgment of {row.model} on question {row.question}" for row in rows), "the judgments")
    found_numbers = arena_scores.plain(rows, setting.seed)
    if not found_numbers:
        raise UserError("no game has a usable label; look at the judge's answers")
    styles, unit = _styles(sources, setting)
    baseline = styles.pop(arena_hard.BASELINE, None)
    if baseline is None or not styles:
        return found_numbers
    unknown = sorted({row.model for row in rows} - set(styles))
    controlled = arena_scores.controlled(rows, styles, baseline, setting.seed)
    notes = [f"style of {', '.join(unknown)} is not known"] if unknown else []
    if unit != markdown.CL100K:
        notes.append(f"lengths in {unit}, not in tokens of {markdown.CL100K}")
    return found_numbers + [
        replace(number, note="; ".join(filter(None, [number.note, *notes]))) for number in controlled
    ]


def _styles(sources: Sequence[Source], setting: Setting) -> tuple[dict[str, Any], str]:
    """Style of every model whose answers are known, the baseline's with them, in one unit of length."""
    paths = [*setting.styles]
    name = f"{arena_hard.BASELINE}.jsonl"
    own = files.optional(setting.copy, f"model_answer/{name}", f"answers/{name}", name)
    rows = [(path, row) for path in ([own, *paths] if own else paths) for row in files.json_lines(path)]
    found: dict[str, dict[str, dict[str, Any]]] = {}
    texts: dict[str, dict[str, str]] = {}
    for path, row in rows:
        model, question = (str(files.field(row, key, str, str(path))) for key in ("model_id", "question_id"))
        try:
            if "conv_metadata" in row:
                markdown.style(row["conv_metadata"])
                found.setdefault(model, {})[question] = row["conv_metadata"]
            if "choices" in row:
                texts.setdefault(model, {})[question] = str(row["choices"][0]["turns"][0]["content"])
        except (LookupError, TypeError, ValueError):
            raise UserError(f"{path}: question {question}: is no answer as upstream writes them") from None
    for answer in (answer for source in sources for answer in source.answers):
        texts.setdefault(answer.model, {})[answer.question] = answer.turns[0]
        counts = answer.extra.get("conv_metadata")
        if counts is not None:
            found.setdefault(answer.model, {})[answer.question] = counts
    units = {
        counts.get("token_unit", markdown.CL100K) for by_question in found.values() for counts in by_question.values()
    }
    unit = markdown.CL100K
    if units - {markdown.CL100K} or any(len(found.get(model, {})) < len(by_q) for model, by_q in texts.items()):
        unit = markdown.tokenizer() if units <= {markdown.CL100K} else markdown.BYTES
        lacking = sorted(set(found) - set(texts))
        if lacking and unit != markdown.CL100K:
            raise UserError(
                f"the length of {lacking[0]}'s answers is known in tokens of {markdown.CL100K} alone: put that"
                " tokenizer's file where TIKTOKEN_CACHE_DIR says and write the other answers again, or give answers"
                " with their texts"
            )
        for model, by_question in texts.items():
            found[model] = {question: markdown.metadata(text, unit) for question, text in by_question.items()}
    names = {question.name for question in setting.questions}
    complete = {model: by_q for model, by_q in found.items() if names <= set(by_q)}
    return {
        model: {question: markdown.style(counts) for question, counts in by_question.items()}
        for model, by_question in complete.items()
    }, unit


def _mt_bench(sources: Sequence[Source], setting: Setting) -> list[Number]:
    found: list[Number] = []
    for source in sources:
        rows = (
            mt_bench.rows_of_store(source.lines)
            if source.stored
            else mt_bench.rows_of_upstream(source.lines, source.place)
        )
        for turn in range(1, mt_bench.TURNS + 1):
            _checked([row for row in rows if row.turn == turn], source.place, setting)
        found += [
            number
            for model in dict.fromkeys(row.model for row in rows)
            for number in mt_scores.numbers([row for row in rows if row.model == model], setting.categories)
        ]
    return found


def _pairwise(sources: Sequence[Source], setting: Setting) -> list[Number]:
    found: list[Number] = []
    for source in sources:
        rows = pairwise.rows_of_store(source.lines)
        _checked(rows, source.place, setting)
        found += pairwise_scores.numbers(rows, setting.categories)
    return found


def _alpaca_eval(sources: Sequence[Source], setting: Setting) -> list[Number]:
    return [number for source in sources for number in _alpaca_eval_one(source, setting)]


def _alpaca_eval_one(source: Source, setting: Setting) -> list[Number]:
    if source.stored:
        rows = alpaca_eval.rows_of_store(source.lines)
        base = alpaca_eval.baseline_answers(setting.copy, setting.questions)
        values = alpaca_eval.preferences(rows, source.answers, base, partial=setting.partial)
        texts = [(first.turns[0], second.turns[0]) for first, second in zip(base, source.answers, strict=True)]
        names = base[0].model, source.answers[0].model
        places = list(range(len(values)))
    else:
        rows = alpaca_eval.rows_of_upstream(source.lines, source.place, setting.questions)
        _checked(rows, source.place, setting)
        files.distinct((f"the verdict on instruction {row.question}" for row in rows), source.place)
        values = np.array([row.preference for row in rows])
        texts = [_pair(line, f"{source.place}: item {item}") for item, line in enumerate(source.lines)]
        places = [int(row.question) for row in rows]
        models = {(str(line.get("generator_1", "")), row.model) for line, row in zip(source.lines, rows, strict=True)}
        if len(models) > 1:
            raise UserError(f"{source.place}: has several models or baselines; give one file for each model")
        names = models.pop()
    _same_places(setting)
    chars = tuple(np.array([len(pair[side]) for pair in texts], dtype=np.float64) for side in (0, 1))
    suffix = "_text" if setting.mode == "text" else ""
    raw = alpaca_scores.win_rate(values, names[1], alpaca_scores.WIN_RATE + suffix)
    at_equal_length = _length_controlled(values, (chars[0], chars[1]), names, places, setting, suffix)
    if at_equal_length is not None:
        return [raw, at_equal_length]
    lacking = f"no win rate at equal length: {setting.copy} has no df_gamed.csv (of the hub's tatsu-lab/alpaca_eval)"
    return [replace(raw, note=f"{lacking}; put it there, or name other models' judgments with --refit")]


def _pair(line: Mapping[str, Any], place: str) -> tuple[str, str]:
    first, second = (files.field(dict(line), name, str, place) for name in ("output_1", "output_2"))
    return first, second


def _same_places(setting: Setting) -> None:
    """Refuse a copy that lacks instructions: difficulty goes by their places."""
    gamed = files.optional(setting.copy, *_GAMED)
    if gamed is not None:
        places = alpaca_scores.read_gamed(gamed)["index"].nunique()
        if places != len(setting.questions):
            raise UserError(
                f"{gamed}: has the difficulty of {places} instructions, and your copy has {len(setting.questions)};"
                " take both files of the hub's tatsu-lab/alpaca_eval as they are"
            )


_GAMED = ("df_gamed.csv", "df_gamed_rebuilt.csv")


def _length_controlled(
    values: Any, chars: tuple[Any, Any], names: tuple[str, str], places: Sequence[int], setting: Setting, suffix: str
) -> Number | None:
    """By the copy's difficulty; refitted and named so where it has none; None where nothing is there to refit it."""
    gamed = files.optional(setting.copy, *_GAMED)
    if gamed is not None and setting.refit is not None:
        raise UserError(f"--refit: {gamed} has the difficulty already; leave the option out")
    if gamed is not None:
        metric = alpaca_scores.LENGTH_CONTROLLED + suffix
        found = alpaca_scores.length_controlled(
            values, chars, names, gamed, places=places, metric=metric, regularized=True
        )
        real = gamed.name.startswith("df_gamed.csv")
        return found if real else replace(found, note=f"difficulty and gamed rows of {gamed.name}, not the hub's file")
    if setting.refit is None:
        return None
    with alpaca_scores.refitted(setting.refit, names[1]) as (path, regularized):
        metric = alpaca_scores.REFIT + suffix
        found = alpaca_scores.length_controlled(
            values, chars, names, path, places=places, metric=metric, regularized=regularized
        )
    rows = "with" if regularized else "without"
    return replace(found, note=f"difficulty refitted from {setting.refit.name}, {rows} gamed rows")


def on_questions(benchmark: str, source: Source, setting: Setting) -> dict[str, list[tuple[float, float]]]:
    """(value, weight) of every usable verdict on each question, of an evaluation of our own, one model's.

    Values are percent, or points of 10 where answers are rated; their weighted mean is the model's score.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for question, value, weight in _VERDICTS[benchmark](source, setting):
        if not isnan(value):
            found.setdefault(question, []).append((value, weight))
    return found


_Verdicts = Iterator[tuple[str, float, float]]


def _of_arena_hard(source: Source, _setting: Setting) -> _Verdicts:
    for row in arena_hard.rows_of_store(source.lines):
        yield from ((row.question, 100 * points, float(weight)) for points, weight in row.battles())


def _of_mt_bench(source: Source, _setting: Setting) -> _Verdicts:
    for row in mt_bench.rows_of_store(source.lines):
        yield row.question, nan if row.score == -1 else row.score, 1.0


def _of_pairwise(source: Source, _setting: Setting) -> _Verdicts:
    for row in pairwise.rows_of_store(source.lines):
        scale = 1.0 if row.part == pairwise.SCORE else 100.0
        yield row.question, nan if row.value is None else scale * row.value, 1.0


def _of_alpaca_eval(source: Source, setting: Setting) -> _Verdicts:
    base = alpaca_eval.baseline_answers(setting.copy, setting.questions)
    values = alpaca_eval.preferences(alpaca_eval.rows_of_store(source.lines), source.answers, base)
    for answer, value in zip(source.answers, values.tolist(), strict=True):
        yield answer.question, 100 * (value - 1), 1.0


_VERDICTS: dict[str, Callable[[Source, Setting], _Verdicts]] = {
    "alpaca_eval": _of_alpaca_eval,
    "arena_hard": _of_arena_hard,
    "mt_bench": _of_mt_bench,
    "pairwise": _of_pairwise,
}


def answer_lengths(answers: Sequence[Answer]) -> list[int]:
    """Characters of each answer, all turns together."""
    return [sum(len(turn) for turn in answer.turns) for answer in answers]

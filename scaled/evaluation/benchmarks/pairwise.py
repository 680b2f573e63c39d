"""Any prompts of a user's: answers compared with a baseline's in both orders, or rated from 1 to 10.

The user's folder holds

    prompts.jsonl        {"prompt": "...", "id": "...", "category": "..."}, the last two if wanted
    baseline.jsonl       the baseline's answers, for comparisons: {"prompt" or "id", "output": "...", "model": "..."}
    judge_pairs.txt      the judge's prompt, if not ours: {prompt}, {answer_a}, {answer_b}; [[A]], [[B]], [[C]] a tie
    judge_scores.txt     the same for ratings: {prompt}, {answer}; [[n]]

and .gz may follow each name. Answers have the form of the baseline's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspo.command_line import UserError
from scaled.evaluation.benchmarks import files
from scaled.evaluation.benchmarks.base import PAPER, Answer, JudgeRequest, Judgment, Question, Sampling
from scaled.evaluation.benchmarks.mt_bench import rating

NAME = "pairwise"
ENDING = ".jsonl"
PROTOCOLS = {"official": Sampling(temperature=0.0, top_p=1.0, max_tokens=2048), "paper": PAPER}
MODES = ("pairs", "scores")
PARTS = ("baseline first", "model first")
SCORE = "score"
WORST, BEST = 1, 10
"""Ratings outside of them are no verdict."""

PAIRS_PROMPT = """\
Two assistants answered the request below. Decide which answer serves the person who asked better: is it correct, \
does it do what was asked, is it clear, and is it no longer than it needs to be? The order of the answers means nothing.

<request>
{prompt}
</request>

<answer A>
{answer_a}
</answer A>

<answer B>
{answer_b}
</answer B>

Give your reasons in a few sentences. End with [[A]] if answer A is better, [[B]] if answer B is better, or [[C]] if \
neither is."""

SCORES_PROMPT = """\
An assistant answered the request below. Rate the answer from 1 (useless or wrong) to 10 (could not be better): is it \
correct, does it do what was asked, is it clear, and is it no longer than it needs to be?

<request>
{prompt}
</request>

<answer>
{answer}
</answer>

Give your reasons in a few sentences. End with the rating in double brackets, such as [[6]]."""

_PROMPTS = {
    "pairs": ("judge_pairs.txt", PAIRS_PROMPT, ("prompt", "answer_a", "answer_b")),
    "scores": ("judge_scores.txt", SCORES_PROMPT, ("prompt", "answer")),
}
OPTIONS = {"temperature": 0, "max_tokens": 1024}
_LABEL = re.compile(r"\[\[([ABC])\]\]")
_PLACE = re.compile(r"\{(prompt|answer|answer_a|answer_b)\}")


def questions(copy: Path) -> list[Question]:
    """The prompts of the user's folder, named by their id, or by their place from 1.

    Raises:
        UserError: the file is missing or not in that format.
    """
    path = files.find(copy, "prompts.jsonl")
    found = []
    for number, row in enumerate(files.json_lines(path), start=1):
        place = f"{path}: line {number}"
        name = str(files.field(row, "id", (str, int), place)) if "id" in row else str(number)
        category = files.field(row, "category", str, place) if "category" in row else ""
        found.append(Question(name, (files.field(row, "prompt", str, place),), category))
    files.distinct((f"prompt {question.name}" for question in found), str(path))
    if not found:
        raise UserError(f"{path}: has no prompts")
    return found


def read_answers(path: Path, questions: Sequence[Question]) -> list[Answer]:
    """A model's answers in the order of the prompts, which they are matched by: by id, else by the prompt's text.

    Raises:
        UserError: the file is not in that format, or its answers are not one a prompt.
    """
    by_text = {question.turns[0]: question.name for question in questions}
    found = []
    for number, row in enumerate(files.json_lines(path), start=1):
        place = f"{path}: line {number}"
        if "id" in row:
            name = str(files.field(row, "id", (str, int), place))
        else:
            prompt = files.field(row, "prompt", str, place)
            if prompt not in by_text:
                raise UserError(f"{place}: answers a prompt that is not among yours: {prompt[:60]!r}")
            name = by_text[prompt]
        output, model = (files.field(row, key, str, place) for key in ("output", "model"))
        found.append(Answer(name, model, (output,)))
    return files.in_order(found, questions, str(path))


def write_answers(path: Path, answers: Sequence[Answer], questions: Sequence[Question]) -> None:
    """Write answers with their prompts and ids."""
    rows = [
        {"id": question.name, "prompt": question.turns[0], "output": answer.turns[0], "model": answer.model}
        for question, answer in zip(questions, files.in_order(answers, questions, str(path)), strict=True)
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def baseline_answers(copy: Path, questions: Sequence[Question]) -> list[Answer]:
    """The baseline's answers of the user's folder.

    Raises:
        UserError: they are missing or not in that format.
    """
    return read_answers(files.find(copy, "baseline.jsonl"), questions)


def judge_prompt(copy: Path, mode: str) -> str:
    """The user's prompt for a judge, or ours.

    Raises:
        UserError: the user's lacks a place for what is judged.
    """
    name, default, places = _PROMPTS[mode]
    path = files.optional(copy, name)
    if path is None:
        return default
    text = files.text(path)
    for place in places:
        if f"{{{place}}}" not in text:
            raise UserError(f"{path}: has no {{{place}}}, where the judge is to see it")
    return text


def requests(
    copy: Path, questions: Sequence[Question], answers: Sequence[Answer], mode: str = MODES[0]
) -> list[JudgeRequest]:
    """Both orders of every comparison, or one rating an answer.

    Raises:
        UserError: what the user's folder lacks.
    """
    prompt = judge_prompt(copy, mode)
    if mode == "scores":
        return [
            _request(prompt, SCORE, question, answer, {"answer": answer.turns[0]})
            for question, answer in zip(questions, answers, strict=True)
        ]
    both = zip(questions, answers, baseline_answers(copy, questions), strict=True)
    return [each for question, answer, base in both for each in comparisons(prompt, question, answer, base.turns[0])]


def comparisons(prompt: str, question: Question, answer: Answer, base: str) -> list[JudgeRequest]:
    """An answer and another text to the same question, in both orders; `prompt` is a judge's, with places for them."""
    texts = base, answer.turns[0]
    return [
        _request(prompt, part, question, answer, {"answer_a": first, "answer_b": second})
        for part, (first, second) in zip(PARTS, (texts, texts[::-1]), strict=True)
    ]


def filled(prompt: str, values: Mapping[str, str]) -> str:
    """A judge's prompt with texts in their places, each put there as it is."""
    return _PLACE.sub(lambda found: values.get(found[1], found[0]), prompt)


def _request(prompt: str, part: str, question: Question, answer: Answer, texts: Mapping[str, str]) -> JudgeRequest:
    values = {"prompt": question.turns[0], **texts}
    content = filled(prompt, values)
    return JudgeRequest(question.name, answer.model, part, ({"role": "user", "content": content},), OPTIONS)


def follow_up(_request: JudgeRequest, _judgment: Judgment) -> JudgeRequest | None:
    """None: everything is asked for once."""
    return None


def points(part: str, text: str) -> float | None:
    """What a comparison gave the model: 1 won, 1/2 tied, 0 lost; None for no label, or two different ones."""
    found = set(_LABEL.findall(text))
    if len(found) != 1:
        return None
    second = {"A": 0.0, "B": 1.0, "C": 0.5}[found.pop()]
    return second if part == PARTS[0] else 1 - second


def _rating(text: str) -> float | None:
    """Of an answer alone; None for none, or one outside of WORST to BEST."""
    found = rating(text)
    return found if WORST <= found <= BEST else None


def outcome(part: str, text: str, _logprobs: Mapping[str, float] | None = None) -> tuple[str, float | None]:
    """What a verdict says, empty where there is none, and the model's points where it was compared.

    >>> outcome("model first", "[[A]]"), outcome("score", "[[7]]"), outcome("score", "[[11]]")
    (('won', 1.0), ('7', None), ('', None))
    """
    if part == SCORE:
        rated = _rating(text)
        return ("" if rated is None else f"{rated:g}"), None
    won = points(part, text)
    return ("" if won is None else {1.0: "won", 0.5: "tied", 0.0: "lost"}[won]), won


@dataclass(frozen=True)
class Row:
    """One verdict: points of the model in a comparison, or a rating; None where none was found."""

    question: str
    model: str
    part: str
    value: float | None


def rows_of_store(lines: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Verdicts from the lines of a store."""
    found = []
    for line in lines:
        part, text = line["part"], line["answer"]["text"]
        value = _rating(text) if part == SCORE else points(part, text)
        found.append(Row(line["question"], line["model"], part, value))
    return found

"""MT-Bench: 80 questions of two turns, each turn of an answer rated from 1 to 10 by itself.

The user's copy is a folder with question.jsonl, judge_prompts.jsonl and reference_answer/gpt-4.jsonl (or
reference_answer_gpt-4.jsonl); .gz may follow each name. Source of formats and rules: lm-sys/FastChat at 0e6d3e4,
fastchat/llm_judge.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspo.command_line import UserError
from scaled.evaluation.benchmarks import files
from scaled.evaluation.benchmarks.base import PAPER, Answer, JudgeRequest, Judgment, Question, Sampling

NAME = "mt_bench"
ENDING = ".jsonl"
_TEMPERATURES = {"writing": 0.7, "roleplay": 0.7, "stem": 0.1, "humanities": 0.1}
PROTOCOLS = {
    "official": Sampling(temperature=0.0, top_p=1.0, max_tokens=1024, by_category=_TEMPERATURES),
    "paper": PAPER,
}
MODES = ("single",)
QUESTIONS = 80
TURNS = 2
WITH_REFERENCE = ("math", "reasoning", "coding")
"""Categories that are judged beside a reference answer."""

_REFERENCES = ("reference_answer/gpt-4.jsonl", "reference_answer_gpt-4.jsonl")
_RATINGS = (re.compile(r"\[\[(\d+\.?\d*)\]\]"), re.compile(r"\[(\d+\.?\d*)\]"))
_OPTIONS = {"temperature": 0, "max_tokens": 2048}
# By (turn, with reference).
_PROMPTS = {
    (1, False): "single-v1",
    (1, True): "single-math-v1",
    (2, False): "single-v1-multi-turn",
    (2, True): "single-math-v1-multi-turn",
}


def questions(copy: Path) -> list[Question]:
    """The questions of the user's copy, with the reference answers of those that are judged beside one.

    Raises:
        UserError: files are missing, or not as FastChat writes them.
    """
    path = files.find(copy, "question.jsonl")
    rows = files.json_lines(path)
    references = _references(copy) if any(row.get("category") in WITH_REFERENCE for row in rows) else {}
    found = []
    for number, row in enumerate(rows, start=1):
        place = f"{path}: line {number}"
        name = str(files.field(row, "question_id", (int, str), place))
        turns = _texts(files.field(row, "turns", list, place), f"{place}: 'turns'")
        category = files.field(row, "category", str, place)
        if category in WITH_REFERENCE and name not in references:
            raise UserError(f"{place}: question {name} is judged beside a reference answer, and {copy} has none to it")
        reference = references[name] if category in WITH_REFERENCE else ()
        found.append(Question(name, turns, category, reference))
    files.distinct((f"question {question.name}" for question in found), str(path))
    if not found:
        raise UserError(f"{path}: has no questions")
    return found


def _references(copy: Path) -> dict[str, tuple[str, ...]]:
    path = files.find(copy, *_REFERENCES)
    return {answer.question: answer.turns for answer in _answers(path)}


def _texts(turns: Any, place: str) -> tuple[str, ...]:
    if not (isinstance(turns, list) and len(turns) == TURNS and all(isinstance(turn, str) for turn in turns)):
        raise UserError(f"{place} is not two texts")
    return tuple(turns)


def _answers(path: Path) -> list[Answer]:
    found = []
    for number, row in enumerate(files.json_lines(path), start=1):
        place = f"{path}: line {number}"
        try:
            turns = row["choices"][0]["turns"]
        except (LookupError, TypeError):
            raise UserError(f"{place}: has not choices[0].turns, as FastChat's answers have") from None
        name = str(files.field(row, "question_id", (int, str), place))
        model = files.field(row, "model_id", str, place)
        found.append(Answer(name, model, _texts(turns, f"{place}: 'turns'")))
    return found


def read_answers(path: Path, questions: Sequence[Question]) -> list[Answer]:
    """A model's answers in FastChat's format, in the order of the questions.

    Raises:
        UserError: the file is not in that format, or its answers are not one a question.
    """
    return files.in_order(_answers(path), questions, str(path))


def write_answers(path: Path, answers: Sequence[Answer], questions: Sequence[Question]) -> None:
    """Write answers as FastChat does, but for the time stamp, so that the same answers are the same bytes."""
    lines = [
        {
            "question_id": int(answer.question) if answer.question.isdigit() else answer.question,
            "answer_id": hashlib.sha256("\n".join((answer.model, answer.question, *answer.turns)).encode()).hexdigest()[
                :22
            ],
            "model_id": answer.model,
            "choices": [{"index": 0, "turns": list(answer.turns)}],
        }
        for answer in files.in_order(answers, questions, str(path))
    ]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def requests(
    copy: Path, questions: Sequence[Question], answers: Sequence[Answer], _mode: str = MODES[0]
) -> list[JudgeRequest]:
    """Both turns of every question.

    Raises:
        UserError: the user's copy lacks a judge prompt.
    """
    path = files.find(copy, "judge_prompts.jsonl")
    prompts = {row.get("name"): row for row in files.json_lines(path)}
    asked = []
    for question, answer in zip(questions, answers, strict=True):
        for turn in range(1, TURNS + 1):
            name = _PROMPTS[turn, question.category in WITH_REFERENCE]
            if name not in prompts:
                raise UserError(f"{path}: has no prompt called {name}; give FastChat's file")
            messages = _messages(prompts[name], question, answer, f"{path}: {name}")
            asked.append(JudgeRequest(question.name, answer.model, f"turn {turn}", messages, _OPTIONS))
    return asked


def _messages(prompt: dict[str, Any], question: Question, answer: Answer, place: str) -> tuple[Mapping[str, str], ...]:
    values = {"question": question.turns[0], "answer": answer.turns[0]}
    for number in range(1, TURNS + 1):
        values[f"question_{number}"] = question.turns[number - 1]
        values[f"answer_{number}"] = answer.turns[number - 1]
        if question.reference:
            values[f"ref_answer_{number}"] = question.reference[number - 1]
    system, template = (files.field(prompt, key, str, place) for key in ("system_prompt", "prompt_template"))
    try:
        text = template.format(**values)
    except (LookupError, ValueError) as error:
        raise UserError(f"{place}: its prompt_template cannot be filled ({error}); give FastChat's file") from None
    return {"role": "system", "content": system}, {"role": "user", "content": text}


def follow_up(_request: JudgeRequest, _judgment: Judgment) -> JudgeRequest | None:
    """None: each turn is asked for once."""
    return None


def rating(text: str) -> float:
    """A judge's rating: the first ``[[n]]``, else the first ``[n]``, else -1.

    >>> rating("Good. Rating: [[7.5]], see [1]")
    7.5
    """
    for pattern in _RATINGS:
        found = pattern.search(text)
        if found:
            return float(found[1])
    return -1.0


def outcome(_part: str, text: str, _logprobs: Mapping[str, float] | None = None) -> tuple[str, float | None]:
    """The rating of one turn, empty where there is none; no points, since nothing is compared.

    >>> outcome("turn 1", "Rating: [[7]]"), outcome("turn 2", "")
    (('7', None), ('', None))
    """
    found = rating(text)
    return ("" if found == -1 else f"{found:g}"), None


@dataclass(frozen=True)
class Row:
    """A judge's rating of one turn; -1 where it gave none."""

    question: str
    model: str
    turn: int
    score: float


def rows_of_store(lines: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Ratings from the lines of a store."""
    return [
        Row(line["question"], line["model"], int(line["part"].removeprefix("turn ")), rating(line["answer"]["text"]))
        for line in lines
    ]


def rows_of_upstream(lines: Sequence[Mapping[str, Any]], place: str) -> list[Row]:
    """Ratings from FastChat's own judgment file, as its show_result.py reads them.

    Raises:
        UserError: a line is not in that format.
    """
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            turn, score = int(line["turn"]), float(line["score"])
            found.append(Row(str(line["question_id"]), str(line["model"]), turn, score))
        except (LookupError, TypeError, ValueError):
            raise UserError(
                f"{place}: line {number}: has not question_id, model, turn and score, as FastChat writes them"
            ) from None
    return found

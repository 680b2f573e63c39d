"""AlpacaEval 2: 805 instructions, each output against GPT-4-Turbo's; a judge's log-probs are the preference.

The user's copy is a folder with the baseline's outputs, alpaca_eval_gpt4_baseline.json (or alpaca_eval.json), as the
hub's tatsu-lab/alpaca_eval has them; .gz may follow. The judge's prompt is read from the installed alpaca_eval
package. Source of formats and rules: alpaca_eval 0.6.6, annotator weighted_alpaca_eval_gpt4_turbo.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import exp, inf, isnan, nan
from pathlib import Path
from typing import Any

import numpy as np

from inspo.command_line import UserError
from scaled.evaluation.benchmarks import files
from scaled.evaluation.benchmarks.base import PAPER, Answer, JudgeRequest, Judgment, Question, Sampling

NAME = "alpaca_eval"
ENDING = ".json"
PROTOCOLS = {"official": Sampling(temperature=0.7, top_p=1.0, max_tokens=2048), "paper": PAPER}
MODES = ("logprobs", "text")
"""How the judge's verdict is read: as a probability between both, or from its word."""

QUESTIONS = 805
PARTS = ("baseline first", "model first")
"""Which output is called m; the other is M."""

_FILES = ("alpaca_eval_gpt4_baseline.json", "alpaca_eval.json")
_PROMPT = "evaluators_configs/alpaca_eval_clf_gpt4_turbo/alpaca_eval_clf.txt"
_TOKENS = ("m", "M")
_OPTIONS: dict[str, dict[str, Any]] = {
    "logprobs": {"max_tokens": 1, "temperature": 1, "logprobs": True, "top_logprobs": 5},
    "text": {"max_tokens": 16, "temperature": 0},
}
# SHA-256 of the 805 instructions as a JSON list: in the order in which difficulty is kept, and sorted.
_ORDERED = "c5770d532bf3f697768ed9a57a05d8b58b2617321ca65070620f059676e7c99a"
_SORTED = "20f6c3480d61c2327bb73c1d37cde5b9dc7c8e9a1fc1cefb8fa901076b435838"


def questions(copy: Path) -> list[Question]:
    """The instructions of the user's copy, each named by its place, which its difficulty is found by.

    Raises:
        UserError: the copy is of AlpacaEval 1, in another order than the hub's, or not in that format.
    """
    path = files.find(copy, *_FILES)
    rows = files.json_list(path)
    found = []
    for index, row in enumerate(rows):
        instruction = files.field(row, "instruction", str, f"{path}: item {index}")
        extra = {"dataset": row["dataset"]} if "dataset" in row else {}
        found.append(Question(str(index), (instruction,), extra=extra))
    files.distinct((f"instruction {question.turns[0]!r}" for question in found), str(path))
    if not found:
        raise UserError(f"{path}: has no instructions")
    texts = [question.turns[0] for question in found]
    if _digest(sorted(texts)) == _SORTED and _digest(texts) != _ORDERED:
        raise UserError(
            f"{path}: has AlpacaEval's instructions in another order, and difficulty goes by their place; take the"
            " hub's file as it is"
        )
    return found


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()


def read_answers(path: Path, questions: Sequence[Question]) -> list[Answer]:
    """A model's outputs, in the order of the instructions, which they are matched by.

    Raises:
        UserError: the file is not in the package's format, or its outputs are not one an instruction.
    """
    names = {question.turns[0]: question.name for question in questions}
    found = []
    for index, row in enumerate(files.json_list(path)):
        place = f"{path}: item {index}"
        instruction, output, generator = (
            files.field(row, name, str, place) for name in ("instruction", "output", "generator")
        )
        if instruction not in names:
            raise UserError(f"{place}: its instruction is not in your copy of the benchmark: {instruction[:60]!r}")
        found.append(Answer(names[instruction], generator, (output,)))
    return files.in_order(found, questions, str(path))


def write_answers(path: Path, answers: Sequence[Answer], questions: Sequence[Question]) -> None:
    """Write outputs as the package reads them."""
    rows = [
        {**question.extra, "instruction": question.turns[0], "output": answer.turns[0], "generator": answer.model}
        for question, answer in zip(questions, files.in_order(answers, questions, str(path)), strict=True)
    ]
    path.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def baseline_answers(copy: Path, questions: Sequence[Question]) -> list[Answer]:
    """The baseline's outputs of the user's copy.

    Raises:
        UserError: they are AlpacaEval 1's, or not in that format.
    """
    path = files.find(copy, *_FILES)
    found = read_answers(path, questions)
    if found[0].model == "text_davinci_003":
        raise UserError(
            f"{path}: holds outputs of text_davinci_003, the baseline of AlpacaEval 1; take the hub's {_FILES[0]}"
        )
    return found


def requests(
    copy: Path, questions: Sequence[Question], answers: Sequence[Answer], mode: str = MODES[0]
) -> list[JudgeRequest]:
    """One comparison an instruction, in the order that the package draws for it; equal outputs are a tie unasked.

    The package fills its prompt and then looks for turns in it; here turns come first, so that an output cannot open
    one. For outputs without the marks of turns both give the same messages.

    Raises:
        UserError: what the user's copy lacks, or the package is not installed.
    """
    prompt = judge_prompt()
    asked = []
    for question, answer, base in zip(questions, answers, baseline_answers(copy, questions), strict=True):
        outputs = base.turns[0], answer.turns[0]
        if outputs[0] == outputs[1]:
            continue
        switched = model_first(question.turns[0])
        first, second = outputs[::-1] if switched else outputs
        values = {"instruction": question.turns[0], "output_1": first, "output_2": second}
        messages = tuple({"role": role, "content": _filled(text, values)} for role, text in prompt)
        asked.append(JudgeRequest(question.name, answer.model, PARTS[switched], messages, _OPTIONS[mode]))
    return asked


def model_first(instruction: str) -> bool:
    """Whether the package calls the model's output m: drawn once for each instruction."""
    return random.Random(f"is_switched_outputs{instruction}123").choices([False, True])[0]  # noqa: S311  # the package's


def judge_prompt() -> list[tuple[str, str]]:
    """(role, text) of the installed package's prompt, with instruction, output_1 and output_2 in braces.

    Raises:
        UserError: the package is not installed.
    """
    found = find_spec("alpaca_eval")
    if found is None or found.origin is None:
        raise UserError("alpaca-eval is not installed, which has the judge's prompt; pip install --group evaluate")
    text = files.text(Path(found.origin).parent / _PROMPT)
    turns = (turn.split("\n", 1) for turn in text.strip().split("<|im_start|>")[1:])
    return [(role.strip(), content.split("<|im_end|>", 1)[0].strip()) for role, content in turns]


def _filled(text: str, values: Mapping[str, str]) -> str:
    """As the package fills: the first place of each name, one name after the other."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value, 1)
    return text


def follow_up(_request: JudgeRequest, _judgment: Judgment) -> JudgeRequest | None:
    """None: each comparison is asked for once."""
    return None


def preference(part: str, text: str, logprobs: Mapping[str, float] | None) -> float:
    """From 1 (the baseline's output is better) to 2 (the model's); NaN where the judge named neither.

    Args:
        part: whose output is m.
        text: what the judge wrote, read where there are no log-probs.
        logprobs: of the first token's likeliest alternatives, nats; m or M alone are read, as in the package.
    """
    if logprobs is None:
        word = text.strip().strip("\"'`*.:[]()")
        second = {"m": 0.0, "M": 1.0}.get(word, nan)
    else:
        least, most = (logprobs.get(token, -inf) for token in _TOKENS)
        top = max(least, most)
        second = nan if top == -inf else 1 - exp(least - top) / (exp(least - top) + exp(most - top))
    return 1 + second if part == PARTS[0] else 2 - second


def outcome(part: str, text: str, logprobs: Mapping[str, float] | None = None) -> tuple[str, float | None]:
    """The preference, empty where the judge named neither, and the model's points: its share of the preference.

    >>> outcome("baseline first", "M"), outcome("model first", "m", {"m": -0.7, "M": -0.7})
    (('2.00', 1.0), ('1.50', 0.5))
    """
    found = preference(part, text, logprobs)
    return ("", None) if isnan(found) else (f"{found:.2f}", found - 1)


@dataclass(frozen=True)
class Row:
    """A judge's preference on one instruction.

    Attributes:
        question: its place.
        model: whose output met the baseline's.
        preference: 1 to 2, 2 where the model's is better; NaN where the judge named neither.
    """

    question: str
    model: str
    preference: float


def rows_of_store(lines: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Preferences from the lines of a store."""
    found = []
    for line in lines:
        answer = line["answer"]
        asked = bool(line["request"]["options"].get("logprobs"))
        if asked and answer["logprobs"] is None:
            raise UserError(
                f"{line['judge']} gave no log-probs for question {line['question']}; take a judge that has them, or"
                " judge with --mode text"
            )
        logprobs = answer["logprobs"] if asked else None
        found.append(Row(line["question"], line["model"], preference(line["part"], answer["text"], logprobs)))
    return found


def rows_of_upstream(lines: Sequence[Mapping[str, Any]], place: str, questions: Sequence[Question]) -> list[Row]:
    """Preferences from the package's annotations.json, whatever order it has; a missing one is NaN, and 0 a tie.

    Raises:
        UserError: an item is not in that format, or of an instruction that is not in the copy.
    """
    names = {question.turns[0]: question.name for question in questions}
    found = []
    for index, line in enumerate(lines):
        try:
            value = line["preference"]
            number = nan if value is None else float(value)
            model, instruction = str(line["generator_2"]), str(line["instruction"])
        except (LookupError, TypeError, ValueError):
            raise UserError(
                f"{place}: item {index}: has not instruction, generator_2 and preference, as the package's have"
            ) from None
        if instruction not in names:
            raise UserError(f"{place}: item {index}: its instruction is not in your copy: {instruction[:60]!r}")
        found.append(Row(names[instruction], model, 1.5 if number == 0 else number))
    return found


def preferences(
    rows: Sequence[Row], answers: Sequence[Answer], baseline: Sequence[Answer], *, partial: bool = False
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(questions,) preferences in the order of the questions; equal outputs are 1.5.

    Raises:
        UserError: a question was not judged; where what is there is to be scored, it is NaN instead.
    """
    found = {row.question: row.preference for row in rows}
    values: list[float] = []
    lacking = []
    for answer, base in zip(answers, baseline, strict=True):
        value = 1.5 if answer.turns == base.turns else found.get(answer.question)
        if value is None:
            lacking.append(answer.question)
        values.append(nan if value is None else value)
    if lacking and not partial:
        raise UserError(f"{len(lacking)} of {len(answers)} instructions are not judged, first {lacking[0]}; judge them")
    return np.array(values, dtype=np.float64)

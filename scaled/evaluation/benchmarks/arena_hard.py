"""Arena-Hard v0.1: 500 questions, each answer against gpt-4-0314's in both orders.

The user's copy is a folder with question.jsonl, judge_config.yaml (or config/judge_config.yaml) and the baseline's
answers, model_answer/gpt-4-0314.jsonl (or gpt-4-0314.jsonl, or answers/gpt-4-0314.jsonl); .gz may follow each name.
Source of formats and rules: lmarena/arena-hard-auto at 0489bf3.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inspo.command_line import UserError
from scaled.evaluation.benchmarks import files, markdown
from scaled.evaluation.benchmarks.base import PAPER, Answer, JudgeRequest, Judgment, Question, Sampling

NAME = "arena_hard"
ENDING = ".jsonl"
PROTOCOLS = {"official": Sampling(temperature=0.0, top_p=1.0, max_tokens=4096), "paper": PAPER}
QUESTIONS = 500
BASELINE = "gpt-4-0314"
MODES = ("both orders",)
GAMES = ("game 1", "game 2")
AGAIN = ", again"
"""Follows the part of a second attempt."""

_LABEL = re.compile(r"\[\[([AB<>=]+)\]\]")
_AGAIN = "continue your judgment and finish by outputting a final verdict label"
# Label of game 1 (A is the baseline): points of the model, and battles that it counts as.
_POINTS = {"A>>B": (0.0, 3), "A>B": (0.0, 1), "A=B": (0.5, 1), "B>A": (1.0, 1), "B>>A": (1.0, 3)}


def questions(copy: Path) -> list[Question]:
    """The questions of the user's copy.

    Raises:
        UserError: it is of v2.0, or not as upstream writes it.
    """
    path = files.find(copy, "question.jsonl")
    found = []
    for number, row in enumerate(files.json_lines(path), start=1):
        place = f"{path}: line {number}"
        if "question_id" not in row or "turns" not in row:
            version = " of Arena-Hard v2.0" if "uid" in row or "prompt" in row else ""
            raise UserError(f"{place}: is no question of v0.1 but a line{version}; give question.jsonl of v0.1")
        turns = files.field(row, "turns", list, place)
        if len(turns) != 1 or not isinstance(turns[0], dict):
            raise UserError(f"{place}: 'turns' is not one object with 'content'; give question.jsonl of v0.1")
        content = files.field(turns[0], "content", str, place)
        extra = {"cluster": row["cluster"]} if "cluster" in row else {}
        found.append(Question(str(row["question_id"]), (content,), str(row.get("category", "")), extra=extra))
    files.distinct((f"question {question.name}" for question in found), str(path))
    if not found:
        raise UserError(f"{path}: has no questions")
    return found


def read_answers(path: Path, questions: Sequence[Question]) -> list[Answer]:
    """A model's answers in upstream's format, in the order of the questions.

    Raises:
        UserError: the file is not in that format, or its answers are not one a question.
    """
    found = []
    for number, row in enumerate(files.json_lines(path), start=1):
        place = f"{path}: line {number}"
        if "uid" in row or "messages" in row:
            raise UserError(f"{place}: is an answer in the format of Arena-Hard v2.0; give answers in v0.1's")
        try:
            (turn,) = row["choices"][0]["turns"]
            content = turn["content"]
        except (LookupError, TypeError, ValueError):
            raise UserError(f"{place}: has not choices[0].turns[0].content, as answers of v0.1 have") from None
        if not isinstance(content, str):
            raise UserError(f'{place}: its answer is no text but {json.dumps(content)}; write an empty one as ""')
        extra = {"conv_metadata": row["conv_metadata"]} if "conv_metadata" in row else {}
        model = files.field(row, "model_id", str, place)
        found.append(Answer(str(files.field(row, "question_id", (str, int), place)), model, (content,), extra=extra))
    return files.in_order(found, questions, str(path))


def write_answers(path: Path, answers: Sequence[Answer], questions: Sequence[Question]) -> None:
    """Write answers as upstream does, with the counts that style control reads."""
    unit = markdown.tokenizer()
    lines = []
    for answer in files.in_order(answers, questions, str(path)):
        content = answer.turns[0]
        counts = markdown.metadata(content, unit)
        lines.append(
            {
                "question_id": answer.question,
                "answer_id": hashlib.sha256(f"{answer.model}\n{answer.question}\n{content}".encode()).hexdigest()[:22],
                "model_id": answer.model,
                "choices": [{"index": 0, "turns": [{"content": content, "token_len": counts["token_len"]}]}],
                "conv_metadata": counts,
            }
        )
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def baseline_answers(copy: Path, questions: Sequence[Question], baseline: str = BASELINE) -> list[Answer]:
    """The baseline's answers of the user's copy.

    Raises:
        UserError: they are not there, not complete, or of another model.
    """
    name = f"{baseline}.jsonl"
    path = files.find(copy, f"model_answer/{name}", f"answers/{name}", name)
    found = read_answers(path, questions)
    if found[0].model != baseline:
        raise UserError(f"{path}: holds answers of {found[0].model}, not of the baseline {baseline}")
    return found


@dataclass(frozen=True)
class JudgePrompt:
    """What a judge is told: a system prompt and a template with question_1, answer_1 (A) and answer_2 (B)."""

    system: str
    template: str
    temperature: float = 0.0
    max_tokens: int = 4096

    def messages(self, question: str, answer_a: str, answer_b: str) -> tuple[Mapping[str, str], ...]:
        """As the endpoint takes them."""
        prompt = self.template.format(question_1=question, answer_1=answer_a, answer_2=answer_b)
        return {"role": "system", "content": self.system}, {"role": "user", "content": prompt}


def judge_prompt(copy: Path) -> JudgePrompt:
    """The prompt of the user's copy of upstream's judge_config.yaml.

    Raises:
        UserError: it is v2.0's, or not as upstream writes it.
    """
    import yaml

    path = files.find(copy, "judge_config.yaml", "config/judge_config.yaml")
    try:
        config = yaml.safe_load(files.text(path))
        (template,) = config["prompt_template"]
        template.format(question_1="", answer_1="", answer_2="")
        return JudgePrompt(
            str(config["system_prompt"]), template, float(config["temperature"]), int(config["max_tokens"])
        )
    except (yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError):
        raise UserError(
            f"{path}: is not judge_config.yaml of v0.1, with system_prompt, temperature, max_tokens and one"
            " prompt_template of question_1, answer_1 and answer_2"
        ) from None


def requests(
    copy: Path, questions: Sequence[Question], answers: Sequence[Answer], _mode: str = MODES[0]
) -> list[JudgeRequest]:
    """Both games of every question: A is the baseline in the first, the model in the second.

    Raises:
        UserError: what the user's copy lacks, or the answers are the baseline's own.
    """
    prompt = judge_prompt(copy)
    against = baseline_answers(copy, questions)
    asked = []
    for question, answer, base in zip(questions, answers, against, strict=True):
        if answer.model == base.model:
            raise UserError(f"the answers are of the baseline {base.model} itself; give another model's")
        texts = base.turns[0], answer.turns[0]
        for game, (first, second) in zip(GAMES, (texts, texts[::-1]), strict=True):
            messages = prompt.messages(question.turns[0], first, second)
            options = {"temperature": prompt.temperature, "max_tokens": prompt.max_tokens}
            asked.append(JudgeRequest(question.name, answer.model, game, messages, options))
    return asked


def label(text: str) -> tuple[str | None, bool]:
    """The label in a judge's text, and whether it is to be asked once more.

    Two different labels are none, without a second attempt; no label is none, with one.

    >>> label("My final verdict is: [[A>>B]]. Yes, [[A>>B]]")
    ('A>>B', False)
    """
    found = set(_LABEL.findall(text))
    return (next(iter(found)) if len(found) == 1 else None), not found


def follow_up(request: JudgeRequest, judgment: Judgment) -> JudgeRequest | None:
    """The second attempt, where the first gave no label."""
    if request.part.endswith(AGAIN) or not label(judgment.text)[1]:
        return None
    more = ({"role": "assistant", "content": judgment.text}, {"role": "user", "content": _AGAIN})
    return replace(request, part=request.part + AGAIN, messages=(*request.messages, *more))


def outcome(part: str, text: str, _logprobs: Mapping[str, float] | None = None) -> tuple[str, float | None]:
    """The label of one game, empty where there is none, and the model's points; None where it is no verdict.

    >>> outcome("game 1", "[[B>>A]]"), outcome("game 2", "[[B>>A]]")
    (('B>>A', 1.0), ('B>>A', 0.0))
    """
    found = label(text)[0] or ""
    won = _POINTS.get(found)
    if won is None:
        return found, None
    return found, won[0] if part.startswith(GAMES[0]) else 1 - won[0]


@dataclass(frozen=True)
class Row:
    """What a judge decided about one question's two games.

    Attributes:
        question: its name.
        model: whose answer met the baseline's.
        labels: of game 1 (A is the baseline) and of game 2 (A is the model); None where none was found.
    """

    question: str
    model: str
    labels: tuple[str | None, str | None]

    def battles(self) -> list[tuple[float, int]]:
        """(points of the model, weight) of each game with a verdict; a label that is no verdict weighs nothing."""
        first, second = (_POINTS.get(each or "") for each in self.labels)
        turned = None if second is None else (1 - second[0], second[1])
        return [game for game in (first, turned) if game is not None]


def rows_of_store(lines: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Verdicts from the lines of a store; a second attempt is joined on to the first."""
    texts: dict[tuple[str, str], dict[str, str]] = {}
    for line in lines:
        texts.setdefault((line["question"], line["model"]), {})[line["part"]] = line["answer"]["text"]
    found = []
    for (question, model), parts in texts.items():
        first, second = (
            label("\n".join(parts[part] for part in (game, game + AGAIN) if part in parts))[0] for game in GAMES
        )
        found.append(Row(question, model, (first, second)))
    return found


def rows_of_upstream(lines: Sequence[Mapping[str, Any]], place: str) -> list[Row]:
    """Verdicts from upstream's own judgment file: its scores, as its show_result.py reads them.

    Raises:
        UserError: a line is not in that format.
    """
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            first, second = (game["score"] for game in line["games"])
            found.append(Row(str(line["question_id"]), str(line["model"]), (first, second)))
        except (LookupError, TypeError, ValueError):
            raise UserError(
                f"{place}: line {number}: has not question_id, model and two games with a score, as v0.1 writes them"
            ) from None
    return found

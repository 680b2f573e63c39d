"""A user's copies of a benchmark's files: found by their names, plain or gzipped, and read line by line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from inspo.command_line import UserError, one_line
from scaled.evaluation.benchmarks.base import Answer, Question


def find(copy: Path, *names: str) -> Path:
    """The first of a folder's files with one of these names, with or without ``.gz``.

    Raises:
        UserError: there is none.
    """
    found = optional(copy, *names)
    if found is None:
        raise UserError(f"{copy}: has no {' or '.join(names)}; name the folder of your copy of the benchmark")
    return found


def optional(copy: Path, *names: str) -> Path | None:
    """The same, None where there is none."""
    paths = (copy / f"{name}{ending}" for name in names for ending in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def text(path: Path) -> str:
    """A file's text, unpacked if its name ends in .gz.

    Raises:
        UserError: it cannot be read.
    """
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)})") from None


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file; empty lines are passed over.

    Raises:
        UserError: it cannot be read, or a line is no JSON object.
    """
    rows = []
    for number, line in enumerate(text(path).split("\n"), start=1):
        if line.strip():
            rows.append(_object(line, f"{path}: line {number}"))
    return rows


def _object(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UserError(f"{place}: is no JSON ({one_line(error)})") from None
    if not isinstance(row, dict):
        raise UserError(f"{place}: is no JSON object")
    return row


def json_list(path: Path) -> list[dict[str, Any]]:
    """The objects of a file that holds one JSON list.

    Raises:
        UserError: it cannot be read, or is not that.
    """
    try:
        rows = json.loads(text(path))
    except ValueError as error:
        raise UserError(f"{path}: is no JSON ({one_line(error)})") from None
    if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
        raise UserError(f"{path}: is not a list of objects")
    return rows


def field(row: dict[str, Any], name: str, kind: type | tuple[type, ...], place: str) -> Any:
    """One of a row's values.

    Raises:
        UserError: it is missing or of another kind.
    """
    if name not in row:
        raise UserError(f"{place}: has no {name!r}")
    if not isinstance(row[name], kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise UserError(f"{place}: {name!r} is not {' or '.join(each.__name__ for each in kinds)}")
    return row[name]


def distinct(names: Iterable[str], what: str) -> None:
    """Refuse a name that is there twice.

    Raises:
        UserError: one is.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UserError(f"{what}: {name:.80} is there twice; keep one of them")
        seen.add(name)


def in_order(answers: Sequence[Answer], questions: Sequence[Question], what: str) -> list[Answer]:
    """One model's answers in the order of the questions, one each, whatever order the file had them in.

    Raises:
        UserError: answers of two models, one to no question, two to one question, or none to one.
    """
    models = list(dict.fromkeys(answer.model for answer in answers))
    if len(models) > 1:
        raise UserError(f"{what}: holds answers of {models[0]} and of {models[1]}; give one file for each model")
    distinct((f"an answer to question {answer.question}" for answer in answers), what)
    by_name = {answer.question: answer for answer in answers}
    names = {question.name for question in questions}
    unknown = [name for name in by_name if name not in names]
    if unknown:
        raise UserError(f"{what}: answers {unknown[0]}, which is no question of this benchmark's copy")
    lacking = [question.name for question in questions if question.name not in by_name]
    if lacking:
        raise UserError(
            f"{what}: {len(lacking)} of {len(questions)} questions have no answer, first {lacking[0]}; generate them"
        )
    return [by_name[question.name] for question in questions]

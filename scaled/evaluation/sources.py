"""Judgments to score: of our store, found there by what would be asked today, or of a benchmark's own files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from inspo.command_line import UserError
from scaled.evaluation import folder
from scaled.evaluation.benchmarks import files
from scaled.evaluation.benchmarks.base import Answer, Benchmark, JudgeRequest, Question
from scaled.evaluation.judging import store


@dataclass(frozen=True)
class Source:
    """What a judge said of one or more models.

    Attributes:
        place: file, for messages.
        judge: as it was called.
        lines: of the file.
        stored: they are lines of our store; else of the benchmark's own format.
        endpoints: that answered; empty where that is not known.
        dates: of the first and the last answer, or empty.
        prompt_hash: digest of all prompts; empty where they are not known.
        answers: what was judged, where it is known.
    """

    place: str
    judge: str
    lines: Sequence[Mapping[str, Any]]
    stored: bool
    endpoints: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    prompt_hash: str = ""
    answers: tuple[Answer, ...] = ()


def answers_in(evaluation: Path, benchmark: Benchmark, questions: Sequence[Question]) -> list[Answer]:
    """The answers of an evaluation's folder, in the order of the questions.

    Raises:
        UserError: they are not there, or not one a question.
    """
    path = folder.answers(evaluation, benchmark.NAME, benchmark.ENDING)
    if not path.is_file():
        raise UserError(f"{path}: is not there; generate the answers, or name the folder that holds answers/")
    return benchmark.read_answers(path, questions)


def of_folder(
    benchmark: Benchmark,
    copy: Path,
    questions: Sequence[Question],
    evaluation: Path,
    *,
    judge: str | None,
    endpoint: str | None,
    mode: str,
    partial: bool,
) -> Source:
    """The judgments of an evaluation's answers, as the benchmark asks about them today.

    Lines of answers or prompts that have changed since are passed over.

    Raises:
        UserError: answers or judgments are missing, unless `partial`, or there are several judges or endpoints and none
            is named.
    """
    answers = answers_in(evaluation, benchmark, questions)
    path = _store(benchmark.NAME, evaluation, judge)
    lines = list(store.read(path))
    if not lines:
        raise UserError(f"{path}: has no judgments; judge the answers")
    name = str(lines[0]["judge"])
    asked = benchmark.requests(copy, questions, answers, mode)
    by_endpoint = {place: answered(benchmark, asked, mine, name) for place, mine in at_endpoints(lines).items()}
    found, lacking = by_endpoint[_endpoint(path, by_endpoint, endpoint)]
    if lacking and not (partial and found):
        raise UserError(
            f"{path}: {len(lacking)} of {len(asked)} requests have no answer by {name}, first {lacking[0].part} of"
            f" question {lacking[0].question}; judge them, or score what is there with --partial"
        )
    return Source(
        str(path),
        name,
        found,
        stored=True,
        endpoints=tuple(sorted({line["endpoint"] for line in found})),
        dates=(min(line["date"] for line in found), max(line["date"] for line in found)),
        prompt_hash=sha256("".join(sorted(line["prompt_hash"] for line in found)).encode()).hexdigest(),
        answers=tuple(answers),
    )


def _store(benchmark: str, evaluation: Path, judge: str | None) -> Path:
    if judge is not None:
        path = folder.judgments(evaluation, benchmark, judge)
        if not path.is_file():
            raise UserError(f"{path}: is not there; judge the answers by {judge}")
        return path
    paths = folder.stores(evaluation, benchmark)
    if not paths:
        raise UserError(f"{evaluation}: has no judgments of {benchmark}; judge the answers")
    if len(paths) > 1:
        raise UserError(f"{evaluation}: has judgments of {len(paths)} judges; name one with --judge")
    return paths[0]


def at_endpoints(lines: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """A store's lines by endpoint and key."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for line in lines:
        found.setdefault(line["endpoint"], {})[line["key"]] = line
    return found


def _endpoint(path: Path, by_endpoint: Mapping[str, tuple[Sequence[Any], Sequence[Any]]], named: str | None) -> str:
    """The one that is named, or else the only one that answered what is asked today."""
    if named is not None:
        if (endpoint := named.rstrip("/")) not in by_endpoint:
            raise UserError(f"--endpoint {named}: {path} has judgments of {' and of '.join(sorted(by_endpoint))}")
        return endpoint
    current = sorted(endpoint for endpoint, (found, _) in by_endpoint.items() if found)
    if len(current) > 1:
        raise UserError(f"{path}: has judgments of {' and of '.join(current)}; name one with --endpoint")
    return (current or sorted(by_endpoint))[0]


def answered(
    benchmark: Benchmark, asked: Sequence[JudgeRequest], lines: Mapping[str, Mapping[str, Any]], judge: str
) -> tuple[list[Mapping[str, Any]], list[JudgeRequest]]:
    """Lines of one endpoint that answer the requests, second attempts behind first ones, and requests without one."""
    found, lacking = [], []
    for first in asked:
        request: JudgeRequest | None = first
        while request is not None:
            line = lines.get(request.key(judge))
            if line is None:
                lacking.append(request)
                break
            found.append(line)
            request = benchmark.follow_up(request, store.judgment(line))
    return found, lacking


def of_file(benchmark: Benchmark, path: Path) -> Source:
    """A benchmark's own judgment file, of one judge.

    Raises:
        UserError: it cannot be read, is empty, or has several judges.
    """
    lines = files.json_list(path) if benchmark.ENDING == ".json" else files.json_lines(path)
    if not lines:
        raise UserError(f"{path}: has no judgments")
    judges = {_judge(line) for line in lines}
    if len(judges) > 1:
        raise UserError(f"{path}: has judgments of {' and of '.join(sorted(judges))}; give one file for each judge")
    return Source(str(path), judges.pop(), lines, stored=False)


def _judge(line: Mapping[str, Any]) -> str:
    """Arena-Hard has a name, FastChat [name, prompt], AlpacaEval `annotator`."""
    judge = line.get("judge", line.get("annotator", "not named"))
    return str(judge[0] if isinstance(judge, list) and judge else judge)

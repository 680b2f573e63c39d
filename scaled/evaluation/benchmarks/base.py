"""What all benchmarks share: questions, answers, and what a judge is asked and says.

A benchmark is a module of this folder that offers what `Benchmark` says, and its own verdicts. Nothing of a benchmark's
data is in this repository.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from inspo.command_line import UserError


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        name: its id in the benchmark's file, as text.
        turns: the user's turns, at least one.
        category: as the benchmark has it, or empty.
        reference: reference answers, one a turn, where the benchmark has them.
        extra: what else its file says of it, such as AlpacaEval's `dataset`.
    """

    name: str
    turns: tuple[str, ...]
    category: str = ""
    reference: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A model's answer to one question.

    Attributes:
        question: its name.
        model: who answered.
        turns: the assistant's turns, as many as the question has; a turn may be empty.
        tokens: of each turn by the model's own tokenizer, or empty where that is not known.
        extra: what else is known: drafts, candidates and margins, whether a turn was cut.
    """

    question: str
    model: str
    turns: tuple[str, ...]
    tokens: tuple[int, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn.

    Attributes:
        temperature: 0 for the likeliest tokens.
        top_p: share of probability that is drawn from.
        max_tokens: new tokens of one turn.
        by_category: temperatures of single categories, as MT-Bench has them.
    """

    temperature: float
    top_p: float
    max_tokens: int
    by_category: Mapping[str, float] = field(default_factory=dict)


PAPER = Sampling(temperature=0.7, top_p=0.95, max_tokens=2048)
"""Of the paper, for all benchmarks (Section 5.1)."""


@dataclass(frozen=True)
class JudgeRequest:
    """One thing that a judge is asked.

    Attributes:
        question: name of the question.
        model: whose answer is judged.
        part: which of the question's judgments: ``game 1``, ``game 2``, ``turn 1``, ...
        messages: as the endpoint takes them, {"role", "content"} each.
        options: what else the endpoint is sent: temperature, max_tokens, logprobs, top_logprobs.
    """

    question: str
    model: str
    part: str
    messages: tuple[Mapping[str, str], ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def key(self, judge: str) -> str:
        """What the answer is kept under: a digest of the judge and of everything that it is sent and asked for.

        Whose answer it is enters too, so that equal texts of two models are judged apart, as benchmarks do. The
        endpoint that answers is kept beside it.
        """
        content = [judge, self.question, self.model, self.part, [dict(m) for m in self.messages], dict(self.options)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def prompt_hash(self) -> str:
        """Of the messages alone."""
        return hashlib.sha256(json.dumps([dict(m) for m in self.messages], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Judgment:
    """What a judge said.

    Attributes:
        text: of its answer; may be empty.
        logprobs: of the first token's likeliest alternatives, text -> nats; None where none were given.
        finish: why it ended, such as ``stop`` or ``length``.
        prompt_tokens: that it was charged for.
        completion_tokens: that it was charged for.
        date: UTC, ISO 8601, of the answer.
        endpoint: that gave it.
    """

    text: str
    logprobs: Mapping[str, float] | None = None
    finish: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    date: str = ""
    endpoint: str = ""


class Benchmark(Protocol):
    """What a benchmark's module offers; `by_name` finds it."""

    NAME: str
    ENDING: str
    PROTOCOLS: Mapping[str, Sampling]
    MODES: tuple[str, ...]

    def questions(self, copy: Path) -> list[Question]:
        """From the user's copy of its files."""

    def read_answers(self, path: Path, questions: Sequence[Question]) -> list[Answer]:
        """One model's, in the order of the questions."""

    def write_answers(self, path: Path, answers: Sequence[Answer], questions: Sequence[Question]) -> None:
        """In the benchmark's own format."""

    def requests(
        self, copy: Path, questions: Sequence[Question], answers: Sequence[Answer], mode: str, /
    ) -> list[JudgeRequest]:
        """What a judge is asked about a model's answers; `mode` is one of MODES, the first if nothing is said."""

    def follow_up(self, request: JudgeRequest, judgment: Judgment, /) -> JudgeRequest | None:
        """What the judge is asked after an answer, or None."""

    def outcome(self, part: str, text: str, logprobs: Mapping[str, float] | None, /) -> tuple[str, float | None]:
        """One verdict as a reader sees it, empty where there is none, and the model's points where it was compared."""


def mode_of(benchmark: Benchmark, mode: str | None) -> str:
    """A benchmark's mode by its name, its first where none is named.

    Raises:
        UserError: it has no such mode.
    """
    if mode is not None and mode not in benchmark.MODES:
        raise UserError(f"--mode {mode}: {benchmark.NAME} has {', '.join(benchmark.MODES)}")
    return mode or benchmark.MODES[0]


BENCHMARKS = ("alpaca_eval", "arena_hard", "mt_bench", "pairwise")


def by_name(name: str) -> Benchmark:
    """The module of a benchmark."""
    return cast("Benchmark", import_module(f"scaled.evaluation.benchmarks.{name}"))

"""What steps cost, where there is a basis to say so."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, reduce
from pathlib import Path

from inspo.command_line import UserError
from scaled.evaluation.benchmarks.base import Answer, JudgeRequest, by_name
from scaled.evaluation.judging.budget import LONGEST_ANSWER, MILLION
from scaled.reproduce.steps import GPUS, Choices, Step

PAPER_HARDWARE = "four-80gb"
PAPER_HOURS = (8, 12)
"""D.6: hours of one training on four A100 of 80 GB."""

REQUESTS = {"alpaca_eval": 805, "arena_hard": 1000, "mt_bench": 160, "pairwise": 2000}
"""Of one model: instructions, questions in both orders, turns; of a search its 1000 examples in both orders."""

BYTES_PER_TOKEN = 4
"""Of English, about."""


@dataclass(frozen=True)
class Asked:
    """What a judge is asked about one model on one benchmark.

    Attributes:
        requests: how many.
        prompt_tokens: of all, about; None without the benchmark's copy.
        answer_tokens: of all answers, at most; None without the copy.
        answered: whether the prompts hold answers, as long as the baseline's.
    """

    requests: int
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    answered: bool = True

    def __add__(self, other: Asked) -> Asked:
        """Both; what is not known of one is not known of both."""
        prompts, answers = (
            None if one is None or two is None else one + two
            for one, two in ((self.prompt_tokens, other.prompt_tokens), (self.answer_tokens, other.answer_tokens))
        )
        return Asked(self.requests + other.requests, prompts, answers, self.answered and other.answered)

    def dollars(self, prices: tuple[float, float]) -> tuple[float, float] | None:
        """Of the prompts, about, and of the answers, at most; None where tokens are not known."""
        if self.prompt_tokens is None or self.answer_tokens is None:
            return None
        return self.prompt_tokens * prices[0] / MILLION, self.answer_tokens * prices[1] / MILLION

    def shown(self) -> str:
        """In words."""
        if self.prompt_tokens is None:
            return f"{self.requests:,} requests, tokens unknown without the benchmark's files"
        about = "about" if self.answered else "without the model's answers about"
        return (
            f"{self.requests:,} requests, {about} {self.prompt_tokens:,} tokens of prompts, at most"
            f" {self.answer_tokens:,} of answers"
        )


@cache
def asked(benchmark: str, copy: Path) -> Asked:
    """What a judge is asked, by the copy's questions with the baseline's answers in place of the model's.

    MT-Bench has no baseline: its answers are empty here, and the prompts longer than counted.
    """
    module = by_name(benchmark)
    find = getattr(module, "baseline_answers", None)
    try:
        questions = module.questions(copy)
        if find is None:
            answers = [Answer(each.name, "", ("",) * len(each.turns)) for each in questions]
        else:  # but for a blank, since equal answers are not judged
            answers = [replace(each, turns=tuple(f"{turn} " for turn in each.turns)) for each in find(copy, questions)]
        requests = module.requests(copy, questions, answers, module.MODES[0])
    except UserError:
        return Asked(REQUESTS[benchmark])
    counted = sum(map(_prompt_tokens, requests)), sum(map(_longest_answer, requests))
    return Asked(len(requests), *counted, answered=find is not None)


def _prompt_tokens(request: JudgeRequest) -> int:
    return sum(len(str(message["content"]).encode()) for message in request.messages) // BYTES_PER_TOKEN


def _longest_answer(request: JudgeRequest) -> int:
    return int(request.options.get("max_completion_tokens") or request.options.get("max_tokens") or LONGEST_ANSWER)


def training_hours(choices: Choices, model: str) -> tuple[float, float, str] | None:
    """GPU hours of one training, the least and the most, and what says so; None where nothing does."""
    hours = []
    for path in [*choices.out.glob(f"train/{model}/*/run.json"), *choices.out.glob(f"search/{model}/*/*/run.json")]:
        record = json.loads(path.read_text(encoding="utf-8"))
        hours.append(record["training_seconds"] * record["world_size"] / 3600)
    if hours:
        return min(hours), max(hours), f"measured in {len(hours)} trainings of {model} here"
    if choices.hardware != PAPER_HARDWARE or choices.configs:
        return None
    low, high = (GPUS[PAPER_HARDWARE] * each for each in PAPER_HOURS)
    return low, high, f"by D.6, {PAPER_HOURS[0]} to {PAPER_HOURS[1]} hours on {GPUS[PAPER_HARDWARE]} A100 of 80 GB"


UNKNOWN = "GPU hours unknown, nothing like it was measured here"


def cost(step: Step, choices: Choices, prices: tuple[float, float] | None) -> str:
    """What one step costs, in words; empty for those that take seconds."""
    if step.kind == "train":
        hours = training_hours(choices, step.model)
        return UNKNOWN if hours is None else f"{hours[0]:,.0f} to {hours[1]:,.0f} GPU hours"
    if step.kind in ("generate", "measure"):
        return UNKNOWN
    if step.kind == "judge":
        each = _asked(step, choices)
        return f"{each.shown()}; {_price(each, prices)}"
    return ""


def summary(steps: Iterable[Step], choices: Choices, prices: tuple[float, float] | None) -> list[str]:
    """What steps cost in all, a line each."""
    steps = list(steps)
    lines = []
    for model, count in Counter(step.model for step in steps if step.kind == "train").items():
        hours = training_hours(choices, model)
        total = (
            UNKNOWN if hours is None else f"{count * hours[0]:,.0f} to {count * hours[1]:,.0f} GPU hours ({hours[2]})"
        )
        lines.append(f"{count} trainings of {model}: {total}")
    for kind, what in (("generate", "generations"), ("measure", "measurements")):
        if count := sum(step.kind == kind for step in steps):
            lines.append(f"{count} {what}: {UNKNOWN}")
    judged: dict[str, list[Asked]] = {}
    for step in steps:
        if step.kind == "judge":
            judged.setdefault(step.benchmark, []).append(_asked(step, choices))
    for benchmark, all_asked in judged.items():
        whole = reduce(Asked.__add__, all_asked)
        lines.append(f"{len(all_asked)} x {benchmark}: {whole.shown()}; {_price(whole, prices)}")
    return lines


def _asked(step: Step, choices: Choices) -> Asked:
    search = choices.out / "search" / step.model / "questions"
    return asked(step.benchmark, search if step.benchmark == "pairwise" else choices.copies / step.benchmark)


def _price(each: Asked, prices: tuple[float, float] | None) -> str:
    if prices is None:
        return "dollars unknown without --prices"
    dollars = each.dollars(prices)
    if dollars is None:
        return "dollars unknown"
    return f"${dollars[0]:,.2f} of prompts, at most ${dollars[1]:,.2f} of answers"

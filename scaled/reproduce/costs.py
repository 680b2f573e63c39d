"""What steps cost, where there is a basis to say so."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from inspo.command_line import UserError
from scaled.evaluation.benchmarks.base import JudgeRequest, by_name
from scaled.evaluation.judging.budget import LONGEST_ANSWER, MILLION
from scaled.reproduce.steps import TRAINING_GPUS, Choices, Step

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
    """

    requests: int
    prompt_tokens: int | None = None
    answer_tokens: int | None = None

    def dollars(self, prices: tuple[float, float]) -> tuple[float, float] | None:
        """Of the prompts, about, and of the answers, at most; None where tokens are not known."""
        if self.prompt_tokens is None or self.answer_tokens is None:
            return None
        return self.prompt_tokens * prices[0] / MILLION, self.answer_tokens * prices[1] / MILLION

    def shown(self) -> str:
        """In words."""
        if self.prompt_tokens is None:
            return f"{self.requests:,} requests, tokens unknown without the benchmark's files"
        return (
            f"{self.requests:,} requests, about {self.prompt_tokens:,} tokens of prompts, at most"
            f" {self.answer_tokens:,} of answers"
        )


def asked(benchmark: str, copy: Path) -> Asked:
    """What a judge is asked, by the copy's questions with the baseline's answers in place of the model's."""
    module = by_name(benchmark)
    find = getattr(module, "baseline_answers", None)
    try:
        questions = module.questions(copy)
        if find is None:  # MT-Bench has no baseline, and prompts without any answer would say little
            return Asked(REQUESTS[benchmark])
        answers = [replace(each, turns=tuple(f"{turn} " for turn in each.turns)) for each in find(copy, questions)]
        requests = module.requests(copy, questions, answers, module.MODES[0])
    except UserError:
        return Asked(REQUESTS[benchmark])
    return Asked(len(requests), sum(map(_prompt_tokens, requests)), sum(map(_longest_answer, requests)))


def _prompt_tokens(request: JudgeRequest) -> int:
    return sum(len(str(message["content"]).encode()) for message in request.messages) // BYTES_PER_TOKEN


def _longest_answer(request: JudgeRequest) -> int:
    return int(request.options.get("max_completion_tokens") or request.options.get("max_tokens") or LONGEST_ANSWER)


def training_hours(choices: Choices, model: str) -> tuple[float, float, str]:
    """GPU hours of one training, the least and the most, and what says so."""
    hours = []
    for path in [*choices.out.glob(f"train/{model}/*/run.json"), *choices.out.glob(f"search/{model}/*/*/run.json")]:
        record = json.loads(path.read_text(encoding="utf-8"))
        hours.append(record["training_seconds"] * record["world_size"] / 3600)
    if hours:
        return min(hours), max(hours), f"measured in {len(hours)} trainings of {model} here"
    low, high = (TRAINING_GPUS * each for each in PAPER_HOURS)
    return low, high, f"by D.6, {PAPER_HOURS[0]} to {PAPER_HOURS[1]} hours on {TRAINING_GPUS} A100 of 80 GB"


def summary(steps: Iterable[Step], choices: Choices, prices: tuple[float, float] | None) -> list[str]:
    """What steps cost in all, a line each."""
    steps = list(steps)
    lines = []
    low = high = 0.0
    sources: dict[str, None] = {}
    trainings = Counter(step.model for step in steps if step.kind == "train")
    for model, count in trainings.items():
        least, most, source = training_hours(choices, model)
        low, high = low + count * least, high + count * most
        sources[source] = None
    if trainings:
        lines.append(f"{trainings.total()} trainings: {low:,.0f} to {high:,.0f} GPU hours ({'; '.join(sources)})")
    for kind, what in (("generate", "generations"), ("measure", "measurements")):
        if count := sum(step.kind == kind for step in steps):
            lines.append(f"{count} {what}: GPU hours unknown, none of this size was measured")
    for (benchmark, model), judged in _by_copy(steps).items():
        copy = choices.out / "search" / model / "questions" if benchmark == "pairwise" else choices.copies / benchmark
        each = asked(benchmark, copy)
        whose = f" for {model}" if model else ""
        lines.append(f"{len(judged)} x {benchmark}{whose}: each {each.shown()}; {_price(each, prices)}")
    return lines


def _by_copy(steps: Iterable[Step]) -> dict[tuple[str, str], list[Step]]:
    """Steps of judging by what they are asked of: a benchmark, or a model's questions of a search."""
    found: dict[tuple[str, str], list[Step]] = {}
    for step in steps:
        if step.kind == "judge":
            key = step.benchmark, step.model if step.benchmark == "pairwise" else ""
            found.setdefault(key, []).append(step)
    return found


def _price(each: Asked, prices: tuple[float, float] | None) -> str:
    if prices is None:
        return "dollars unknown without --prices"
    dollars = each.dollars(prices)
    if dollars is None:
        return "dollars unknown"
    return f"${dollars[0]:,.2f} of prompts, at most ${dollars[1]:,.2f} of answers"

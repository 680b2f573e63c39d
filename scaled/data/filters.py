"""Appendix D.2's filters of preference data, as it can be done with public data.

The paper filters a data set that is not public as described: no variant of UltraFeedback has a "GPT-4
confidence", and the safety classifier's version is not given. So the margin is read as the probability that the
scores imply, ``sigma(score_chosen - score_rejected)``, or as their gap, and the classifier is an argument
(:mod:`scaled.data.safety`). What no training could take, such as empty and equal replies, is left out before, while
the data are read (:func:`scaled.data.records.load_records`).
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple

from transformers import PreTrainedTokenizerBase

from scaled.config import FilterOptions
from scaled.data.digests import digest, first_equal
from scaled.data.layouts import replies
from scaled.data.records import LeftOut, Message, Record
from scaled.data.safety import judge_of

logger = logging.getLogger(__name__)

Judge = Callable[[Sequence[Message], str], bool]
"""Whether a reply to a conversation is safe."""

Check = Callable[[list[Record]], list[str | None]]
"""For each of some records what is wrong with it, None where it stays."""

STEPS = ("duplicate", "length", "unsafe", "margin")
"""Names of the steps, in order."""


class Step(NamedTuple):
    """One step, which looks at each record by itself."""

    name: str
    check: Check


@dataclass(frozen=True)
class Filters:
    """Which of D.2's filters to apply. The defaults are the paper's, without a safety classifier.

    Attributes:
        duplicates: drop later records with the same prompt, chosen and rejected.
        max_tokens: drop a record where either response has more tokens; None for no limit.
        min_tokens: drop a record where both responses have fewer tokens; 0 for no limit.
        is_safe: drop a record where it is false of a reply in either response; None for no classifier.
        min_margin: drop a record whose margin is below; None for data without scores.
        margin: ``probability``, sigma(score_chosen - score_rejected), or ``gap``, the difference itself.

    Raises:
        ValueError: a limit out of range.
    """

    duplicates: bool = True
    max_tokens: int | None = 2048
    min_tokens: int = 32
    is_safe: Judge | None = None
    min_margin: float | None = 0.6
    margin: Literal["probability", "gap"] = "probability"

    def __post_init__(self) -> None:
        if self.max_tokens is not None and not 0 <= self.min_tokens <= self.max_tokens:
            raise ValueError(f"min_tokens = {self.min_tokens} must be in [0, max_tokens = {self.max_tokens}]")
        if self.min_margin is not None and self.margin == "probability" and not 0 <= self.min_margin <= 1:
            raise ValueError(f"min_margin = {self.min_margin} is a probability in [0, 1]")

    def steps(self, tokenizer: PreTrainedTokenizerBase | None) -> list[Step]:
        """The steps behind the duplicates', which needs all records.

        Args:
            tokenizer: the policy's, for lengths; a response's is that of its replies, without template and end-of-turn.

        Raises:
            ValueError: lengths without a tokenizer.
        """
        steps = []
        if self.max_tokens is not None or self.min_tokens:
            if tokenizer is None:
                raise ValueError("to filter by length, give the policy's tokenizer")
            maximum = math.inf if self.max_tokens is None else self.max_tokens
            steps.append(Step("length", _of_length(tokenizer, self.min_tokens, maximum)))
        if self.is_safe is not None:
            steps.append(Step("unsafe", _safe(self.is_safe)))
        if self.min_margin is not None:
            steps.append(Step("margin", _of_margin(self.margin, self.min_margin)))
        return steps


NO_FILTERS = Filters(duplicates=False, max_tokens=None, min_tokens=0, min_margin=None)
"""Nothing beside what reading leaves out."""


def filters_of(options: str | FilterOptions, *, classify: bool = True) -> Filters:
    """The filters that a configuration's `filters` says.

    Args:
        options: the value of the key.
        classify: whether to load what says what is safe, where that is asked for.

    Raises:
        ValueError: a safety classifier or a file of verdicts that cannot be read.
    """
    if isinstance(options, str):
        return Filters() if options == "paper" else NO_FILTERS
    return Filters(
        options.duplicates,
        options.max_tokens,
        options.min_tokens,
        judge_of(options.safety) if options.safety is not None and classify else None,
        options.min_margin,
        options.margin,
    )


def filter_records(
    records: Iterable[Record], filters: Filters, tokenizer: PreTrainedTokenizerBase | None = None
) -> tuple[list[Record], dict[str, int]]:
    """Apply filters one after another, and log how many records each one dropped.

    Args:
        records: the data.
        filters: which filters.
        tokenizer: see :meth:`Filters.steps`.

    Returns:
        The records kept, in order, and for each step in order the number it dropped: ``duplicate``, ``length``,
        ``unsafe``, ``margin``. A step that is off is not there.

    Raises:
        ValueError: lengths without a tokenizer, a margin for records without scores, or nothing left.
    """
    kept = list(records)
    steps, dropped = filters.steps(tokenizer), dict[str, int]()
    if filters.duplicates:
        first = first_equal([kind_of(record) for record in kept]).tolist()
        dropped["duplicate"] = sum(one < index for index, one in enumerate(first))
        kept = [record for index, (record, one) in enumerate(zip(kept, first, strict=True)) if one == index]
    found = check(kept, steps)
    dropped |= {name: sum(each is not None and each.why == name for each in found) for name, _ in steps}
    left = len(kept) + dropped.get("duplicate", 0)
    for name, count in dropped.items():
        left -= count
        logger.info("filter %s: %d dropped, %d kept", name, count, left)
    kept = [record for record, each in zip(kept, found, strict=True) if each is None]
    if not kept:
        raise ValueError(f"no record passes the filters; dropped: {dropped}")
    return kept, dropped


def check(records: Sequence[Record], steps: Sequence[Step]) -> list[LeftOut | None]:
    """For each record the first step that drops it, and why; None where it stays.

    Raises:
        ValueError: a margin for records without scores.
    """
    found: list[LeftOut | None] = [None] * len(records)
    for name, rule in steps:
        left = [index for index, each in enumerate(found) if each is None]
        for index, said in zip(left, rule([records[index] for index in left]), strict=True):
            if said is not None:
                found[index] = LeftOut(f"record {records[index]['record']}", name, said)
    return found


def kind_of(record: Record) -> bytes:
    """A digest that duplicates share: of prompt, replies, tools and what the template is told."""
    return digest(
        json.dumps([record.get(part) for part in ("prompt", "chosen", "rejected", "tools", "template_options")])
    )


def _of_length(tokenizer: PreTrainedTokenizerBase, minimum: int, maximum: float) -> Check:
    def rule(records: list[Record]) -> list[str | None]:
        if not records:
            return []
        said = [
            [reply["content"] for _, reply in replies(record["prompt"], response)]
            for record in records
            for response in (record["chosen"], record["rejected"])
        ]
        options = {"add_special_tokens": False, "return_attention_mask": False}
        ids = iter(tokenizer(list(chain.from_iterable(said)), **options)["input_ids"])
        lengths = [sum(len(next(ids)) for _ in texts) for texts in said]
        return [
            None if minimum <= max(two) <= maximum else f"its responses have {two[0]} and {two[1]} tokens"
            for two in zip(lengths[::2], lengths[1::2], strict=True)
        ]

    return rule


def _safe(is_safe: Judge) -> Check:
    def rule(records: list[Record]) -> list[str | None]:
        return [
            next(
                (
                    f"its {which} response is unsafe"
                    for which, response in (("chosen", record["chosen"]), ("rejected", record["rejected"]))
                    for turns, reply in replies(record["prompt"], response)
                    if not is_safe(turns, reply["content"])
                ),
                None,
            )
            for record in records
        ]

    return rule


def _of_margin(reading: str, minimum: float) -> Check:
    def rule(records: list[Record]) -> list[str | None]:
        margins = [_margin(record, reading) for record in records]
        return [None if margin >= minimum else f"its margin is {margin:.3g}" for margin in margins]

    return rule


def _margin(record: Record, reading: str) -> float:
    if "score_chosen" not in record or "score_rejected" not in record:
        raise ValueError(
            f"record {record['record']}: the margin filter needs score_chosen and score_rejected; "
            "set min_margin to None for data without scores"
        )
    gap = record["score_chosen"] - record["score_rejected"]
    return gap if reading == "gap" else (1 + math.tanh(gap / 2)) / 2  # sigma(gap), without overflow

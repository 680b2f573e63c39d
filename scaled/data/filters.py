"""Appendix D.2's filters of preference data, as it can be done with public data.

The paper filters a data set that is not public as described: no variant of UltraFeedback has a "GPT-4
confidence", and the safety classifier's version is not given. So the margin is read as the
probability that the scores imply, ``sigma(score_chosen - score_rejected)``, and the classifier is an
argument. What no training could take, such as empty and equal replies, is left out before, while the data are read
(:func:`scaled.data.records.load_records`).
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from scaled.data.records import Message, Record

logger = logging.getLogger(__name__)

Judge = Callable[[Sequence[Message], str], bool]
"""Whether a reply to a conversation is safe."""

Rule = Callable[[list[Record]], list[bool]]
"""Which of some records to keep."""


@dataclass(frozen=True)
class Filters:
    """Which of D.2's filters to apply. The defaults are the paper's, without a safety classifier.

    Attributes:
        duplicates: drop later records with the same prompt, chosen and rejected.
        max_tokens: drop a record where either reply has more tokens; None for no limit.
        min_tokens: drop a record where both replies have fewer tokens; 0 for no limit.
        is_safe: drop a record where it is false of either reply; None for no classifier.
        min_margin: drop a record where sigma(score_chosen - score_rejected) is below; None for
            data without scores.

    Raises:
        ValueError: a limit out of range.
    """

    duplicates: bool = True
    max_tokens: int | None = 2048
    min_tokens: int = 32
    is_safe: Judge | None = None
    min_margin: float | None = 0.6

    def __post_init__(self) -> None:
        if self.max_tokens is not None and not 0 <= self.min_tokens <= self.max_tokens:
            raise ValueError(f"min_tokens = {self.min_tokens} must be in [0, max_tokens = {self.max_tokens}]")
        if self.min_margin is not None and not 0 <= self.min_margin <= 1:
            raise ValueError(f"min_margin = {self.min_margin} is a probability in [0, 1]")


PRESETS = {
    "unusable": Filters(duplicates=False, max_tokens=None, min_tokens=0, min_margin=None),
    "paper": Filters(),
}
"""What `filters` of a configuration names: nothing beside what reading leaves out; all of D.2 but the classifier."""


def filter_records(
    records: Iterable[Record], filters: Filters, tokenizer: PreTrainedTokenizerBase | None = None
) -> tuple[list[Record], dict[str, int]]:
    """Apply filters one after another, and log how many records each one dropped.

    Args:
        records: the data.
        filters: which filters.
        tokenizer: the policy's, for lengths; a reply's length is without template and end-of-turn.

    Returns:
        The records kept, in order, and for each step in order the number it dropped: ``duplicate``, ``length``,
        ``unsafe``, ``margin``. A step that is off is not there.

    Raises:
        ValueError: lengths without a tokenizer, a margin for records without scores, or nothing left.
    """
    kept = list(records)
    dropped: dict[str, int] = {}
    for name, rule in _steps(filters, tokenizer):
        verdicts = rule(kept)
        dropped[name] = verdicts.count(False)
        kept = [record for record, keep in zip(kept, verdicts, strict=True) if keep]
        logger.info("filter %s: %d dropped, %d kept", name, dropped[name], len(kept))
    if not kept:
        raise ValueError(f"no record passes the filters; dropped: {dropped}")
    return kept, dropped


def _steps(filters: Filters, tokenizer: PreTrainedTokenizerBase | None) -> list[tuple[str, Rule]]:
    steps: list[tuple[str, Rule]] = []
    if filters.duplicates:
        steps.append(("duplicate", _first_of_its_kind))
    if filters.max_tokens is not None or filters.min_tokens:
        if tokenizer is None:
            raise ValueError("to filter by length, give the policy's tokenizer")
        maximum = math.inf if filters.max_tokens is None else filters.max_tokens
        steps.append(("length", _of_length(tokenizer, filters.min_tokens, maximum)))
    if filters.is_safe is not None:
        steps.append(("unsafe", _safe(filters.is_safe)))
    if filters.min_margin is not None:
        steps.append(("margin", _of_margin(filters.min_margin)))
    return steps


def _first_of_its_kind(records: list[Record]) -> list[bool]:
    seen: set[str] = set()
    verdicts = []
    for record in records:
        kind = json.dumps([record.get(part) for part in ("prompt", "chosen", "rejected", "tools", "template_options")])
        verdicts.append(kind not in seen)
        seen.add(kind)
    return verdicts


def _of_length(tokenizer: PreTrainedTokenizerBase, minimum: int, maximum: float) -> Rule:
    def rule(records: list[Record]) -> list[bool]:
        if not records:
            return []
        chosen, rejected = (
            [
                len(ids)
                for ids in tokenizer([record[reply]["content"] for record in records], add_special_tokens=False)[
                    "input_ids"
                ]
            ]
            for reply in ("chosen", "rejected")
        )
        return [minimum <= max(two) <= maximum for two in zip(chosen, rejected, strict=True)]

    return rule


def _safe(is_safe: Judge) -> Rule:
    def rule(records: list[Record]) -> list[bool]:
        return [
            all(is_safe(record["prompt"], record[reply]["content"]) for reply in ("chosen", "rejected"))
            for record in records
        ]

    return rule


def _of_margin(minimum: float) -> Rule:
    def rule(records: list[Record]) -> list[bool]:
        verdicts = []
        for record in records:
            if "score_chosen" not in record or "score_rejected" not in record:
                raise ValueError(
                    f"record {record['record']}: the margin filter needs score_chosen and score_rejected; "
                    "set min_margin to None for data without scores"
                )
            # sigma(d) >= minimum, without overflow
            difference = record["score_chosen"] - record["score_rejected"]
            verdicts.append((1 + math.tanh(difference / 2)) / 2 >= minimum)
        return verdicts

    return rule

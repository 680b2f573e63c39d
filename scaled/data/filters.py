"""Appendix D.2's filters of preference data, as it can be done with public data.

The paper filters a data set that is not public as described: no variant of UltraFeedback has a "GPT-4
confidence", and the safety classifier's version is not given. So the margin is read as the
probability that the scores imply, ``sigma(score_chosen - score_rejected)``, and the classifier is an
argument. What the training could not take anyway, empty and equal replies, goes first.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

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
        most_tokens: drop a record where either reply has more tokens; None for no limit.
        least_tokens: drop a record where both replies have fewer tokens; 0 for no limit.
        is_safe: drop a record where it is false of either reply; None for no classifier.
        least_margin: drop a record where sigma(score_chosen - score_rejected) is below; None for
            data without scores.

    Raises:
        ValueError: a limit out of range.
    """

    duplicates: bool = True
    most_tokens: int | None = 2048
    least_tokens: int = 32
    is_safe: Judge | None = None
    least_margin: float | None = 0.6

    def __post_init__(self) -> None:
        if self.most_tokens is not None and not 0 <= self.least_tokens <= self.most_tokens:
            raise ValueError(f"least_tokens = {self.least_tokens} must be in [0, most_tokens = {self.most_tokens}]")
        if self.least_margin is not None and not 0 <= self.least_margin <= 1:
            raise ValueError(f"least_margin = {self.least_margin} is a probability in [0, 1]")


PRESETS = {
    "unusable": Filters(duplicates=False, most_tokens=None, least_tokens=0, least_margin=None),
    "paper": Filters(),
}
"""What a configuration's `filters` names: what no training could take, and all of D.2 but the classifier."""


def filter_records(
    records: Iterable[Record], filters: Filters, tokenizer: PreTrainedTokenizerBase | None = None
) -> tuple[list[Record], dict[str, int]]:
    """Apply filters one after another, and log how many records each one dropped.

    Args:
        records: the data.
        filters: which filters.
        tokenizer: the policy's, for lengths; a reply's length is without template and end-of-turn.

    Returns:
        The records kept, in order, and for each step in order the number it dropped: ``empty``,
        ``equal``, ``duplicate``, ``length``, ``unsafe``, ``margin``. A step that is off is not there.

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
    steps: list[tuple[str, Rule]] = [("empty", _not_empty), ("equal", _not_equal)]
    if filters.duplicates:
        steps.append(("duplicate", _first_of_its_kind))
    if filters.most_tokens is not None or filters.least_tokens:
        if tokenizer is None:
            raise ValueError("to filter by length, give the policy's tokenizer")
        most = math.inf if filters.most_tokens is None else filters.most_tokens
        steps.append(("length", _of_length(tokenizer, filters.least_tokens, most)))
    if filters.is_safe is not None:
        steps.append(("unsafe", _safe(filters.is_safe)))
    if filters.least_margin is not None:
        steps.append(("margin", _of_margin(filters.least_margin)))
    return steps


def _not_empty(records: list[Record]) -> list[bool]:
    return [bool(record["chosen"].strip() and record["rejected"].strip()) for record in records]


def _not_equal(records: list[Record]) -> list[bool]:
    return [record["chosen"].strip() != record["rejected"].strip() for record in records]


def _first_of_its_kind(records: list[Record]) -> list[bool]:
    seen: set[tuple[str, str, str]] = set()
    verdicts = []
    for record in records:
        kind = (json.dumps(record["prompt"]), record["chosen"], record["rejected"])
        verdicts.append(kind not in seen)
        seen.add(kind)
    return verdicts


def _of_length(tokenizer: PreTrainedTokenizerBase, least: int, most: float) -> Rule:
    def rule(records: list[Record]) -> list[bool]:
        if not records:
            return []
        chosen, rejected = (
            [
                len(ids)
                for ids in tokenizer([record[reply] for record in records], add_special_tokens=False)["input_ids"]
            ]
            for reply in ("chosen", "rejected")
        )
        return [max(two) <= most and max(two) >= least for two in zip(chosen, rejected, strict=True)]

    return rule


def _safe(is_safe: Judge) -> Rule:
    def rule(records: list[Record]) -> list[bool]:
        return [
            is_safe(record["prompt"], record["chosen"]) and is_safe(record["prompt"], record["rejected"])
            for record in records
        ]

    return rule


def _of_margin(least: float) -> Rule:
    def rule(records: list[Record]) -> list[bool]:
        verdicts = []
        for record in records:
            if "score_chosen" not in record or "score_rejected" not in record:
                raise ValueError(
                    f"record {record['record']}: the margin filter needs score_chosen and score_rejected; "
                    "set least_margin to None for data without scores"
                )
            # sigma(d) >= least, without overflow
            difference = record["score_chosen"] - record["score_rejected"]
            verdicts.append((1 + math.tanh(difference / 2)) / 2 >= least)
        return verdicts

    return rule


class CachedVerdicts:
    """A safety classifier that is asked once about each reply; its verdicts outlive the process.

    Verdicts are lines of a file, added as they come, so that an interrupted pass continues.

    Args:
        is_safe: the classifier.
        path: JSONL file of verdicts, made where it is not there.
        name: of the classifier and its version; verdicts of another one are not taken.

    Raises:
        ValueError: a file that is not one of verdicts. A last line cut short is left out.
    """

    def __init__(self, is_safe: Judge, path: str | Path, name: str) -> None:
        self._is_safe, self._path, self._name = is_safe, Path(path), name
        self._verdicts: dict[str, bool] = {}
        lines = self._path.read_text(encoding="utf-8").split("\n") if self._path.exists() else [""]
        for number, line in enumerate(lines[:-1], 1):
            try:
                verdict = json.loads(line)
                self._verdicts[verdict["reply"]] = verdict["safe"]
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise ValueError(f"{self._path.name}: line {number} is not a verdict") from error
        if lines[-1]:
            self._path.write_text("".join(f"{line}\n" for line in lines[:-1]), encoding="utf-8")

    def __call__(self, turns: Sequence[Message], reply: str) -> bool:
        """The verdict on a reply."""
        text = json.dumps([self._name, list(turns), reply])
        key = hashlib.sha256(text.encode()).hexdigest()
        if key not in self._verdicts:
            self._verdicts[key] = bool(self._is_safe(turns, reply))
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"reply": key, "safe": self._verdicts[key], "classifier": self._name}) + "\n")
        return self._verdicts[key]

"""Preference pairs to measure on: real ones, judged, with a tokenizer trained on them, and synthetic ones."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from side_by_side import JUDGED_PAIRS, ROOT
from tokenizers import Tokenizer

from inspo.command_line import UserError
from inspo.conditioning import Conditioning
from inspo.pairs import PreferencePair
from inspo.sequences import FittedPairs, Limits, fit
from scaled.model.random_weights import train_bpe

RESULTS = ROOT / "results" / "one_pass"
SPECIAL_TOKENS = ("<|begin|>", "<|user|>", "<|assistant|>", "<|end|>")


@dataclass(frozen=True)
class Selection:
    """Pairs to measure on.

    Attributes:
        pairs: within their limits.
        fitted: what their limits took, for the record.
        vocabulary: number of tokens.
    """

    pairs: tuple[PreferencePair, ...]
    fitted: dict[str, int]
    vocabulary: int

    def mean_lengths(self) -> tuple[float, float, float]:
        """Mean tokens of prompts, chosen and rejected responses."""
        sizes = np.array([[len(pair.prompt), len(pair.chosen), len(pair.rejected)] for pair in self.pairs])
        prompt, chosen, rejected = sizes.mean(0).tolist()
        return prompt, chosen, rejected

    @property
    def target_tokens(self) -> int:
        """Response tokens of all pairs: what plain DPO and INS-DPO score."""
        return sum(len(pair.chosen) + len(pair.rejected) for pair in self.pairs)


def judged_pairs(count: int, max_length: int, *, vocabulary: int, tuples: bool, seed: int) -> Selection:
    """Real pairs: AlpacaEval 2 instructions, two models' answers, the judge's preference.

    Args:
        count: how many pairs.
        max_length: the limit; responses are cut to it, as TRL does.
        vocabulary: tokens of the byte-level BPE tokenizer that is trained on all of the file's text.
        tuples: whether the limit holds for prompt and both responses together, as Section 5.3 has it,
            or for prompt and one response, as every trainer of plain DPO has it.
        seed: which pairs are drawn.

    Raises:
        UserError: no such file, or too few pairs.
    """
    if not JUDGED_PAIRS.is_file():
        raise UserError(
            f"no judged pairs: {JUDGED_PAIRS.name} must be in ../shared/data/judged_pairs, beside this checkout"
        )
    records = [record for record in _records() if record["p_a_preferred"] != 0.5]
    tokenizer = _trained_tokenizer(vocabulary)
    order = np.random.default_rng(seed).permutation(len(records)).tolist()
    limits = Limits(max_length=max_length, over_length=("cut_responses", "drop"))
    requests = Conditioning.SYMMETRIC if tuples else Conditioning.NONE
    candidates = []
    for index in order:
        candidates += list(_as_pair(tokenizer, records[index]))
        if len(candidates) == 2 * count:
            break
    fitted: FittedPairs = fit(candidates, requests, limits)
    if len(fitted.pairs) < count:
        raise UserError(f"{count} pairs were asked for, there are {len(fitted.pairs)}")
    counts = {what: number for what, number in fitted.counts.items() if number}
    return Selection(fitted.pairs[:count], counts, vocabulary)


def longest(selection: Selection, count: int) -> Selection:
    """The pairs with the most tokens."""
    order = sorted(selection.pairs, key=lambda pair: -len(pair.prompt) - len(pair.chosen) - len(pair.rejected))
    return Selection(tuple(order[:count]), selection.fitted, selection.vocabulary)


@cache
def _records() -> tuple[dict[str, Any], ...]:
    with gzip.open(JUDGED_PAIRS, "rt", encoding="utf-8") as lines:
        return tuple(json.loads(line) for line in lines)


def _as_pair(tokenizer: Tokenizer, record: dict[str, Any]) -> Iterator[PreferencePair]:
    """One chat template, applied to token ids; nothing where both answers are the same or one is empty."""
    begin, user, assistant, end = range(len(SPECIAL_TOKENS))  # the trainer numbers special tokens first
    prompt, first, second = (tokenizer.encode(record[key]).ids for key in ("prompt", "response_a", "response_b"))
    if first == second or not first or not second:
        return
    chosen, rejected = (first, second) if record["p_a_preferred"] > 0.5 else (second, first)
    yield PreferencePair(
        [begin, user, *prompt, end, assistant], [*chosen, end], [*rejected, end], record=int(record["index"])
    )


def _trained_tokenizer(vocabulary: int) -> Tokenizer:
    """Byte-level BPE, trained once and kept under results/."""
    digest = hashlib.sha256(JUDGED_PAIRS.read_bytes()).hexdigest()[:12]
    kept = RESULTS / f"tokenizer-{vocabulary}-{digest}.json"
    if kept.is_file():
        return Tokenizer.from_file(str(kept))
    text = (record[key] for record in _records() for key in ("prompt", "response_a", "response_b"))
    tokenizer = train_bpe(text, vocabulary, SPECIAL_TOKENS)
    kept.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(kept))
    return tokenizer

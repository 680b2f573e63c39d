"""The records that a run trains on and validates on: read, filtered, mixed, split by prompt.

Which of them are taken, in what order and on which side of the split is decided by their digests and numbers alone
(:func:`taken`, :func:`held_out`), so that it is the same whether records are at hand or on disk.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from scaled.config import DataOptions
from scaled.data.digests import Digests, as_array, digest, first_equal
from scaled.data.filters import NO_FILTERS, Filters, filter_records, filters_of
from scaled.data.layouts import Record, Why
from scaled.data.records import load_records

logger = logging.getLogger(__name__)

Key = Literal["data", "validation"]
"""The two keys of a configuration that name records."""

SPLITS: dict[Key, tuple[str, ...]] = {"data": ("train",), "validation": ("validation", "test")}
"""Of a source that has several splits and names none, the first of these."""

LeftOut = dict[str, dict[str, int]]
"""By key, what was wrong with records -> how many were left out."""

Integers = npt.NDArray[np.int64]


def read(options: DataOptions, key: Key, left_out: LeftOut) -> list[list[Record]]:
    """The records of each source of a key; those that were left out are counted.

    Raises:
        ValueError: as :func:`scaled.data.records.load_records`.
    """
    drop, enough = options.filters != "none", enough_of(options, key)
    counts = Counter(dict.fromkeys(["ties", *(get_args(Why) if drop else ())], 0))
    parts = [
        load_records(
            source,
            columns=options.columns,
            soft_labels=options.soft_labels,
            unusable="drop" if drop else "refuse",
            splits=SPLITS[key],
            limit=enough,
            counts=counts,
        )
        for source in getattr(options, key)
    ]
    left_out[key] = dict(counts)
    return parts


def enough_of(options: DataOptions, key: Key) -> int | None:
    """Records of a source after which no more need be read; None where all are."""
    sources = getattr(options, key)
    filters = isinstance(options.filters, str) and options.filters != "paper"
    return options.limit if key == "data" and filters and len(sources) == 1 and sources[0].weight == 1 else None


def filtered(
    options: DataOptions,
    key: Key,
    parts: Sequence[list[Record]],
    tokenizer: PreTrainedTokenizerBase,
    left_out: LeftOut,
    seed: int,
) -> list[Record]:
    """The records that `filters` keeps, of several sources mixed, at most `limit` of the data.

    How many each filter drops goes to `left_out` and the log.

    Raises:
        ValueError: a filter by margin for records without scores, or nothing left.
    """
    filters = filters_of(options.filters)
    if filters != NO_FILTERS:
        records = list(chain.from_iterable(parts))
        check_scores(options, key, filters, records)
        kept, dropped = filter_records(records, filters, tokenizer)
        left_out[key] |= dropped
        say_dropped(key, dropped, len(records))
        remaining = {id(record) for record in kept}
        parts = [[record for record in part if id(record) in remaining] for part in parts]
    order = taken(list(map(len, parts)), [source.weight for source in getattr(options, key)], seed_of(seed, key))
    if len(parts) > 1:
        shares = Counter(parts[part][index]["record"].rpartition(":")[0] for part, index in order.tolist())
        say_shares(key, shares)
    return [parts[part][index] for part, index in order[: options.limit if key == "data" else None].tolist()]


def check_scores(options: DataOptions, key: Key, filters: Filters, records: Sequence[Record]) -> None:
    """Refuse a filter by margin for records without scores.

    Raises:
        ValueError: so.
    """
    if filters.min_margin is not None and not all("score_chosen" in r and "score_rejected" in r for r in records):
        name = options.filters if isinstance(options.filters, str) else "{...}"
        raise ValueError(
            f"filters = {name} needs the columns score_chosen and score_rejected in {options.named(key)}: "
            "give them, or set filters=unusable, or min_margin: null in filters"
        )


def seed_of(seed: int, key: Key) -> list[int]:
    """What the draws of a key are seeded with."""
    return [seed, list(SPLITS).index(key)]


def say_dropped(key: Key, dropped: dict[str, int], total: int) -> None:
    """Log how many of all records the filters left out."""
    if any(dropped.values()):
        counts = ", ".join(f"{step} {count}" for step, count in dropped.items() if count)
        logger.warning("%s: filters left out %s of %d records", key, counts, total)


def say_shares(key: Key, shares: Counter[str]) -> None:
    """Log how many records of each source are taken."""
    logger.warning("%s: %s", key, ", ".join(f"{count} records of {name}" for name, count in shares.items()))


def taken(sizes: Sequence[int], weights: Sequence[float], seed: Sequence[int]) -> Integers:
    """Which records are taken, each as often as its part's weight says, the parts spread evenly among each other.

    Args:
        sizes: records of each part.
        weights: w takes round(w n) of n records: each of them floor(w) times, and of the rest, drawn without
            replacement, one more.
        seed: of the draws.

    Returns:
        (m, 2) part and number within it, in order.

    Raises:
        ValueError: a weight by which nothing is taken.

    >>> [len(taken([10], [weight], [0])) for weight in (0.25, 1.0, 2.5)]
    [2, 10, 25]
    """
    parts: list[Integers] = []
    places: list[npt.NDArray[np.float64]] = []
    for number, (size, weight) in enumerate(zip(sizes, weights, strict=True)):
        total = round(weight * size)
        if not size:  # by the filters
            continue
        if not total:
            raise ValueError(f"weight = {weight} takes none of {size} records: raise it")
        times, rest = divmod(total, size)
        drawn = np.random.default_rng([*seed, number]).permutation(size)[:rest]
        index = np.concatenate([np.tile(np.arange(size), times), np.sort(drawn)])
        parts.append(np.stack([np.full(total, number), index], axis=1))
        places.append((np.arange(total) + 0.5) / total)
    if not parts:
        return np.empty((0, 2), dtype=np.int64)
    return np.concatenate(parts)[np.argsort(np.concatenate(places), kind="stable")]


def split(records: Sequence[Record], size: int, seed: int) -> tuple[list[Record], list[Record]]:
    """Training and validation records, without a prompt in common; both in order: see :func:`held_out`."""
    out = held_out([prompt_of(record) for record in records], size, seed).tolist()
    sides = [[record for record, is_out in zip(records, out, strict=True) if is_out == side] for side in (False, True)]
    return sides[0], sides[1]


def held_out(prompts: Digests, size: int, seed: int) -> npt.NDArray[np.bool_]:
    """Which records are held out for validation: whole prompts are drawn until there are at least so many.

    Args:
        prompts: of n records, as :func:`prompt_of` has them.
        size: of the validation records.
        seed: of the draw.

    Returns:
        (n,) whether each is held out.

    Raises:
        ValueError: nothing is left to train on.
    """
    _, group = np.unique(first_equal(prompts), return_inverse=True)  # prompts in the order of their first records
    counts = np.bincount(group)
    drawn = np.random.default_rng([seed, 1]).permutation(len(counts))
    before = np.cumsum(counts[drawn]) - counts[drawn]
    out = np.isin(group, drawn[before < size])
    if out.all():
        raise ValueError(
            f"validation_size = {size} leaves nothing of {len(group)} records with {len(counts)} prompts "
            "to train on: lower it"
        )
    return out


def warn_of_shared_prompts(trained: Digests, validation: Digests) -> None:
    """Log how many validation records have a prompt that is trained on; both as :func:`prompt_of` has them."""
    first = first_equal(np.concatenate([as_array(trained), as_array(validation)]))
    shared = int((first[len(trained) :] < len(trained)).sum())
    if shared:
        logger.warning("validation: %d of %d records have a prompt that is trained on", shared, len(validation))


def prompt_of(record: Record) -> bytes:
    """A digest of what makes a prompt the same as another: who says what, whatever the spaces and line breaks."""
    return digest(json.dumps([[turn["role"], " ".join(turn["content"].split())] for turn in record["prompt"]]))

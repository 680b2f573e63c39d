"""The records that a run trains on and validates on: read, filtered, mixed, split by prompt."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Literal, get_args

import numpy as np
from transformers import PreTrainedTokenizerBase

from scaled.config import DataOptions
from scaled.data.filters import PRESETS, filter_records
from scaled.data.layouts import Record, Why
from scaled.data.records import load_records

logger = logging.getLogger(__name__)

Key = Literal["data", "validation"]
"""The two keys of a configuration that name records."""

SPLITS: dict[Key, tuple[str, ...]] = {"data": ("train",), "validation": ("validation", "test")}
"""Of a source that has several splits and names none, the first of these."""

LeftOut = dict[str, dict[str, int]]
"""By key, what was wrong with records -> how many were left out."""


def read(options: DataOptions, key: Key, left_out: LeftOut) -> list[list[Record]]:
    """The records of each source of a key; those that were left out are counted.

    Raises:
        ValueError: as :func:`scaled.data.records.load_records`.
    """
    drop = options.filters != "none"
    counts = Counter(dict.fromkeys(["ties", *(get_args(Why) if drop else ())], 0))
    sources = getattr(options, key)
    enough = options.limit if key == "data" and options.filters != "paper" and len(sources) == 1 else None
    parts = [
        load_records(
            source,
            columns=options.columns,
            soft_labels=options.soft_labels,
            unusable="drop" if drop else "refuse",
            splits=SPLITS[key],
            limit=enough if source.weight == 1 else None,
            counts=counts,
        )
        for source in sources
    ]
    left_out[key] = dict(counts)
    return parts


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
    filters = PRESETS.get(options.filters)
    if filters is not None:
        records = list(chain.from_iterable(parts))
        if filters.min_margin is not None and not all("score_chosen" in r and "score_rejected" in r for r in records):
            raise ValueError(
                f"filters = {options.filters} needs the columns score_chosen and score_rejected in "
                f"{options.named(key)}: give them, or set filters=unusable"
            )
        kept, dropped = filter_records(records, filters, tokenizer)
        left_out[key] |= dropped
        if any(dropped.values()):
            counts = ", ".join(f"{step} {count}" for step, count in dropped.items() if count)
            logger.warning("%s: filters=%s left out %s of %d records", key, options.filters, counts, len(records))
        remaining = {id(record) for record in kept}
        parts = [[record for record in part if id(record) in remaining] for part in parts]
    records = mixed(parts, [source.weight for source in getattr(options, key)], [seed, list(SPLITS).index(key)])
    if len(parts) > 1:
        shares = Counter(record["record"].rpartition(":")[0] for record in records)
        logger.warning("%s: %s", key, ", ".join(f"{count} records of {name}" for name, count in shares.items()))
    return records[: options.limit] if key == "data" else records


def mixed(parts: Sequence[list[Record]], weights: Sequence[float], seed: Sequence[int]) -> list[Record]:
    """Each part's records as often as its weight says, the parts spread evenly among each other.

    Args:
        parts: the records of each source.
        weights: w takes round(w n) of n records: each of them floor(w) times, and of the rest, drawn without
            replacement, one more.
        seed: of the draws.

    Raises:
        ValueError: a weight by which nothing is taken.

    >>> [len(mixed([[{}] * 10], [weight], [0])) for weight in (0.25, 1.0, 2.5)]
    [2, 10, 25]
    """
    taken = []
    for number, (part, weight) in enumerate(zip(parts, weights, strict=True)):
        total = round(weight * len(part))
        if not part:  # by the filters
            continue
        if not total:
            raise ValueError(f"weight = {weight} takes none of {len(part)} records: raise it")
        times, rest = divmod(total, len(part))
        drawn = np.random.default_rng([*seed, number]).permutation(len(part))[:rest]
        records = [*part * times, *(part[index] for index in sorted(drawn))]
        taken += [((place + 0.5) / total, number, record) for place, record in enumerate(records)]
    return [record for _, _, record in sorted(taken, key=lambda each: each[:2])]


def split(records: Sequence[Record], size: int, seed: int) -> tuple[list[Record], list[Record]]:
    """Training and validation records, without a prompt in common; both in order.

    Args:
        records: all of them.
        size: of the validation records; whole prompts are drawn until there are at least so many.
        seed: of the draw.

    Raises:
        ValueError: nothing is left to train on.
    """
    prompts: dict[object, list[int]] = {}
    for index, record in enumerate(records):
        prompts.setdefault(prompt_of(record), []).append(index)
    groups = list(prompts.values())
    held_out: set[int] = set()
    for group in np.random.default_rng([seed, 1]).permutation(len(groups)):
        if len(held_out) >= size:
            break
        held_out.update(groups[group])
    if len(held_out) == len(records):
        raise ValueError(
            f"validation_size = {size} leaves nothing of {len(records)} records with {len(groups)} prompts "
            "to train on: lower it"
        )
    return (
        [record for index, record in enumerate(records) if index not in held_out],
        [record for index, record in enumerate(records) if index in held_out],
    )


def warn_of_shared_prompts(records: Iterable[Record], validation: Sequence[Record]) -> None:
    """Log how many validation records have a prompt that is trained on."""
    trained_on = {prompt_of(record) for record in records}
    shared = sum(prompt_of(record) in trained_on for record in validation)
    if shared:
        logger.warning("validation: %d of %d records have a prompt that is trained on", shared, len(validation))


def prompt_of(record: Record) -> tuple[tuple[str, str], ...]:
    """What makes a prompt the same as another: who says what, whatever the spaces and line breaks."""
    return tuple((turn["role"], " ".join(turn["content"].split())) for turn in record["prompt"])

"""The records that a run trains on and validates on: read, filtered, split."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from scaled.config import DataOptions
from scaled.data.filters import PRESETS, filter_records
from scaled.data.records import Record, load_records

logger = logging.getLogger(__name__)

Source = Literal["data", "validation"]
"""The two keys of a configuration that name records."""

LeftOut = dict[str, dict[str, int]]
"""By source, what happened to its records -> how many were left out."""


def read(options: DataOptions, source: Source, left_out: LeftOut) -> list[Record]:
    """The records of one source, at most `limit` of the data; ties that were left out are counted.

    Raises:
        ValueError: no such file, or as :func:`scaled.data.records.load_records`.
    """
    path = Path(str(getattr(options, source)))
    if not path.exists():
        raise ValueError(f"{source} = {path}: there is no such file; give your records with --set {source}=FILE")
    counts: Counter[str] = Counter()
    records = load_records(path, soft_labels=options.soft_labels, counts=counts)
    left_out[source] = {"ties": counts["ties_left_out"]}
    return records[: options.limit] if source == "data" else records


def filtered(
    options: DataOptions,
    source: Source,
    records: list[Record],
    tokenizer: PreTrainedTokenizerBase,
    left_out: LeftOut,
) -> list[Record]:
    """The records that `filters` keeps; how many each of its steps drops goes to `left_out` and the log.

    Raises:
        ValueError: a filter by margin for records without scores, or nothing left.
    """
    if options.filters == "none":
        return records
    filters = PRESETS[options.filters]
    if filters.min_margin is not None and not all("score_chosen" in r and "score_rejected" in r for r in records):
        raise ValueError(
            f"filters = {options.filters} needs the columns score_chosen and score_rejected in "
            f"{getattr(options, source)}: give them, or set filters=unusable"
        )
    kept, dropped = filter_records(records, filters, tokenizer)
    left_out[source] |= dropped
    if any(dropped.values()):
        counts = ", ".join(f"{step} {count}" for step, count in dropped.items() if count)
        logger.warning("%s: filters=%s left out %s of %d records", source, options.filters, counts, len(records))
    return kept


def split(records: Sequence[Record], size: int, seed: int) -> tuple[list[Record], list[Record]]:
    """Training records, and `size` validation records drawn with the seed; both in order.

    Raises:
        ValueError: nothing is left to train on.
    """
    if size >= len(records):
        raise ValueError(f"validation_size = {size} leaves nothing of {len(records)} records to train on: lower it")
    drawn = set(np.random.default_rng([seed, 1]).permutation(len(records))[:size].tolist())
    return (
        [record for index, record in enumerate(records) if index not in drawn],
        [record for index, record in enumerate(records) if index in drawn],
    )

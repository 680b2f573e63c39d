"""Which pairs each rank scores at which step: made ahead, so that every update is exactly `batch_size` pairs.

**The stream.** The epochs' orders, one after another, are one stream of pairs, cut into batches. An
epoch's remainder is not lost: it opens the next epoch's first batch. Only what is left of the whole
run, less than one batch, is left out; the plan says how many.

**An update.** Its pairs are dealt into ``world_size x accumulation`` rows, the same number in every
update, so that every rank takes part in every collective. With a row of `row_tokens` the number is
the smallest that fits the fullest update, and rows are filled evenly; without, each row has
`micro_batch` pairs. What is summed is the same either way: a rank's loss is
``world_size / batch_size`` times the sum over its pairs, gradients are summed over accumulation and
averaged over ranks, so an update is the mean over its `batch_size` pairs.

**KL groups.** KTO's estimate is a mean over fixed runs of `kl_group` pairs of an update, wherever
those are scored.

Shapes are plain Python; an update's position p runs from 0 to batch_size - 1 and does not depend on
ranks or rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from inspo.prefix_tree import plan_packs


class Slot(NamedTuple):
    """One row of one rank: positions within the update, and the pairs there, both in order."""

    positions: tuple[int, ...]
    pairs: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """A run's updates.

    Attributes:
        updates: for each update its world_size x accumulation slots; slot ``step * world_size + rank`` is the
            row of `rank` at micro-step `step`.
        world_size: processes.
        accumulation: micro-steps per update, the same in all.
        batch_size: pairs per update.
        pairs: pairs of the data set.
        left_out: pairs at the stream's end that fill no update.
    """

    updates: tuple[tuple[Slot, ...], ...]
    world_size: int
    accumulation: int
    batch_size: int
    pairs: int
    left_out: int

    @property
    def slots(self) -> list[Slot]:
        """Every slot, update by update."""
        return [slot for update in self.updates for slot in update]

    def rows_of(self, update: int, rank: int) -> list[Slot]:
        """The rows that a rank scores in an update, counted from 1, one for each micro-step."""
        return list(self.updates[update - 1][rank :: self.world_size])

    @property
    def updates_per_epoch(self) -> int:
        """Updates that begin within one epoch, rounded up."""
        return math.ceil(self.pairs / self.batch_size)


MOST_PAIRS = 100_000_000
"""Pairs of a whole run, each counted as often as it is trained on: some gigabytes of plan."""


def epoch_stream(pairs: int, epochs: float, seed: int, *, shuffle: bool = True) -> list[int]:
    """Every epoch's order, one after another.

    Args:
        pairs: size of the data set.
        epochs: passes; a fraction takes that share of the last order.
        seed: each epoch has its own order.
        shuffle: False keeps the data's order.

    Raises:
        ValueError: more pairs than a plan can hold.

    >>> epoch_stream(3, 1.67, 0, shuffle=False)
    [0, 1, 2, 0, 1]
    """
    if epochs * pairs > MOST_PAIRS:
        raise ValueError(
            f"epochs = {epochs:g} of {pairs} pairs are more than the {MOST_PAIRS:,} that are planned: lower it"
        )
    orders = [
        np.random.default_rng([seed, epoch]).permutation(pairs) if shuffle else np.arange(pairs)
        for epoch in range(math.ceil(epochs))
    ]
    return np.concatenate(orders)[: round(epochs * pairs)].tolist() if orders else []


def make_plan(
    lengths: Sequence[int],
    stream: Sequence[int],
    *,
    world_size: int,
    batch_size: int,
    micro_batch: int = 1,
    row_tokens: int | None = None,
    max_updates: int | None = None,
) -> Plan:
    """Cut a stream into updates and deal each update's pairs into rows.

    Args:
        lengths: tokens of each pair's tree.
        stream: pairs in the order in which they are trained on.
        world_size: processes.
        batch_size: pairs per update.
        micro_batch: pairs per row, where `row_tokens` is None.
        row_tokens: maximum tokens of a row.
        max_updates: no more updates than these.

    Raises:
        ValueError: fewer pairs than one batch, a batch that ranks and rows do not divide, or a tree
            that is larger than a row.

    >>> plan = make_plan([5, 3, 4, 4], [0, 1, 2, 3], world_size=2, batch_size=4, row_tokens=8)
    >>> [slot.pairs for slot in plan.updates[0]], plan.accumulation
    ([(0, 1), (2, 3)], 1)
    """
    count = len(stream) // batch_size
    if count == 0:
        raise ValueError(
            f"{len(stream)} pairs in all epochs are fewer than one update of batch_size = {batch_size}: lower it"
        )
    count = min(count, max_updates or count)
    batches = [list(stream[start : start + batch_size]) for start in range(0, count * batch_size, batch_size)]
    if row_tokens is None:
        rows = _rows_of_pairs(batches, world_size, batch_size, micro_batch)
    else:
        rows = _rows_of_tokens(batches, lengths, world_size, row_tokens)
    updates = tuple(
        tuple(Slot(tuple(row), tuple(batch[position] for position in row)) for row in update)
        for batch, update in zip(batches, rows, strict=True)
    )
    left_out = len(stream) - count * batch_size
    return Plan(updates, world_size, len(updates[0]) // world_size, batch_size, len(lengths), left_out)


def _rows_of_pairs(
    batches: list[list[int]], world_size: int, batch_size: int, micro_batch: int
) -> list[list[list[int]]]:
    if batch_size % (world_size * micro_batch):
        raise ValueError(
            f"batch_size = {batch_size} is not a multiple of {world_size} ranks x micro_batch = {micro_batch}: "
            "change one of them"
        )
    row = [list(range(start, start + micro_batch)) for start in range(0, batch_size, micro_batch)]
    return [row] * len(batches)


def _rows_of_tokens(
    batches: list[list[int]], lengths: Sequence[int], world_size: int, row_tokens: int
) -> list[list[list[int]]]:
    sizes = [[lengths[pair] for pair in batch] for batch in batches]
    try:
        packs = [plan_packs(size, row_tokens) for size in sizes]
    except ValueError:
        raise ValueError(
            f"row_tokens = {row_tokens} is less than the largest pair's {max(map(max, sizes))} tokens: "
            "raise it or lower max_length"
        ) from None
    slots = world_size * math.ceil(max(map(len, packs)) / world_size)
    if slots > len(batches[0]):
        raise ValueError(
            f"batch_size = {len(batches[0])} pairs cannot fill {slots} rows "
            f"({world_size} ranks x {slots // world_size}): raise row_tokens or batch_size, or use fewer ranks"
        )
    return [_spread(size, pack, slots, row_tokens) for size, pack in zip(sizes, packs, strict=True)]


def _spread(sizes: Sequence[int], packs: list[list[int]], slots: int, row_tokens: int) -> list[list[int]]:
    """Deal an update's trees evenly into exactly `slots` rows, the largest first into the emptiest row.

    Where an even deal overflows a row, the tighter first-fit packs are kept and the fullest are split.
    Rows come in order of size, so that ranks meet rows of like size at the same micro-step.
    """
    rows: list[list[int]] = [[] for _ in range(slots)]
    filled = [0] * slots
    for tree in sorted(range(len(sizes)), key=lambda tree: -sizes[tree]):
        emptiest = min(range(slots), key=lambda row: (filled[row], len(rows[row])))
        rows[emptiest].append(tree)
        filled[emptiest] += sizes[tree]
    if max(filled) > row_tokens or not all(rows):
        rows = [list(pack) for pack in packs]
        while len(rows) < slots:
            longest = max(rows, key=len)
            rows.remove(longest)
            rows += [longest[: len(longest) // 2], longest[len(longest) // 2 :]]
    return sorted((sorted(row) for row in rows), key=lambda row: (-sum(sizes[tree] for tree in row), row))


def validation_slots(
    lengths: Sequence[int], *, world_size: int, micro_batch: int = 1, row_tokens: int | None = None
) -> list[Slot]:
    """Rows that score every pair of the validation data once, a multiple of `world_size` of them.

    Where the ranks do not divide the rows, the first row is repeated on other ranks; sums over ranks must
    count its pairs once, by position.
    """
    if row_tokens is None:
        rows = [
            list(range(start, min(start + micro_batch, len(lengths)))) for start in range(0, len(lengths), micro_batch)
        ]
    else:
        rows = plan_packs(lengths, row_tokens)
    rows += [rows[0]] * (-len(rows) % world_size)
    return [Slot(tuple(row), tuple(row)) for row in rows]

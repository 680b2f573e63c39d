"""Which pairs each rank scores at which step: made ahead, so that every update is exactly `batch_size` pairs.

**The stream.** The epochs' orders, one after another, are one stream of pairs, cut into batches. An
epoch's remainder is not lost: it opens the next epoch's first batch. Only what is left of the whole
run, less than one batch, is left out; the plan says how many.

**An update.** Its pairs are dealt into ``world_size x accumulation`` rows, the same number in every
update, so that every rank takes part in every collective. With a row of `row_tokens` the number is
the smallest that fits the fullest update, and rows are filled evenly; without, each row has
`micro_batch` pairs. An update's pairs of one prompt come into one row, where they share a tree, unless
that leaves rows uneven. What is summed is the same either way: a rank's loss is
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

from scaled.data.packing import Integers, Row, SharedPrompts, deal_pairs, pack_pairs


class Slot(NamedTuple):
    """One row of one rank: positions within the update, and the pairs there, those of one tree next to each other."""

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


def epoch_stream(
    pairs: int, epochs: float, seed: int, *, shuffle: bool = True, together: Integers | None = None
) -> list[int]:
    """Every epoch's order, one after another.

    Args:
        pairs: size of the data set.
        epochs: passes; a fraction takes that share of the last order.
        seed: each epoch has its own order.
        shuffle: False keeps the data's order.
        together: (pairs,) the prompt of each pair, to shuffle prompts in place of pairs: those of one prompt then
            follow each other.

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
        _shuffled(np.random.default_rng([seed, epoch]), pairs, together) if shuffle else np.arange(pairs)
        for epoch in range(math.ceil(epochs))
    ]
    return np.concatenate(orders)[: round(epochs * pairs)].tolist() if orders else []


def _shuffled(draw: np.random.Generator, pairs: int, together: Integers | None) -> Integers:
    order = draw.permutation(pairs)
    if together is None:
        return order
    _, prompts = np.unique(together, return_inverse=True)
    place = draw.permutation(int(prompts.max(initial=-1)) + 1)
    return order[np.argsort(place[prompts[order]], kind="stable")]


def make_plan(
    lengths: Sequence[int],
    stream: Sequence[int],
    shared: SharedPrompts | None = None,
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
        shared: which pairs may share a tree; None for none.
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
        rows = _rows_of_pairs(batches, shared, world_size, batch_size, micro_batch)
    else:
        rows = deal_pairs(batches, lengths, shared, world_size=world_size, row_tokens=row_tokens)
    updates = tuple(
        tuple(Slot(tuple(row), tuple(batch[position] for position in row)) for row in update)
        for batch, update in zip(batches, rows, strict=True)
    )
    left_out = len(stream) - count * batch_size
    return Plan(updates, world_size, len(updates[0]) // world_size, batch_size, len(lengths), left_out)


def _rows_of_pairs(
    batches: list[list[int]], shared: SharedPrompts | None, world_size: int, batch_size: int, micro_batch: int
) -> list[list[Row]]:
    if batch_size % (world_size * micro_batch):
        raise ValueError(
            f"batch_size = {batch_size} is not a multiple of {world_size} ranks x micro_batch = {micro_batch}: "
            "change one of them"
        )
    return [_in_order(batch, shared, micro_batch) for batch in batches]


def _in_order(pairs: Sequence[int], shared: SharedPrompts | None, micro_batch: int) -> list[Row]:
    """Rows of so many pairs, one row after the other; within a row those of one prompt next to each other."""
    rows = [list(range(len(pairs))[start : start + micro_batch]) for start in range(0, len(pairs), micro_batch)]
    if shared is None:
        return rows
    numbers = shared.numbers[list(pairs)].tolist()
    firsts: list[dict[int, int]] = [{numbers[place]: place for place in reversed(row)} for row in rows]
    return [
        sorted(row, key=lambda place, first=first: first[numbers[place]])  # type: ignore[misc]  # mypy sees no default
        for row, first in zip(rows, firsts, strict=True)
    ]


def validation_slots(
    lengths: Sequence[int],
    shared: SharedPrompts | None = None,
    *,
    world_size: int,
    micro_batch: int = 1,
    row_tokens: int | None = None,
) -> list[Slot]:
    """Rows that score every pair of the validation data once, a multiple of `world_size` of them.

    Where the ranks do not divide the rows, the first row is repeated on other ranks; sums over ranks must
    count its pairs once, by position.
    """
    pairs = range(len(lengths))
    if row_tokens is None:
        rows = _in_order(pairs, shared, micro_batch)
    else:
        rows = pack_pairs(pairs, lengths, shared, row_tokens)
    rows += [rows[0]] * (-len(rows) % world_size)
    return [Slot(tuple(row), tuple(row)) for row in rows]

"""Which pairs share a row, and which of them a tree: those of one prompt, for as long as the tree fits into the row.

Shapes: n pairs of the data set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from inspo.prefix_tree import plan_packs
from inspo.tree_size import TreeSize

Integers = npt.NDArray[np.int64]
Sequences = Sequence[npt.NDArray[Any]]
"""What is scored of a pair."""

Row = list[int]
"""Places of pairs among those that are packed; those of one tree next to each other."""


@dataclass(frozen=True)
class SharedPrompts:
    """Pairs that may share a tree.

    Attributes:
        numbers: (n,) the prompt of each pair; pairs of one number have one prompt.
        sequences: pair -> the sequences of token ids that are scored of it.
    """

    numbers: Integers
    sequences: Callable[[int], Sequences]


class Parts(NamedTuple):
    """Pairs dealt into parts that have a tree each. The parts of one prompt follow each other.

    Attributes:
        members: for each part the places of its pairs.
        sizes: tokens of each part's tree; two of one prompt that come into one row are one tree there, and smaller.
    """

    members: list[list[int]]
    sizes: list[int]

    def row(self, parts: Iterable[int]) -> Row:
        """The places of some parts' pairs, part after part."""
        return [place for part in sorted(parts) for place in self.members[part]]


def parts_of(
    pairs: Sequence[int],
    lengths: Sequence[int],
    shared: SharedPrompts | None,
    *,
    row_tokens: int,
    most: int | None = None,
) -> Parts:
    """Deal pairs into parts of one prompt each.

    Args:
        pairs: numbers of pairs of the data set.
        lengths: tokens of the own tree of each of them.
        shared: which pairs may share a tree; None for none.
        row_tokens: a part grows for as long as its tree has at most so many tokens.
        most: pairs of a part; None for as many as there are.
    """
    if shared is None:
        return Parts([[place] for place in range(len(pairs))], list(lengths))
    groups: dict[int, list[int]] = {}
    for place, pair in enumerate(pairs):
        groups.setdefault(int(shared.numbers[pair]), []).append(place)
    found = Parts([], [])
    for group in groups.values():
        if len(group) == 1 or most == 1:
            parts = [([place], lengths[place]) for place in group]
        else:
            parts = list(_cut(group, [shared.sequences(pairs[place]) for place in group], row_tokens, most))
        for members, size in parts:
            found.members.append(members)
            found.sizes.append(size)
    return found


def _cut(
    group: Sequence[int], sequences: Sequence[Sequences], row_tokens: int, most: int | None
) -> Iterator[tuple[list[int], int]]:
    """Places of one prompt's pairs in parts, and the size of each part's tree."""
    part, tree = [group[0]], TreeSize().add(sequences[0])
    for place, scored in zip(group[1:], sequences[1:], strict=True):
        size = tree.rows
        if len(part) == most or tree.add(scored).rows > row_tokens:
            yield part, size
            part, tree = [], TreeSize().add(scored)
        part.append(place)
    yield part, tree.rows


def pack_pairs(
    pairs: Sequence[int], lengths: Sequence[int], shared: SharedPrompts | None, row_tokens: int
) -> list[Row]:
    """Pairs in as few rows as first fit finds; a pair that is longer than a row has one of its own.

    Args:
        pairs: numbers of pairs of the data set.
        lengths: tokens of the own tree of each of them.
        shared: which pairs may share a tree; None for none.
        row_tokens: maximum tokens of a row.
    """
    parts = parts_of(pairs, lengths, shared, row_tokens=row_tokens)
    return [parts.row(pack) for pack in plan_packs([min(size, row_tokens) for size in parts.sizes], row_tokens)]


def deal_pairs(
    batches: Sequence[Sequence[int]],
    lengths: Sequence[int],
    shared: SharedPrompts | None,
    *,
    world_size: int,
    row_tokens: int,
) -> list[list[Row]]:
    """Deal every batch's pairs into one number of rows, a multiple of `world_size` and the smallest that fits all.

    Args:
        batches: of pairs' numbers, equally long.
        lengths: tokens of each pair's own tree.
        shared: which pairs may share a tree; None for none.
        world_size: processes, which wait for the one with the fullest row.
        row_tokens: maximum tokens of a row.

    Returns:
        For each batch its rows, in order of size.

    Raises:
        ValueError: a pair that is longer than a row, or fewer pairs than rows.
    """
    sizes = [[lengths[pair] for pair in batch] for batch in batches]
    longest = max(map(max, sizes))
    if longest > row_tokens:
        raise ValueError(
            f"row_tokens = {row_tokens} is less than the largest pair's {longest} tokens: raise it or lower max_length"
        )
    whole = [parts_of(*each, shared, row_tokens=row_tokens) for each in zip(batches, sizes, strict=True)]
    fewest = max(len(plan_packs(parts.sizes, row_tokens)) for parts in whole)
    for rows in range(world_size * math.ceil(fewest / world_size), len(batches[0]) + 1, world_size):
        dealt = []
        for batch, alone, parts in zip(batches, sizes, whole, strict=True):
            smaller = _smaller(batch, alone, parts, shared, row_tokens)
            found = _deal(parts, smaller, rows, world_size=world_size, row_tokens=row_tokens)
            if found is None:
                break
            dealt.append(found)
        else:
            return dealt
    slots = world_size * math.ceil(fewest / world_size)
    raise ValueError(
        f"batch_size = {len(batches[0])} pairs cannot fill {slots} rows ({world_size} ranks x {slots // world_size}): "
        "raise row_tokens or batch_size, or use fewer ranks"
    )


EVEN = 1.02
"""Ranks that are held up for at most so many times the mean rank's tokens are even enough."""


def _smaller(
    batch: Sequence[int], lengths: Sequence[int], whole: Parts, shared: SharedPrompts | None, row_tokens: int
) -> Iterator[Parts]:
    """The same pairs in parts of at most half as many pairs, a quarter, and so on down to one."""
    most = max(map(len, whole.members))
    if shared is not None and most > 1:
        kept = replace(shared, sequences=cache(shared.sequences))
        while most > 1:
            most = math.ceil(most / 2)
            yield parts_of(batch, lengths, kept, row_tokens=row_tokens, most=most)


def _deal(whole: Parts, smaller: Iterable[Parts], rows: int, *, world_size: int, row_tokens: int) -> list[Row] | None:
    """An update's pairs in so many rows, in whole or smaller parts, whichever takes the ranks the least time.

    Small parts are dealt more evenly, but have prompts several times. A micro-step lasts as long as its fullest row.
    None where they fit in no size.
    """
    best: list[Row] | None = None
    least = math.inf
    for parts in chain([whole], smaller):
        if len(parts.sizes) < rows or len(packs := plan_packs(parts.sizes, row_tokens)) > rows:
            continue
        dealt = _spread(parts.sizes, packs, rows, row_tokens)
        waited = sum(sum(parts.sizes[part] for part in row) for row in dealt[::world_size])
        if waited < least:
            best, least = [parts.row(row) for row in dealt], waited
        if least <= EVEN * sum(parts.sizes) / world_size:
            break
    return best


def _spread(sizes: Sequence[int], packs: list[list[int]], slots: int, row_tokens: int) -> list[list[int]]:
    """Deal trees evenly into exactly `slots` rows, the largest first into the emptiest row.

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

"""Sequences of pairs in tokens that need not be in memory: given, cut to their limits, or mismatched for KTO.

Shapes: n pairs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from inspo.conditioning import LogpRequest, Role
from inspo.pairs import PreferencePair
from inspo.sequences import Limits, Separator, fit, sequence_length

Integers = npt.NDArray[np.int64]


class Tokens(NamedTuple):
    """A pair's tokens as arrays, its preference, and which tokens are masked: (m, 2) spans, or () for none."""

    prompt: npt.NDArray[Any]
    chosen: npt.NDArray[Any]
    rejected: npt.NDArray[Any]
    preference: float
    chosen_masked: Sequence[Any] = ()
    rejected_masked: Sequence[Any] = ()


class Pairs(Sequence[PreferencePair], ABC):
    """n pairs, each made where it is asked for.

    Attributes:
        sizes: (n, 3) tokens of prompt, chosen and rejected response.
    """

    sizes: Integers

    @abstractmethod
    def pair(self, index: int) -> PreferencePair:
        """The pair of a number from 0 to n - 1."""

    def tokens(self, index: int) -> Tokens:
        """Its tokens."""
        pair = self.pair(index)
        prompt, *replies = (np.array(part, dtype=np.int32) for part in (pair.prompt, pair.chosen, pair.rejected))
        return Tokens(prompt, replies[0], replies[1], pair.preference, pair.chosen_masked, pair.rejected_masked)

    def all_tokens(self) -> Iterator[Tokens]:
        """The tokens of every pair, in order."""
        return map(self.tokens, range(len(self)))

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, index: int) -> PreferencePair: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PreferencePair]: ...
    def __getitem__(self, index: int | slice) -> PreferencePair | Sequence[PreferencePair]:
        numbers = range(len(self))[index]
        return self.pair(numbers) if isinstance(numbers, int) else [self.pair(number) for number in numbers]


class InMemory(Pairs):
    """Pairs that are there."""

    def __init__(self, pairs: Iterable[PreferencePair]) -> None:
        self._pairs = tuple(pairs)
        sizes = [(len(pair.prompt), len(pair.chosen), len(pair.rejected)) for pair in self._pairs]
        self.sizes = np.array(sizes, dtype=np.int64).reshape(-1, 3)

    def pair(self, index: int) -> PreferencePair:
        """See :class:`Pairs`."""
        return self._pairs[index]


class Chosen(Pairs):
    """Some pairs of others, a few of which are changed.

    Args:
        pairs: the others.
        index: (n,) which of them.
        change: makes a pair of these another one.
        changed: which of `pairs` to change -> its sizes afterwards.
    """

    def __init__(
        self,
        pairs: Pairs,
        index: Integers,
        change: Callable[[PreferencePair], PreferencePair] = lambda pair: pair,
        changed: dict[int, tuple[int, int, int]] | None = None,
    ) -> None:
        self._pairs, self._index, self._change, self._changed = pairs, index, change, changed or {}
        self.sizes = pairs.sizes[index]
        for place in np.flatnonzero(np.isin(index, list(self._changed))).tolist():
            self.sizes[place] = self._changed[int(index[place])]

    def pair(self, index: int) -> PreferencePair:
        """See :class:`Pairs`."""
        number = int(self._index[index])
        pair = self._pairs[number]
        return self._change(pair) if number in self._changed else pair

    def tokens(self, index: int) -> Tokens:
        """See :class:`Pairs`."""
        number = int(self._index[index])
        return super().tokens(index) if number in self._changed else self._pairs.tokens(number)


class Mismatched(Pairs):
    """Each prompt with the responses of another pair.

    Args:
        pairs: with prompts and responses.
        others: (n,) for each prompt the pair whose responses follow it.
    """

    def __init__(self, pairs: Pairs, others: Integers) -> None:
        self._pairs, self._others = pairs, others
        self.sizes = pairs.sizes[others]
        self.sizes[:, 0] = pairs.sizes[:, 0]

    def pair(self, index: int) -> PreferencePair:
        """See :class:`Pairs`."""
        pair, other = self._pairs[index], self._pairs[int(self._others[index])]
        return replace(other, prompt=pair.prompt, record=pair.record, cuttable=pair.cuttable)


def fitted(
    pairs: Pairs, requests: Collection[LogpRequest], limits: Limits, separator: Separator
) -> tuple[Pairs, Integers, dict[str, int]]:
    """Pairs within their limits, as :func:`inspo.sequences.fit` makes them; only longer ones are looked at.

    Args:
        pairs: n pairs.
        requests: whose sequences the limits hold for.
        limits: how long they may be.
        separator: tokens around a context.

    Returns:
        The pairs that are kept, which of `pairs` these are, and what happened how often.

    Raises:
        ValueError: a pair that no policy makes fit, naming its record.
    """
    longest, over_cap = longest_sequences(pairs.sizes, requests, limits, separator), _over_cap(pairs, requests, limits)
    too_long = np.zeros(len(pairs), dtype=bool) if limits.max_length is None else longest > limits.max_length
    if limits.over_cap == "drop":
        too_long |= over_cap
    counts = dict(fit((), requests, limits, separator=separator).counts)
    counts["draft_cut"] = int(over_cap[~too_long].sum())
    kept, changed = ~too_long, dict[int, tuple[int, int, int]]()
    for index in np.flatnonzero(too_long).tolist():
        one = fit([pairs[index]], requests, limits, separator=separator)
        for event, count in one.counts.items():
            counts[event] += count
        for pair in one.pairs:
            kept[index] = True
            changed[index] = len(pair.prompt), len(pair.chosen), len(pair.rejected)
    left = np.flatnonzero(kept)
    if not too_long.any():
        return pairs, left, counts

    def cut(pair: PreferencePair) -> PreferencePair:
        return fit([pair], requests, limits, separator=separator).pairs[0]

    return Chosen(pairs, left, cut, changed), left, counts


def longest_sequences(
    sizes: Integers, requests: Collection[LogpRequest], limits: Limits, separator: Separator
) -> Integers:
    """(n,) tokens of each pair's longest sequence, by its sizes (n, 3)."""
    cap = limits.draft_tokens
    lengths = [sequence_length(sizes.T, request, separator=separator, draft_cap=cap) for request in requests]
    longest: Integers = np.array(lengths, dtype=np.int64).reshape(len(lengths), -1).max(axis=0)
    return longest


def _over_cap(pairs: Pairs, requests: Collection[LogpRequest], limits: Limits) -> npt.NDArray[np.bool_]:
    """(n,) whether a context is longer than the cap."""
    cap, found = limits.draft_tokens, np.zeros(len(pairs), dtype=bool)
    if cap is not None:
        for context in {request.context for request in requests} - {None}:
            found |= pairs.sizes[:, 1 if context is Role.CHOSEN else 2] > cap
    return found

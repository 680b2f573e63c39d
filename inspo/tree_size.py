"""How many rows a prefix tree of :mod:`inspo.prefix_tree` has, without making it. Integers only."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int32]


class TreeSize:
    """The size of a tree as sequences join it, in any order.

    Attributes:
        rows: different prefixes of the sequences so far, each without its last token, which predicts nothing.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._ordered: list[bytes] = []  # big-endian, so that they sort as their token ids do

    def add(self, sequences: Iterable[Integers]) -> TreeSize:
        """Let sequences join; returns itself.

        In sorted order a sequence shares most with one of its neighbors.
        """
        for sequence in sequences:
            one = sequence[:-1].astype(">i4").tobytes()
            place = bisect_left(self._ordered, one)
            shared = max((_shared(one, other) for other in self._ordered[max(0, place - 1) : place + 1]), default=0)
            self.rows += len(sequence) - 1 - shared
            self._ordered.insert(place, one)
        return self


def tree_size(sequences: Iterable[Integers]) -> int:
    """Rows of the tree that :func:`inspo.prefix_tree.build_row` makes of sequences.

    >>> tree_size([np.array([1, 2, 3, 9]), np.array([1, 2, 4, 9])])
    4
    """
    return TreeSize().add(sequences).rows


def _shared(one: bytes, other: bytes) -> int:
    """Tokens that two sequences begin with alike."""
    end = min(len(one), len(other)) // 4
    differing = np.frombuffer(one, np.int32, end) != np.frombuffer(other, np.int32, end)
    first = int(differing.argmax()) if end else 0
    return first if end and differing[first] else end

"""Preference pairs and the log-probs wanted of them -> one packed row of tokens. Integers only.

Cross-conditioning, Eq. (10), scores each response after the other one. As separate sequences that
is x y_l y_w and x y_w y_l, Eq. (14)-(15); laid out as a tree, what sequences share is there once:

    x --+-- y_l ---- y_w      scores y_l given x, then y_w given (x, y_l)
        +-- y_w ---- y_l      scores y_w given x, then y_l given (x, y_w)

Written depth first, with each token's depth as its position id and the end of its subtree, attention
is one rule, which also keeps packed trees apart:

    row q sees row k  if and only if  k <= q < subtree_ends[k].

The tree is a trie over whole sequences: they share rows for as long as their tokens are equal, be it
a prompt, an earlier turn, responses that start alike, or a capped draft and its full response.

Shapes: T packed tokens (rows), n tokens of one target.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inspo.conditioning import Conditioning, LogpRequest
from inspo.pairs import PreferencePair
from inspo.sequences import NO_SEPARATOR, Separator, requests_of, response, scored_sequence

Integers = npt.NDArray[np.int64]
Span = tuple[int, int]


@dataclass(frozen=True, eq=False)
class ScoredTarget:
    """One requested log-prob: the sum over i of log-prob(labels[i]) at the hidden state of rows[i].

    Attributes:
        pair: index of the pair within the row.
        request: which response given which.
        rows: (n,) int64, the rows of hidden states that predict the labels. The first one is the
            last row of the context; targets may share rows.
        labels: (n,) int64, the target's token ids.
    """

    pair: int
    request: LogpRequest
    rows: Integers
    labels: Integers


@dataclass(frozen=True, eq=False)
class PackedRow:
    """One or more trees, depth first and one after another.

    A sequence's last token predicts nothing that is scored, so it has no row of its own.

    Attributes:
        tokens: (T,) int64 token ids.
        positions: (T,) int64, the depth in the tree: the position id in the separate sequence.
        subtree_ends: (T,) int64, exclusive end of the rows that see this one.
        paths: root-to-leaf paths in depth-first order, each the (start, end) row ranges of its nodes
            from root to leaf. A node ends only where the tree branches.
        targets: the requested log-probs, by pair and within a pair in the order of the requests.
        records: for each pair of the row, the name of its data record.
    """

    tokens: Integers
    positions: Integers
    subtree_ends: Integers
    paths: tuple[tuple[Span, ...], ...]
    targets: tuple[ScoredTarget, ...]
    records: tuple[int | str, ...] = ()

    def __len__(self) -> int:
        return len(self.tokens)


def build_row(
    pairs: Sequence[PreferencePair],
    requests: Conditioning | Iterable[LogpRequest],
    *,
    separator: Separator = NO_SEPARATOR,
    draft_cap: int | None = None,
) -> PackedRow:
    """Lay pairs out as one prefix tree (a forest where they share not even their first token).

    Args:
        pairs: one or more pairs; several on one prompt, or with equal first turns, share them.
        requests: the log-probs wanted of every pair, each of which gets its own target.
        separator: what stands around a context response, see :class:`~inspo.sequences.Separator`.
        draft_cap: longest context response in tokens; a longer one is cut. Targets never are.

    Returns:
        The row; its targets are in the order of the pairs, then of the requests.

    Raises:
        ValueError: no pairs or no requests.
    """
    wanted = requests_of(requests)
    if not pairs or not wanted:
        raise ValueError("a row needs at least one pair and at least one request")
    keys = [(index, request) for index in range(len(pairs)) for request in wanted]
    sequences = [
        np.array(scored_sequence(pairs[index], request, separator=separator, draft_cap=draft_cap), dtype=np.int64)
        for index, request in keys
    ]
    tree = _Tree([sequence[:-1] for sequence in sequences])
    targets = []
    for (index, request), sequence, spans in zip(keys, sequences, tree.spans, strict=True):
        length = len(response(pairs[index], request.target))
        rows = np.concatenate([np.arange(start, end, dtype=np.int64) for start, end in spans])
        targets.append(ScoredTarget(index, request, rows[-length:], sequence[-length:]))
    return PackedRow(
        tree.tokens,
        tree.positions,
        tree.subtree_ends,
        tuple(tree.paths),
        tuple(targets),
        tuple(p.record for p in pairs),
    )


class _Tree:
    """A path-compressed trie over token sequences, written depth first; siblings in order of arrival.

    Attributes:
        spans: for each sequence, its row ranges from the root on.
    """

    def __init__(self, sequences: list[Integers]) -> None:
        upper_bound = sum(map(len, sequences))
        self.tokens, self.positions, self.subtree_ends = (np.empty(upper_bound, dtype=np.int64) for _ in range(3))
        self.spans: list[list[Span]] = [[] for _ in sequences]
        self.paths: list[tuple[Span, ...]] = []
        self._sequences = sequences
        self._size = 0
        self._grow(list(range(len(sequences))), 0, ())
        self.tokens, self.positions, self.subtree_ends = (
            array[: self._size] for array in (self.tokens, self.positions, self.subtree_ends)
        )

    def _grow(self, members: list[int], depth: int, above: tuple[Span, ...]) -> None:
        """Write the subtrees of the sequences that agree on `depth` tokens and are longer."""
        siblings: dict[int, list[int]] = {}
        for member in members:
            siblings.setdefault(int(self._sequences[member][depth]), []).append(member)
        for node in siblings.values():
            self._write(node, depth, above)

    def _write(self, members: list[int], depth: int, above: tuple[Span, ...]) -> None:
        """Write one node, the tokens from `depth` to where its sequences part, and its subtrees."""
        sequences = [self._sequences[member] for member in members]
        longest = max(sequences, key=len)
        node_end = _parting(longest, sequences, depth)
        start, end = self._size, self._size + node_end - depth
        self.tokens[start:end] = longest[depth:node_end]
        self.positions[start:end] = np.arange(depth, node_end)
        for member, sequence in zip(members, sequences, strict=True):
            self.spans[member].append((start, start + min(node_end, len(sequence)) - depth))
        self._size = end
        path = (*above, (start, end))
        below = [member for member in members if len(self._sequences[member]) > node_end]
        if below:
            self._grow(below, node_end, path)
        else:
            self.paths.append(path)
        self.subtree_ends[start:end] = self._size


def _parting(longest: Integers, sequences: list[Integers], depth: int) -> int:
    """First depth at which two sequences differ; a sequence that merely ends differs from none."""
    parting = len(longest)
    for sequence in sequences:
        end = min(len(sequence), parting)
        differing = np.flatnonzero(sequence[depth:end] != longest[depth:end])
        if differing.size:
            parting = depth + int(differing[0])
    return parting

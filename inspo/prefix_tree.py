"""Preference pairs and the log-probs requested of them -> one packed row of tokens. Integers only.

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

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from inspo.conditioning import Conditioning, LogpRequest
from inspo.pairs import PreferencePair, Span
from inspo.sequences import NO_SEPARATOR, Separator, requests_of, scored_of, scored_sequence

Integers = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class ScoredTarget:
    """One requested log-prob: the sum over i of log-prob(labels[i]) at the hidden state of rows[i].

    Attributes:
        pair: index of the pair within the row.
        request: which response given which.
        rows: (n,) int32, the rows of hidden states that predict the labels. The first one is the
            last row of the context; targets may share rows.
        labels: (n,) int32, the target's token ids, but for those that are masked.
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
        tokens: (T,) int32 token ids.
        positions: (T,) int32, the depth in the tree: the position id in the separate sequence.
        subtree_ends: (T,) int32, exclusive end of the rows that see this one.
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
    """Lay pairs out as one prefix tree (a forest where not even the first token is shared).

    Args:
        pairs: one or more pairs; several on one prompt, or with equal first turns, share them.
        requests: the log-probs requested of every pair, each of which gets its own target.
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
        np.array(scored_sequence(pairs[index], request, separator=separator, draft_cap=draft_cap), dtype=np.int32)
        for index, request in keys
    ]
    tree = _Tree([sequence[:-1] for sequence in sequences])
    targets = []
    for (index, request), sequence, spans in zip(keys, sequences, tree.spans, strict=True):
        rows = np.concatenate([np.arange(start, end, dtype=np.int32) for start, end in spans])
        scored = scored_of(pairs[index], request.target)
        targets.append(ScoredTarget(index, request, rows[-len(scored) :][scored], sequence[-len(scored) :][scored]))
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
        self.tokens, self.positions, self.subtree_ends = (np.empty(upper_bound, dtype=np.int32) for _ in range(3))
        self.spans: list[list[Span]] = [[] for _ in sequences]
        self.paths: list[tuple[Span, ...]] = []
        self._sequences = sequences
        self._size = 0
        self._grow(list(range(len(sequences))), 0, ())
        self.tokens, self.positions, self.subtree_ends = (
            array[: self._size].copy() for array in (self.tokens, self.positions, self.subtree_ends)
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


def concatenate(rows: Sequence[PackedRow]) -> PackedRow:
    """Put rows one after another into one; no tree sees another.

    Args:
        rows: at least one row; pairs are renumbered in their order.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("there are no rows to concatenate")
    subtree_ends: list[Integers] = []
    paths: list[tuple[Span, ...]] = []
    targets: list[ScoredTarget] = []
    records: list[int | str] = []
    offset = 0
    for row in rows:
        subtree_ends.append(row.subtree_ends + offset)
        paths += [tuple((start + offset, end + offset) for start, end in path) for path in row.paths]
        targets += [
            ScoredTarget(target.pair + len(records), target.request, target.rows + offset, target.labels)
            for target in row.targets
        ]
        records += row.records
        offset += len(row)
    return PackedRow(
        np.concatenate([row.tokens for row in rows]),
        np.concatenate([row.positions for row in rows]),
        np.concatenate(subtree_ends),
        tuple(paths),
        tuple(targets),
        tuple(records),
    )


def restrict(row: PackedRow, requests: Conditioning | Iterable[LogpRequest]) -> PackedRow:
    """The part of a row that scores some of its requests: as many rows as :func:`build_row` takes for these alone.

    Args:
        row: any row.
        requests: at least one of those it was built for; targets keep their order.

    Raises:
        ValueError: a request that the row does not score.
    """
    wanted = requests_of(requests)
    targets = [target for target in row.targets if target.request in wanted]
    if not wanted or set(wanted) - {target.request for target in targets}:
        raise ValueError(f"the row scores other requests than {', '.join(map(str, wanted)) or 'none'}")
    if len(targets) == len(row.targets):
        return row
    index = np.arange(len(row))
    keep = np.zeros(len(row), dtype=bool)
    for last in {int(target.rows[-1]) for target in targets}:
        keep |= (index <= last) & (last < row.subtree_ends)
    count = np.concatenate([np.zeros(1, dtype=np.int32), np.cumsum(keep, dtype=np.int32)])
    positions, subtree_ends = row.positions[keep], count[row.subtree_ends[keep]]
    return PackedRow(
        row.tokens[keep],
        positions,
        subtree_ends,
        _paths(positions, subtree_ends),
        tuple(replace(target, rows=count[target.rows]) for target in targets),
        row.records,
    )


def _paths(positions: Integers, subtree_ends: Integers) -> tuple[tuple[Span, ...], ...]:
    """The root-to-leaf paths of the trees that depths and subtree ends describe."""
    goes_on = (np.diff(positions) == 1) & (np.diff(subtree_ends) == 0)  # the next row is this one's only child
    edges = [0, *(np.flatnonzero(~goes_on) + 1).tolist(), len(positions)]
    paths: list[tuple[Span, ...]] = []
    above: list[Span] = []
    for start, end in pairwise(edges):
        while above and subtree_ends[above[-1][0]] <= start:
            above.pop()
        above.append((start, end))
        if subtree_ends[end - 1] == end:
            paths.append(tuple(above))
    return tuple(paths)


def pack(trees: Sequence[PackedRow], token_budget: int, *, in_order: bool = False) -> list[PackedRow]:
    """Pack trees into rows of at most `token_budget` tokens, as :func:`plan_packs` decides.

    Args:
        trees: rows of :func:`build_row`, kept whole.
        token_budget: maximum number of tokens in a row.
        in_order: see :func:`plan_packs`.

    Raises:
        ValueError: a tree larger than the budget, naming its records.
    """
    for tree in trees:
        if len(tree) > token_budget:
            names = ", ".join(str(record) for record in tree.records)
            raise ValueError(f"record {names}: its tree of {len(tree)} tokens exceeds the row of {token_budget}")
    packs = plan_packs([len(tree) for tree in trees], token_budget, in_order=in_order)
    return [concatenate([trees[index] for index in members]) for members in packs]


def plan_packs(lengths: Sequence[int], token_budget: int, *, in_order: bool = False) -> list[list[int]]:
    """Which trees share a row: first fit, the longest first. Deterministic.

    Args:
        lengths: tokens of each tree.
        token_budget: maximum number of tokens in a row.
        in_order: instead, fill one row after the other in the given order.

    Returns:
        For each row the indices of its trees, ascending; rows by their first tree.

    Raises:
        ValueError: a tree larger than the budget.

    >>> plan_packs([2, 6, 5, 3], token_budget=8)
    [[0, 1], [2, 3]]
    >>> plan_packs([2, 6, 5, 3], token_budget=7, in_order=True)
    [[0], [1], [2], [3]]
    """
    order = range(len(lengths)) if in_order else sorted(range(len(lengths)), key=lambda index: -lengths[index])
    packs: list[list[int]] = []
    free = np.zeros(len(lengths), dtype=np.int32)  # tokens that each row still has room for
    for index in order:
        if lengths[index] > token_budget:
            raise ValueError(f"tree {index} of {lengths[index]} tokens exceeds the row of {token_budget}")
        first_open = max(len(packs) - 1, 0) if in_order else 0
        fitting = np.flatnonzero(free[first_open : len(packs)] >= lengths[index])
        if fitting.size:
            chosen = first_open + int(fitting[0])
        else:
            chosen = len(packs)
            packs.append([])
            free[chosen] = token_budget
        packs[chosen].append(index)
        free[chosen] -= lengths[index]
    return sorted(sorted(members) for members in packs)


def draw(row: PackedRow, decode: Callable[[int], str] = str, *, max_tokens: int = 12) -> str:
    """A row as text: each node's rows, depth and tokens, and the targets that end there.

    Args:
        row: any row.
        decode: token id -> text.
        max_tokens: nodes and labels that are longer are shown by their first and last tokens.

    >>> pair = PreferencePair([1, 2], [10, 11, 9], [20, 21, 9])
    >>> print(draw(build_row([pair], Conditioning.AVERAGED)))
    [0:2] depth 0: 1 2
    ├─ [2:7] depth 2: 10 11 9 20 21
    │    log pi(chosen | x) at rows [1:4]: 10 11 9
    │    log pi(rejected | x, chosen) at rows [4:7]: 20 21 9
    └─ [7:12] depth 2: 20 21 9 10 11
         log pi(rejected | x) at rows [1:2] [7:9]: 20 21 9
         log pi(chosen | x, rejected) at rows [9:12]: 10 11 9
    """
    children: dict[Span | None, list[Span]] = {}
    for path in row.paths:
        for parent, node in zip((None, *path), path, strict=False):
            if node not in (siblings := children.setdefault(parent, [])):
                siblings.append(node)

    def text(tokens: Integers) -> str:
        if len(tokens) <= max_tokens:
            return " ".join(map(decode, tokens.tolist()))
        head, tail = (max_tokens + 1) // 2, max_tokens // 2
        return f"{text(tokens[:head])} ... {text(tokens[-tail:])} ({len(tokens)} tokens)"

    def lines(node: Span, indent: str) -> Iterator[str]:
        start, end = node
        below = children.get(node, [])
        yield f"[{start}:{end}] depth {row.positions[start]}: {text(row.tokens[start:end])}"
        for target in row.targets:
            if start <= target.rows[-1] < end:
                yield f"{indent}{'│' if below else ' '} {_name(target, row)}: {text(target.labels)}"
        for child in below:
            last = child is below[-1]
            first_line, *others = lines(child, indent + ("   " if last else "│  "))
            yield f"{indent}{'└─' if last else '├─'} {first_line}"
            yield from others

    return "\n".join(line for root in children[None] for line in lines(root, ""))


def _name(target: ScoredTarget, row: PackedRow) -> str:
    """``log pi(chosen | x, rejected) at rows [4:7]``, and of which pair where there are several."""
    breaks = np.flatnonzero(np.diff(target.rows) != 1) + 1
    rows = " ".join(f"[{run[0]}:{run[-1] + 1}]" for run in np.split(target.rows, breaks))
    context = "" if target.request.context is None else f", {target.request.context.value}"
    pair = f"pair {target.pair}: " if len(row.records) > 1 else ""
    return f"{pair}log pi({target.request.target.value} | x{context}) at rows {rows}"

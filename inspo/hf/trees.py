"""The trees of a packed row, prepared for attention: paths, nodes and the rule of who sees whom.

Shapes: T rows, L rows of one path, N paths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from inspo.pairs import Span
from inspo.prefix_tree import PackedRow

ATTENTIONS = ("pathwise", "dense", "flex", "varlen")
"""Every way to compute the rule; :mod:`inspo.hf.tree_attention` describes them."""

AUTO = "pathwise"
"""What ``auto`` stands for, on every device until another one has been measured to be faster there."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Path:
    """One root-to-leaf path of a packed row.

    Attributes:
        nodes: indices into :attr:`TreeAttention.node_sizes`, from root to leaf.
        length: L, rows of the whole path.
        new: how many rows at its end no earlier path had. They are contiguous in the packed row, and
            the new rows of all paths, one after another, are the packed row.
    """

    nodes: tuple[int, ...]
    length: int
    new: int


@dataclass(eq=False)
class TreeAttention:
    """The trees of one packed row, on one device, and how to attend over them.

    Attributes:
        positions: (T,) int64, depth of each row.
        subtree_ends: (T,) int64, exclusive end of the rows that see this one.
        node_sizes: rows of each node, in the order of the packed row.
        paths: root-to-leaf paths in depth-first order.
        attention: how to attend over them, one of :data:`ATTENTIONS`.
        layers: indices of the layers that have attended over these trees; evidence that a model uses them.
    """

    positions: Tensor
    subtree_ends: Tensor
    node_sizes: list[int]
    paths: tuple[Path, ...]
    attention: str = AUTO
    layers: set[int] = field(default_factory=set)
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, row: PackedRow, device: torch.device | str = "cpu", attention: str = "auto") -> TreeAttention:
        """Prepare a packed row.

        Args:
            row: the trees.
            device: where the model's activations are.
            attention: "auto" or one of :data:`ATTENTIONS`.

        Raises:
            ValueError: an unknown attention, or paths that do not cover the row in depth-first order.
        """
        if attention not in ("auto", *ATTENTIONS):
            raise ValueError(f"attention is {attention!r}, must be one of auto, {', '.join(ATTENTIONS)}")
        node_sizes, paths = _split_paths(row)
        return cls(
            torch.as_tensor(row.positions, device=device).long(),
            torch.as_tensor(row.subtree_ends, device=device).long(),
            node_sizes,
            paths,
            AUTO if attention == "auto" else attention,
        )

    def arguments(self) -> dict[str, Any]:
        """What a model on tree attention is called with, beside the row's (1, T) tokens.

        The mask is a token one, which transformers hands through to the layers instead of making one of T x T.
        """
        device = self.positions.device
        return {
            "position_ids": self.positions[None],
            "attention_mask": torch.zeros(1, 1, 1, 1, dtype=torch.uint8, device=device),
            "use_cache": False,
            "tree": self,
        }

    def keep(self, key: Any, make: Callable[[], Value]) -> Value:
        """Make something once for this row and keep it for the other layers."""
        if key not in self._kept:
            self._kept[key] = make()
        return cast("Value", self._kept[key])

    def kept(self, key: Any) -> Any:
        """What was kept for this row."""
        return self._kept[key]

    def visible(self, q: Tensor, k: Tensor, window: int | None) -> Tensor:
        """The rule: may row `q` see row `k`?

        Args:
            q: int64 indices of rows that look.
            k: int64 indices of rows that are looked at, broadcasting with `q`.
            window: rows at a depth difference of `window` or more are out of sight; None for no window.

        Returns:
            bool, of the broadcast shape.
        """
        seen = (k <= q) & (q < self.subtree_ends[k])
        return seen if window is None else seen & (self.positions[q] - self.positions[k] < window)

    def causal_mask(self, path: Path, window: int | None) -> Tensor:
        """(new, L) bool: what the new rows of a path see of it; a path's rows count depth from 0."""
        depth = torch.arange(path.length, device=self.positions.device)
        behind = depth[-path.new :, None] - depth
        return (behind >= 0) if window is None else (behind >= 0) & (behind < window)

    def varlen_index(self) -> tuple[Tensor, Tensor, Tensor]:
        """Paths as entries of variable-length attention.

        Returns:
            (sum of L,) int64, the rows of all paths, one path after another; (N + 1,) int32 ends of
            the entries' queries, their new rows; (N + 1,) int32 ends of their keys. Ends start with 0.
        """
        device = self.positions.device
        nodes = torch.split(torch.arange(len(self.positions), device=device), self.node_sizes)
        query_ends, key_ends = (
            torch.tensor([0, *sizes], device=device).cumsum(0).to(torch.int32)
            for sizes in ([path.new for path in self.paths], [path.length for path in self.paths])
        )
        return torch.cat([nodes[node] for path in self.paths for node in path.nodes]), query_ends, key_ends


def is_no_mask(mask: Any) -> bool:
    """Whether an attention mask is the one of :meth:`TreeAttention.arguments`; others are of bool or float."""
    return isinstance(mask, Tensor) and mask.dtype == torch.uint8


def _split_paths(row: PackedRow) -> tuple[list[int], tuple[Path, ...]]:
    """Cut the row wherever some path starts or ends a range, so that every path is a list of whole nodes."""
    cuts = sorted({edge for path in row.paths for span in path for edge in span})
    if not cuts or cuts[0] != 0 or cuts[-1] != len(row.tokens):
        raise ValueError(f"paths cover rows {cuts[:1]} to {cuts[-1:]}, the row has {len(row.tokens)}")
    index = {start: number for number, start in enumerate(cuts)}
    paths, covered = [], 0
    for spans in row.paths:
        nodes = tuple(node for start, end in spans for node in range(index[start], index[end]))
        length = sum(end - start for start, end in spans)
        new = max(0, spans[-1][1] - covered)
        if not np.array_equal(_rows(spans)[length - new :], np.arange(covered, covered + new)) or new == 0:
            raise ValueError(f"path {spans} does not continue the row at {covered}: paths must be in depth-first order")
        if not np.array_equal(row.positions[_rows(spans)], np.arange(length)):
            raise ValueError(f"positions along the path {spans} must count up from 0")
        paths.append(Path(nodes, length, new))
        covered += new
    return [end - start for start, end in pairwise(cuts)], tuple(paths)


def _rows(spans: tuple[Span, ...]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.concatenate([np.arange(start, end) for start, end in spans])

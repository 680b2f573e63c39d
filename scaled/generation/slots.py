"""Keys and values of the rows that are being written, in place: rows come and go, and none waits for another.

All rows end at the same column, so that one step writes one column; a shorter row starts later. What transformers
is shown is a cache of full layers, left-padded: distances between columns are those between positions, so that windows
are right too. The columns in front of the longest row are left out.

Shapes: B rows, G key/value heads, C columns, D head dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 128
"""Columns that are added at least when there are none left."""


class Slots(Cache):
    """A transformers cache with slots for rows.

    Attributes:
        lengths: tokens of each row that is in it.
        end: column at which all rows end.
    """

    def __init__(self, capacity: int) -> None:
        """Of `capacity` rows at most."""
        super().__init__(layers=[])
        self.capacity = capacity
        self.lengths: list[int] = []
        self.end = 0
        self.columns = 0

    @property
    def start(self) -> int:
        """First column that is shown: where the longest row starts."""
        return self.end - max(self.lengths, default=0)

    def mask(self, device: torch.device) -> Tensor | None:
        """(B, shown + 1) bool of the columns that each row has, the next one too; None where all have all."""
        longest = max(self.lengths)
        if min(self.lengths) == longest:
            return None
        first = torch.tensor([longest - length for length in self.lengths], device=device)
        return torch.arange(longest + 1, device=device) >= first[:, None]

    def add(self, prefilled: DynamicCache, row: int, length: int) -> None:
        """Take in the last `length` columns of one row of a left-padded cache."""
        if not self.layers:
            self.layers = [_SlotLayer(self, layer.keys, layer.values) for layer in prefilled.layers]  # type: ignore[union-attr,arg-type]  # full layers have both
        if self.end < length or self.end == self.columns:
            self._move(max(self.end, length))
        place = len(self.lengths)
        for layer, given in zip(self.layers, prefilled.layers, strict=True):
            for stored, new in ((layer.keys, given.keys), (layer.values, given.values)):  # type: ignore[union-attr]  # as above
                stored[place, :, self.end - length : self.end] = new[row, :, -length:]  # type: ignore[index]  # as above
        self.lengths.append(length)

    def keep(self, rows: Sequence[int]) -> None:
        """Keep some rows, in this order. A row may only move to the front, and only over one that does not stay."""
        moved = [(place, row) for place, row in enumerate(rows) if place != row]
        start, end = self.start, self.end
        for layer in self.layers:
            for stored in (layer.keys, layer.values):  # type: ignore[union-attr]  # as above
                for place, row in moved:
                    stored[place, :, start:end] = stored[row, :, start:end]  # type: ignore[index]  # as above
        self.lengths = [self.lengths[row] for row in rows]

    def advance(self) -> None:
        """After a step: every row has the column that was written."""
        self.lengths = [length + 1 for length in self.lengths]
        self.end += 1

    def reserve(self) -> None:
        """Before a step: have a column to write."""
        if self.end == self.columns:
            self._move(max(self.lengths))

    def _move(self, end: int) -> None:
        """Put the rows where they end at `end`, with room behind."""
        shown = max(self.lengths, default=0)
        self.columns = max(self.columns, end + max(ROOM, end // 2))
        for layer in self.layers:
            for name in ("keys", "values"):
                old = getattr(layer, name)
                new = old.new_zeros((self.capacity, old.shape[1], self.columns, old.shape[3]))
                rows = len(self.lengths)
                new[:rows, :, end - shown : end] = old[:rows, :, self.end - shown : self.end]
                setattr(layer, name, new)
        self.end = end


class _SlotLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    """One layer's share of the slots."""

    def __init__(self, slots: Slots, keys: Tensor, values: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.slots = slots
        self.keys, self.values = (
            part.new_zeros((slots.capacity, part.shape[1], 0, part.shape[3])) for part in (keys, values)
        )
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any) -> tuple[Tensor, Tensor]:
        slots, rows = self.slots, len(self.slots.lengths)
        until = slots.end + key_states.shape[-2]
        shown = []
        for stored, new in ((self.keys, key_states), (self.values, value_states)):
            stored[:rows, :, slots.end : until] = new  # type: ignore[index]  # set at once
            shown.append(stored[:rows, :, slots.start : until])  # type: ignore[index]  # as above
        return shown[0], shown[1]

    def get_seq_length(self) -> int:
        return max(self.slots.lengths, default=0)

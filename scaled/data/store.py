"""Pairs in tokens as Arrow files, memory-mapped where they are read: memory does not grow with their number.

A file appears under its name whole, or not at all, and holds one batch of rows.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from inspo.pairs import PreferencePair
from scaled.data.pairs import Pairs, Tokens

_TOKENS = ("prompt", "chosen", "rejected")
_MASKED = ("chosen_masked", "rejected_masked")
FIELDS = [
    pa.field("record", pa.string()),
    *(pa.field(name, pa.list_(pa.int32())) for name in _TOKENS),
    pa.field("preference", pa.float64()),
    pa.field("cuttable", pa.list_(pa.int32(), 2)),
    *(pa.field(name, pa.list_(pa.list_(pa.int32(), 2))) for name in _MASKED),
]
"""Of a pair; what :class:`inspo.pairs.PreferencePair` has."""

SCHEMA = pa.schema(FIELDS)


def row_of(pair: PreferencePair) -> dict[str, Any]:
    """A pair's cells."""
    return {field.name: getattr(pair, field.name) for field in FIELDS}


def write(path: Path, table: pa.Table) -> None:
    """Write a table as one batch. The same table makes the same bytes."""
    staged = path.with_name(f".{path.name}.{os.getpid()}.new")
    with staged.open("wb") as file:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table.combine_chunks(), max_chunksize=max(1, len(table)))
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)


def read(path: Path) -> pa.Table:
    """A table of a file, memory-mapped.

    Raises:
        OSError, pyarrow.ArrowInvalid: it cannot be read.
    """
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def checksum(path: Path) -> tuple[int, int]:
    """Bytes of a file, and their CRC-32."""
    size = crc = 0
    with path.open("rb") as file:
        while data := file.read(2**20):
            size, crc = size + len(data), zlib.crc32(data, crc)
    return size, crc


class Stored(Pairs):
    """The pairs of some files, one after another.

    Args:
        files: of :data:`SCHEMA`, none empty.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._tables = [read(file) for file in files]
        self._columns = [{name: _Lists(table, name) for name in _TOKENS} for table in self._tables]
        self._preferences = [numbers(table, "preference") for table in self._tables]
        self._spans = [
            {name: table.column(name).chunk(0).value_lengths().to_numpy() for name in _MASKED} for table in self._tables
        ]
        counts = [len(table) for table in self._tables]
        self._starts = np.cumsum([0, *counts])
        sizes = [np.stack([columns[name].sizes for name in _TOKENS], axis=1) for columns in self._columns]
        self.sizes = np.concatenate(sizes) if sizes else np.empty((0, 3), dtype=np.int64)

    def pair(self, index: int) -> PreferencePair:
        """See :class:`~scaled.data.pairs.Pairs`."""
        file, row = self._place(index)
        tokens, table = self.tokens(index), self._tables[file]
        record, cuttable = (table.column(name)[row].as_py() for name in ("record", "cuttable"))
        chosen, rejected = (tuple(map(tuple, spans)) for spans in (tokens.chosen_masked, tokens.rejected_masked))
        own: Any = tokens._replace(chosen_masked=chosen, rejected_masked=rejected)._asdict()  # arrays, for sequences
        return PreferencePair(**own, record=record, cuttable=tuple(cuttable))

    def tokens(self, index: int) -> Tokens:
        """See :class:`~scaled.data.pairs.Pairs`."""
        file, row = self._place(index)
        columns, spans = self._columns[file], self._spans[file]
        prompt, chosen, rejected = (columns[name][row] for name in _TOKENS)
        # Few pairs have masked tokens, and an element of a column of lists is slow to get.
        masked = (self._tables[file].column(name)[row].as_py() if spans[name][row] else () for name in _MASKED)
        return Tokens(prompt, chosen, rejected, float(self._preferences[file][row]), *masked)

    def _place(self, index: int) -> tuple[int, int]:
        file = int(np.searchsorted(self._starts, index, side="right")) - 1
        return file, index - int(self._starts[file])


class _Lists:
    """A column of lists of numbers as arrays, without a copy."""

    def __init__(self, table: pa.Table, name: str) -> None:
        column = table.column(name).chunk(0)
        self._values = column.values.to_numpy()
        self._offsets = column.offsets.to_numpy()
        self.sizes = np.diff(self._offsets).astype(np.int64)

    def __getitem__(self, row: int) -> Any:
        return self._values[self._offsets[row] : self._offsets[row + 1]]


def metadata_of(table: pa.Table) -> Mapping[bytes, bytes]:
    """What a table's schema says beside its columns."""
    found: Mapping[bytes, bytes] = table.schema.metadata or {}
    return found


def numbers(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """A column of a shard as an array: numbers (n,), or digests (n, 2)."""
    column = table.column(name).chunk(0)
    if pa.types.is_fixed_size_binary(column.type):
        return np.frombuffer(column.buffers()[1], dtype=np.uint64).reshape(-1, 2)[: len(table)].copy()
    return cast("npt.NDArray[Any]", column.to_numpy().copy())


def largest(path: Path) -> int:
    """The largest token id of a file."""
    table = read(path)
    return max(int(table.column(name).chunk(0).values.to_numpy().max(initial=0)) for name in _TOKENS)

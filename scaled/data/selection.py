"""Which rows of the shards are taken, in what order, and on which side of the split; by numbers and digests alone.

Shapes: n rows of a source, m pairs that are taken.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scaled.config import DataOptions
from scaled.data import store
from scaled.data.dataset import (
    Integers,
    Key,
    enough_of,
    held_out,
    say_dropped,
    say_shares,
    seed_of,
    taken,
    warn_of_shared_prompts,
)
from scaled.data.digests import first_equal
from scaled.data.filters import STEPS, filters_of
from scaled.data.layouts import Why
from scaled.data.records import nothing_left, report
from scaled.data.shards import EVENTS, IN_READING, NUMBER, OUTCOMES, UNDER_TEMPLATE, Account
from scaled.data.tokens import say

logger = logging.getLogger(__name__)

EXAMPLES = 3
"""Records that are named of each kind that is left out."""

_DUPLICATE = NUMBER["duplicate"]
_USABLE = [NUMBER[name] for name in ("pair", *UNDER_TEMPLATE)]
"""What counts for the limit and the split: what the template refuses is known after these."""
_UNREAD = [NUMBER[name] for name in IN_READING]
BAD = [NUMBER[name] for name in (*get_args(Why), *UNDER_TEMPLATE)]
"""What no training could take."""


class Index:
    """What became of the rows of one source.

    Attributes:
        name: the source's.
        files: its shards.
        usable: records that are neither left out in reading nor by a filter, duplicates among them.
        account: what was not read of them.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.files: list[Path] = []
        self.usable = 0
        self.account = Account()
        self._parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in ("outcome", "kind", "asked", *EVENTS)}

    def add(self, path: Path) -> int:
        """Add a shard; returns its number of rows."""
        table = store.read(path)
        self.files.append(path)
        self.account.add(table)
        for name, parts in self._parts.items():
            parts.append(store.numbers(table, name))
        self.usable += int(np.isin(self._parts["outcome"][-1], _USABLE).sum())
        return len(table)

    def column(self, name: str) -> npt.NDArray[Any]:
        """(n,) numbers, or (n, 2) digests."""
        return np.concatenate(self._parts[name])

    def rows(self, numbers: Integers, columns: Sequence[str]) -> pa.Table:
        """Cells of some rows, in the order of their numbers."""
        starts = np.cumsum([0, *(len(part) for part in self._parts["outcome"])])
        shard = np.searchsorted(starts, numbers, side="right") - 1
        tables = [
            store.read(self.files[each]).select(columns).take(pa.array(numbers[shard == each] - starts[each]))
            for each in np.unique(shard).tolist()
        ]
        order = np.argsort(np.argsort(shard, kind="stable"))
        return pa.concat_tables([table.replace_schema_metadata(None) for table in tables]).take(pa.array(order))


@dataclass(frozen=True)
class Selected:
    """Pairs that are taken.

    Attributes:
        indices: of the sources.
        order: (m, 2) source, and row within it.
        counts: what happened on their way to tokens -> how often; and what the template refused.
    """

    indices: Sequence[Index]
    order: Integers
    counts: dict[str, int]

    def tables(self, pairs: int) -> Iterator[pa.Table]:
        """The pairs, so many at a time."""
        for start in range(0, len(self.order), pairs):
            some = self.order[start : start + pairs]
            parts = [
                index.rows(some[some[:, 0] == number, 1], store.SCHEMA.names)
                for number, index in enumerate(self.indices)
                if (some[:, 0] == number).any()
            ]
            order = np.argsort(np.argsort(some[:, 0], kind="stable"))
            yield pa.concat_tables(parts).take(pa.array(order)).cast(store.SCHEMA)


@dataclass
class Selection:
    """What is taken of the data, and what is not.

    Attributes:
        train: pairs to train on.
        validation: pairs to validate on.
        rows: that were read.
        bad: of them, such as no training could take.
        left_out: by key, what was left out -> how often.
        examples: what was left out -> the first of these, in words.
    """

    train: Selected
    validation: Selected
    rows: int
    bad: int
    left_out: dict[str, dict[str, int]]
    examples: dict[str, list[str]] = field(default_factory=dict)


def select(options: DataOptions, found: Mapping[Key, Sequence[Index]], seed: int) -> Selection:
    """Decide what is trained on and what is validated on, as :mod:`scaled.data.dataset` does for records at hand.

    Args:
        options: of the data.
        found: by key, what became of each source's rows.
        seed: of all draws.

    Raises:
        ValueError: nothing is left of a source, or to train on.
    """
    columns = {key: [_Columns(index, enough_of(options, key)) for index in found[key]] for key in found}
    nothing = Selected((), np.empty((0, 2), np.int64), {})
    selection = Selection(nothing, nothing, 0, 0, {})
    orders = {key: _order(options, key, found[key], columns[key], selection, seed) for key in found}
    asked = {key: _of_order(orders[key], [each.asked for each in columns[key]]) for key in found}
    if "validation" in found:
        warn_of_shared_prompts(asked["data"], asked["validation"])
        sides: dict[str, tuple[Key, Integers]] = {
            "train": ("data", orders["data"]),
            "validation": ("validation", orders["validation"]),
        }
    else:
        out = held_out(asked["data"], options.validation_size, seed)
        sides = {"train": ("data", orders["data"][~out]), "validation": ("data", orders["data"][out])}
    for side, (key, order) in sides.items():
        setattr(selection, side, _selected(order, found[key], columns[key]))
    return selection


class _Columns:
    """The columns of one source by which rows are selected, up to where enough are usable."""

    def __init__(self, index: Index, enough: int | None) -> None:
        self.outcome = index.column("outcome").copy()
        if enough is not None and index.usable > enough:
            self.outcome = self.outcome[: np.flatnonzero(np.isin(self.outcome, _USABLE))[enough - 1] + 1]
        count = len(self.outcome)
        self.kind, self.asked = index.column("kind")[:count], index.column("asked")[:count]
        self.events = {event: index.column(event)[:count] for event in EVENTS}


def _order(
    options: DataOptions,
    key: Key,
    indices: Sequence[Index],
    columns: Sequence[_Columns],
    selection: Selection,
    seed: int,
) -> Integers:
    """(m, 2) source and row of what is taken of a key, before the split; says and counts what is not."""
    filters = filters_of(options.filters, classify=False)
    if filters.duplicates:
        _mark_duplicates(columns)
    outcomes = [each.outcome for each in columns]
    _account(options, key, indices, outcomes, selection)
    usable = [np.flatnonzero(np.isin(outcome, _USABLE)) for outcome in outcomes]
    if not sum(map(len, usable)):
        dropped = {step: selection.left_out[key][step] for step in STEPS if step in selection.left_out[key]}
        raise ValueError(f"no record passes the filters; dropped: {dropped}")
    order = taken(list(map(len, usable)), [source.weight for source in getattr(options, key)], seed_of(seed, key))
    if len(indices) > 1:
        say_shares(key, Counter(indices[number].name for number in order[:, 0].tolist()))
    for number, rows in enumerate(usable):
        mine = order[:, 0] == number
        order[mine, 1] = rows[order[mine, 1]]
    return order[: options.limit] if key == "data" else order


def _mark_duplicates(columns: Sequence[_Columns]) -> None:
    """Of records of a kind, over all sources, the first one stays; whatever else is wrong with later ones."""
    read = [np.flatnonzero(~np.isin(each.outcome, _UNREAD)) for each in columns]
    first = first_equal(np.concatenate([each.kind[rows] for each, rows in zip(columns, read, strict=True)]))
    later = first < np.arange(len(first))
    for each, rows, is_later in zip(
        columns, read, np.split(later, np.cumsum([len(rows) for rows in read])), strict=False
    ):
        each.outcome[rows[is_later]] = _DUPLICATE


def _account(
    options: DataOptions,
    key: Key,
    indices: Sequence[Index],
    outcomes: Sequence[npt.NDArray[Any]],
    selection: Selection,
) -> None:
    """Log and count what became of the rows of a key, with examples.

    Raises:
        ValueError: a source without a record that can be trained on.
    """
    total: Counter[str] = Counter()
    for index, outcome in zip(indices, outcomes, strict=True):
        counts = dict(zip(OUTCOMES, np.bincount(outcome, minlength=len(OUTCOMES)).tolist(), strict=True))
        total.update(counts)
        examples = {name: _examples(index, outcome, name) for name in OUTCOMES[1:] if counts[name] and name != "ties"}
        read = len(outcome) - sum(counts[name] for name in IN_READING)
        if not read:
            raise ValueError(nothing_left(index.name, next((said[0] for said in examples.values()), None)))
        report(index.name, index.account, read, counts["ties"])
        for name, said in examples.items():
            if name not in STEPS:
                logger.warning("%d records left out as %s, the first: %s", counts[name], _words(name), said[0])
            kept = selection.examples.setdefault(name, [])
            kept += said[: EXAMPLES - len(kept)]
    names = [*("ties",), *(get_args(Why) if options.filters != "none" else ()), *_steps(options)]
    selection.left_out[key] = {name: total[name] for name in names}
    say_dropped(key, {name: total[name] for name in _steps(options)}, sum(map(len, outcomes)))
    selection.rows += sum(map(len, outcomes))
    selection.bad += sum(total[OUTCOMES[number]] for number in BAD)


def _steps(options: DataOptions) -> list[str]:
    """Names of the steps that are on."""
    filters = filters_of(options.filters, classify=False)
    unsafe = not isinstance(options.filters, str) and options.filters.safety is not None
    on = (
        filters.duplicates,
        filters.max_tokens is not None or filters.min_tokens > 0,
        unsafe,
        filters.min_margin is not None,
    )
    return [name for name, is_on in zip(STEPS, on, strict=True) if is_on]


def _words(name: str) -> str:
    return name.removeprefix("template: ").replace("_", " ")


def _examples(index: Index, outcome: npt.NDArray[Any], name: str) -> list[str]:
    """What is said of the first rows that came to this."""
    rows = index.rows(np.flatnonzero(outcome == NUMBER[name])[:EXAMPLES], ["record", "said"]).to_pylist()
    if name == "duplicate":  # decided after it was read
        return [f"record {row['record']}: says what an earlier record says" for row in rows]
    return [row["said"] for row in rows]


def _of_order(order: Integers, columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """A column's cells in an order of (source, row)."""
    found = np.empty((len(order), *columns[0].shape[1:]), dtype=columns[0].dtype)
    for number, column in enumerate(columns):
        mine = order[:, 0] == number
        found[mine] = column[order[mine, 1]]
    return found


def _selected(order: Integers, indices: Sequence[Index], columns: Sequence[_Columns]) -> Selected:
    """The pairs of an order, without what the template refused, which is counted."""
    outcome = _of_order(order, [each.outcome for each in columns])
    counts = {
        event: int(_of_order(order, [each.events[event] for each in columns]).sum(dtype=np.int64)) for event in EVENTS
    }
    say(counts)
    refused = Counter(OUTCOMES[number].removeprefix("template: ") for number in outcome[outcome > 0].tolist())
    return Selected(indices, order[outcome == 0], counts | dict(refused))

"""Preference data -> records: conversations in text, checked one by one, before a token is made."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from scaled.config import DataSource
from scaled.data.layouts import Layout, Record, UnusableRecordError
from scaled.data.messages import Message
from scaled.data.sources import Row, read_rows

__all__ = ["Message", "Record", "load_records", "texts"]

logger = logging.getLogger(__name__)

REMEDY = "filters=unusable leaves such records out"

Source = str | Path | DataSource


def load_records(
    source: Source | Sequence[Source] | Iterable[Mapping[str, Any]],
    *,
    columns: Mapping[str, str] | None = None,
    soft_labels: bool = False,
    ties: Literal["drop", "keep"] = "drop",
    unusable: Literal["refuse", "drop"] = "refuse",
    splits: tuple[str, ...] = ("train",),
    limit: int | None = None,
    counts: Counter[str] | None = None,
) -> list[Record]:
    """Read and check preference data. What is not read of it is logged, once a source.

    Args:
        source: a file, a folder or a data set on the hub (see :func:`~scaled.data.sources.read_rows`), several of
            these, one after another, or rows in memory (a list, a ``datasets.Dataset``).
        columns: what is read (see :mod:`scaled.data.layouts`) -> the column that has it; a source's own go first.
        soft_labels: keep a judged pair's probability, or what a column ``preference`` says of `chosen`, as
            the record's preference; else labels are hard.
        ties: what to do with pairs at probability 1/2: leave them out, counted and logged, or keep them
            (judged pairs with response a as the chosen one).
        unusable: what to do with a record that cannot be trained on, while others can: refuse the data, or leave it
            out, counted and logged.
        splits: which split to take of a data set with several where a source names none: the first that is there.
        limit: read no further when there are so many records; None reads all.
        counts: gets the numbers of records left out: ``ties``, and by what is wrong ``empty``, ``equal``,
            ``not_text``, ``malformed``.

    Returns:
        The records, in order.

    Raises:
        ValueError: a source that is missing, unreadable or empty, or a record that is refused, in one line such as
            ``data.jsonl: record 17: the rejected response is empty``.

    >>> rows = [{"prompt": "Hi", "response_a": "Yo", "response_b": "Hello!", "p_a_preferred": 0.25}]
    >>> load_records(rows, soft_labels=True)[0]["chosen"], load_records(rows, soft_labels=True)[0]["preference"]
    ([{'role': 'assistant', 'content': 'Hello!'}], 0.75)
    """
    if ties not in ("drop", "keep"):
        raise ValueError(f"ties = {ties!r} must be 'drop' or 'keep'")
    given = [source] if isinstance(source, (str, Path, DataSource)) else list(source)
    if not given:
        raise ValueError("there are no records in the data")
    named = [item for item in given if isinstance(item, (str, Path, DataSource))]
    if named and len(named) != len(given):
        raise ValueError("data must be files or rows, not both")
    parts: list[tuple[Iterable[Row], Mapping[str, str]]] = [
        (read_rows(one, splits), columns or {} if one.columns is None else one.columns) for one in map(_source, named)
    ]
    if not named:
        parts = [((Row("", number, values) for number, values in enumerate(given, 1)), columns or {})]
    left_out: Counter[str] = Counter() if counts is None else counts
    records: list[Record] = []
    for rows, names in parts:
        layout, more = Layout(names, soft_labels=soft_labels), None if limit is None else limit - len(records)
        records += _read(rows, layout, more, keep_ties=ties == "keep", keep_going=unusable == "drop", counts=left_out)
    return records


def _source(source: Source) -> DataSource:
    return source if isinstance(source, DataSource) else DataSource(path=str(source))


class LeftOut(NamedTuple):
    """A record that is not trained on.

    Attributes:
        place: where it is, for messages.
        why: in a word: ``ties``, or what :class:`~scaled.data.layouts.UnusableRecordError` says.
        said: what is wrong with it.
    """

    place: str
    why: str
    said: str

    def __str__(self) -> str:
        return f"{self.place}: {self.said}"


def examine(row: Row, layout: Layout, *, keep_ties: bool = False) -> Record | LeftOut:
    """The record that a row says, or why it is left out.

    Raises:
        ValueError: no row of such columns makes a record.
    """
    try:
        record, tie = layout.record(row)
    except UnusableRecordError as error:
        return LeftOut(str(row), error.why, str(error))
    except ValueError as error:
        raise ValueError(f"{row}: {error}") from error
    return LeftOut(str(row), "ties", "a tie (probability 1/2)") if tie and not keep_ties else record


def _read(
    rows: Iterable[Row], layout: Layout, limit: int | None, *, keep_ties: bool, keep_going: bool, counts: Counter[str]
) -> list[Record]:
    """The records of one source; says what was not read of it, and what was left out."""
    records: list[Record] = []
    problems, ties, name = Problems(refuse=not keep_going), 0, ""
    for row in rows:
        if len(records) == limit:
            break
        name = row.name
        found = examine(row, layout, keep_ties=keep_ties)
        if not isinstance(found, LeftOut):
            records.append(found)
        elif found.why == "ties":
            ties += 1
        else:
            problems.note(found)
    if not records:
        raise ValueError(nothing_left(name, problems.first))
    counts.update({"ties": ties} if ties else {})
    report(name, layout, len(records), ties)
    problems.report(counts)
    return records


def nothing_left(name: str, first: LeftOut | str | None) -> str:
    """What to say of a source without a record to train on, by the first that is unusable, if one is."""
    if first is None:
        return f"{name or 'data'}: every pair is a tie (probability 1/2): there is nothing to learn from"
    return f"{first}; no record of {name or 'the data'} can be trained on"


class Problems:
    """Of records that cannot be trained on: raised at the first, or counted by what is wrong.

    Args:
        refuse: whether the first is raised.
    """

    def __init__(self, *, refuse: bool) -> None:
        self._refuse = refuse
        self._first: dict[str, LeftOut] = {}
        self._found: Counter[str] = Counter()

    def note(self, found: LeftOut) -> None:
        """Count a record.

        Raises:
            ValueError: the first is to be raised.
        """
        if self._refuse:
            raise ValueError(f"{found}; {REMEDY}")
        self._found[found.why] += 1
        self._first.setdefault(found.why, found)

    @property
    def first(self) -> LeftOut | None:
        """The first record of all, or None."""
        return next(iter(self._first.values()), None)

    def report(self, counts: Counter[str]) -> None:
        """Log what was left out, with an example of each kind, and add it to `counts`."""
        counts.update(self._found)
        for why, message in self._first.items():
            logger.warning("%d records left out as %s, the first: %s", self._found[why], why.replace("_", " "), message)


class Account(Protocol):
    """What is kept account of while rows are read, as :class:`~scaled.data.layouts.Layout` does."""

    unread: Counter[str]
    roles: Counter[str]
    keys: Counter[str]
    repeats: int


def report(name: str, layout: Account, kept: int, ties: int) -> None:
    """Log what of a source is not read or left out as a tie, and what looks wrong with it."""
    name = f"{name}: " if name else ""
    if ties:
        logger.warning("%s%d pairs are ties and left out", name, ties)
    for what, names in (
        ("columns that are not read", layout.unread),
        ("roles that are left to the chat template", layout.roles),
        ("keys of messages that are left to the chat template", layout.keys),
    ):
        if names:
            logger.warning("%s%s: %s", name, what, ", ".join(f'"{each}"' for each in sorted(names)))
    if 2 * layout.repeats >= kept:
        logger.warning(
            "%sin %d of %d records both responses begin with the prompt, so that the policy would learn to repeat it: "
            "cut it off if it is no part of the reply",
            *(name, layout.repeats, kept),
        )


def texts(records: Iterable[Record]) -> Iterator[str]:
    """Every text of the records: each turn of the prompt, the chosen and the rejected response."""
    for record in records:
        yield from (turn["content"] for turn in (*record["prompt"], *record["chosen"], *record["rejected"]))

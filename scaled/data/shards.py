"""Rows -> a shard: what became of each row, with its pair in tokens where it has one.

A shard is the unit of work: what is in it depends on its rows alone, and it is written whole or not at all, so that
shards can be made by several processes, and those that are there need not be made again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from inspo.pairs import PreferencePair
from scaled.config import DataOptions
from scaled.data import store
from scaled.data.dataset import Key, check_scores, prompt_of
from scaled.data.digests import SIZE
from scaled.data.filters import STEPS, Filters, Step, check, filters_of, kind_of
from scaled.data.layouts import Layout, Record, UnderTemplate, Why
from scaled.data.records import LeftOut, examine
from scaled.data.sources import Row
from scaled.data.templates import Template
from scaled.data.tokens import encode

ROWS = 1024
"""Of a shard."""

EVENTS = ("separately_tokenized", "control_tokens_in_text", "several_replies", "earlier_reasoning_left_out")
"""What can happen to a record on its way to tokens."""

IN_READING = ("ties", *get_args(Why))
UNDER_TEMPLATE = tuple(f"template: {why}" for why in ("equal", "malformed", *get_args(UnderTemplate)))
OUTCOMES = ("pair", *IN_READING, *STEPS, *UNDER_TEMPLATE)
"""What can become of a row, by number."""

NUMBER = {name: number for number, name in enumerate(OUTCOMES)}

SCHEMA = pa.schema(
    [
        *store.FIELDS,
        pa.field("outcome", pa.int8()),
        pa.field("said", pa.string()),
        pa.field("kind", pa.binary(SIZE)),
        pa.field("asked", pa.binary(SIZE)),
        *(pa.field(event, pa.int8()) for event in EVENTS),
    ]
)
"""A pair's columns, which are empty where there is none; what became of the row, and what is wrong with it; digests of
the whole record and of its prompt."""

_NOTHING: dict[str, Any] = {
    "prompt": (),
    "chosen": (),
    "rejected": (),
    "preference": 0.0,
    "cuttable": (0, 0),
    "chosen_masked": (),
    "rejected_masked": (),
    "said": None,
    "kind": bytes(SIZE),
    "asked": bytes(SIZE),
    **dict.fromkeys(EVENTS, 0),
}


class Job(NamedTuple):
    """Rows to make a shard of.

    Attributes:
        path: of the shard.
        key: whose rows they are.
        columns: names of the source's columns.
        known: columns that earlier rows had.
        rows: the rows.
    """

    path: Path
    key: Key
    columns: Mapping[str, str]
    known: tuple[str, ...]
    rows: Sequence[Row]


@dataclass
class Account:
    """What was not read of rows; see :class:`scaled.data.layouts.Layout`."""

    unread: Counter[str] = field(default_factory=Counter)
    roles: Counter[str] = field(default_factory=Counter)
    keys: Counter[str] = field(default_factory=Counter)
    repeats: int = 0

    def add(self, table: pa.Table) -> None:
        """Add what a shard says."""
        found = json.loads(store.metadata_of(table)[b"account"])
        for name in ("unread", "roles", "keys"):
            getattr(self, name).update(found[name])
        self.repeats += found["repeats"]


class Maker:
    """Makes shards, all in the same way.

    Args:
        options: how records are read and filtered.
        tokenizer: the policy's.
        template: how conversations are written.

    Raises:
        ValueError: a safety classifier that cannot be loaded.
    """

    def __init__(self, options: DataOptions, tokenizer: PreTrainedTokenizerBase, template: Template) -> None:
        self._options, self._tokenizer, self._template = options, tokenizer, template
        self._filters: Filters = filters_of(options.filters)
        self._steps: list[Step] = self._filters.steps(tokenizer)

    def make(self, job: Job) -> Path:
        """Write a shard, unless it is there.

        Raises:
            ValueError: no rows of such columns make records, or lack scores that a filter needs.
        """
        if not job.path.exists():
            layout = Layout(job.columns, soft_labels=self._options.soft_labels, known=job.known)
            found = [examine(row, layout) for row in job.rows]
            table = pa.Table.from_pylist(self._cells(job, found), schema=SCHEMA)
            account = {name: dict(sorted(getattr(layout, name).items())) for name in ("unread", "roles", "keys")}
            said = json.dumps({**account, "repeats": layout.repeats})
            store.write(job.path, table.replace_schema_metadata({"account": said}))
        return job.path

    def _cells(self, job: Job, found: Sequence[Record | LeftOut]) -> list[dict[str, Any]]:
        records = [each for each in found if not isinstance(each, LeftOut)]
        check_scores(self._options, job.key, self._filters, records)
        dropped = check(records, self._steps)
        kept = [record for record, why in zip(records, dropped, strict=True) if why is None]
        encoded = iter(encode(kept, self._tokenizer, self._template))
        verdicts = iter(dropped)
        rows = []
        for each in found:
            if isinstance(each, LeftOut):
                rows.append(_NOTHING | {"record": each.place, "outcome": NUMBER[each.why], "said": str(each)})
                continue
            cells = _NOTHING | {"record": each["record"], "kind": kind_of(each), "asked": prompt_of(each)}
            why = next(verdicts)
            if why is None:
                pair, events = next(encoded)
                cells |= {event: events[event] for event in EVENTS}
                if isinstance(pair, PreferencePair):
                    rows.append(cells | store.row_of(pair) | {"outcome": 0})
                    continue
                why = pair._replace(why=f"template: {pair.why}")
            rows.append(cells | {"outcome": NUMBER[why.why], "said": str(why)})
        return rows

"""The paper's numbers as printed, from ``paper/table_N.json``, and how to compute with them exactly."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "paper"

_CELL = re.compile(r"(?P<value>\+?\d+(\.\d+)?)(?P<unit>[%×]?)( (?P<sign>[↑↓-])(?P<delta>\d+(\.\d+)?))?")


@dataclass(frozen=True)
class Printed:
    """One cell of one of the paper's tables.

    Attributes:
        table: the table's number.
        model: as in ``names.MODELS``, or "unstated".
        run: as in ``names.RUNS``; runs with other limits have names of their own.
        metric: as in ``names.METRICS``.
        text: the cell without its arrow, as printed.
        value: the number in it, None for a word.
        arrow: the arrow as printed, or "".
        delta: the signed number of the arrow, or None.
        base: the run that the arrow is relative to, or None.
    """

    table: int
    model: str
    run: str
    metric: str
    text: str
    value: Decimal | None
    arrow: str = ""
    delta: Decimal | None = None
    base: str | None = None


@dataclass(frozen=True)
class PaperTable:
    """One of the paper's tables: its cells by (model, run, metric), and its rows' further facts."""

    number: int
    section: str
    title: str
    remarks: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    cells: dict[tuple[str, str, str], Printed]

    def best(self, model: str, metric: str) -> Decimal:
        """The largest value of a column."""
        return max(cell.value for cell in self.column(model, metric) if cell.value is not None)

    def column(self, model: str, metric: str) -> list[Printed]:
        """The cells of one model and metric, from top to bottom."""
        return [cell for cell in self.cells.values() if (cell.model, cell.metric) == (model, metric)]


def read(number: int) -> PaperTable:
    """Read one of the paper's tables."""
    facts = json.loads((FOLDER / f"table_{number}.json").read_text())
    cells = {}
    for row in facts["rows"]:
        for metric, text in row["cells"].items():
            cells[row["model"], row["run"], metric] = parse(number, row, metric, text)
    return PaperTable(
        number, facts["section"], facts["title"], tuple(facts.get("remarks", ())), tuple(facts["rows"]), cells
    )


def parse(table: int, row: dict[str, Any], metric: str, text: str) -> Printed:
    """Read one cell, such as ``29.9 ↑3.1``, ``44.5 -0.0``, ``+21%``, ``1.18×`` or a word."""
    found = _CELL.fullmatch(text)
    if not found:
        return Printed(table, row["model"], row["run"], metric, text, None)
    delta = Decimal(found["delta"]) if found["delta"] else None
    if delta is not None and found["sign"] != "↑":
        delta = -delta
    return Printed(
        table,
        row["model"],
        row["run"],
        metric,
        found["value"] + found["unit"],
        Decimal(found["value"]),
        f"{found['sign']}{found['delta']}" if found["delta"] else "",
        delta,
        row.get("base"),
    )


def arrows(tables: Iterable[PaperTable]) -> list[Printed]:
    """Every cell with an arrow."""
    return [cell for table in tables for cell in table.cells.values() if cell.delta is not None]


def signed(number: Decimal) -> str:
    """``+3.1``, ``-0.2``, ``0.0``."""
    return f"{number:+}" if number else f"{abs(number)}"

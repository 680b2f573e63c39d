"""The paper's numbers as printed, from ``paper/table_N.json``, and how to compute with them exactly."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from paper_figures.names import METRICS, MODELS, RUNS

_FOLDER = Path(__file__).resolve().parent / "paper"
_NAN = Decimal("NaN")
_CELL = re.compile(r"(?P<text>\+?(?P<value>\d+(\.\d+)?)[%×]?)( (?P<arrow>[↑↓-]\d+\.\d+))?")


class Printed(NamedTuple):
    """One cell of one of the paper's tables.

    Attributes:
        model: as in ``names.MODELS``, or "unstated".
        run: as in ``names.RUNS``; runs with other limits have names of their own.
        metric: as in ``names.METRICS``.
        text: the cell without its arrow, as printed.
        value: the number in it, NaN for a word.
        arrow: the arrow as printed, or "".
        gain: the signed number of the arrow, or NaN.
        base: the run that the arrow is relative to, or "".
    """

    model: str
    run: str
    metric: str
    text: str
    value: Decimal = _NAN
    arrow: str = ""
    gain: Decimal = _NAN
    base: str = ""

    @property
    def place(self) -> str:
        """``INS-DPO on Llama-3-8B``."""
        return f"{RUNS[self.run]} on {MODELS[self.model]}"


class PaperTable(NamedTuple):
    """One of the paper's tables: its cells by (model, run, metric), and its rows' further facts."""

    number: int
    section: str
    remarks: list[str]
    rows: list[dict[str, Any]]
    cells: dict[tuple[str, str, str], Printed]

    @property
    def arrows(self) -> list[Printed]:
        """Every cell with an arrow."""
        return [cell for cell in self.cells.values() if cell.arrow]

    def best(self, model: str, metric: str, among: str = "") -> Printed:
        """The first of the largest cells of a column, or of its runs whose names start with `among`."""
        column = [cell for cell in self.cells.values() if (cell.model, cell.metric) == (model, metric)]
        return max((cell for cell in column if cell.run.startswith(among)), key=lambda cell: cell.value)

    def ahead_of(self, run: str, metrics: Sequence[str], among: str = "") -> str:
        """Where another run has a larger value: ``2 of 10 columns: ...``."""
        cells = [cell for cell in self.cells.values() if cell.run == run and cell.metric in metrics]
        pairs = [(cell, self.best(cell.model, cell.metric, among)) for cell in cells]
        ahead = [
            f"{MODELS[cell.model]} {METRICS[cell.metric].label} ({RUNS[best.run]} {best.text}, {cell.text})"
            for cell, best in pairs
            if best.value > cell.value
        ]
        return f"{len(ahead)} of {len(cells)} columns: {', '.join(ahead)}"


def read(number: int) -> PaperTable:
    """Read one of the paper's tables."""
    facts = json.loads((_FOLDER / f"table_{number}.json").read_text(encoding="utf-8"))
    cells = [parse(row, metric, text) for row in facts["rows"] for metric, text in row["cells"].items()]
    by_key = {(cell.model, cell.run, cell.metric): cell for cell in cells}
    return PaperTable(number, facts["section"], facts.get("remarks", []), facts["rows"], by_key)


def parse(row: dict[str, Any], metric: str, text: str) -> Printed:
    """Read one cell, such as ``29.9 ↑3.1``, ``44.5 -0.0``, ``+21%``, ``1.18×`` or a word."""
    found = _CELL.fullmatch(text)
    if not found:
        return Printed(row["model"], row["run"], metric, text)
    cell = Printed(row["model"], row["run"], metric, found["text"], Decimal(found["value"]))
    if not found["arrow"]:
        return cell
    gain = Decimal(found["arrow"].translate({ord("↑"): "+", ord("↓"): "-"}))
    return cell._replace(arrow=found["arrow"], gain=gain, base=row["base"])


def elsewhere(number: int) -> list[str]:
    """Where Tables 2 to 4 print another value for a setting of this table, one sentence for each setting."""
    tables: dict[tuple[str, str], list[str]] = {}
    for other in (2, 3, 4):
        twins = read(other).cells
        differing: dict[str, list[str]] = {}
        for key, cell in read(number).cells.items():
            if key in twins and twins[key].value != cell.value:
                text = f"{METRICS[cell.metric].label} {cell.text} here and {twins[key].text} there"
                differing.setdefault(cell.place, []).append(text)
        for place, texts in differing.items():
            tables.setdefault((place, ", ".join(texts)), []).append(f"Table {other}")
    return [
        f"{place}, the same setting, differs from {' and '.join(names)}: {texts}."
        for (place, texts), names in tables.items()
    ]


def signed(number: Decimal) -> str:
    """``+3.1``, ``-0.2``, ``0.0``."""
    return f"{number:+}" if number else f"{abs(number)}"

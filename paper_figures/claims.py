"""The paper's sentences against its tables, and its tables against each other. All computed.

Each entry of ``paper/claims.json`` is one sentence with a number in it; its ``kind`` names the
function here that compares it with the cells. A function returns what is wrong, or None.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from inspo.losses import METHODS
from paper_figures.names import BASES, METRICS, MODELS, RUNS
from paper_figures.printed import FOLDER, PaperTable, Printed, arrows, read, signed

Claim = dict[str, Any]
TABLES = (2, 3, 4, 5, 7)


def contradictions(number: int) -> list[str]:
    """What does not fit together in one of the paper's tables, one sentence each."""
    tables = {key: read(key) for key in TABLES}
    claims = [claim for claim in json.loads((FOLDER / "claims.json").read_text()) if claim["table"] == number]
    wrong = [CHECKS[claim["kind"]](claim, tables) for claim in claims]
    found = [sentence for sentence in wrong if sentence]
    if number in tables:
        found += wrong_arrows(tables[number]) + elsewhere(tables, number)
    return found


def wrong_arrows(table: PaperTable) -> list[str]:
    """Arrows that are not the difference of the printed cells."""
    found = []
    for cell in arrows([table]):
        base = table.cells[cell.model, cell.base or "", cell.metric]
        if cell.value is None or base.value is None or cell.value - base.value != cell.delta:
            found.append(f"{place(cell)}: {cell.text} against {base.text} is printed as {cell.arrow}.")
    return found


def elsewhere(tables: dict[int, PaperTable], number: int) -> list[str]:
    """Cells of this table that another table prints with another value for the same setting."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for other in tables.values():
        twins = [(cell, other.cells[key]) for key, cell in tables[number].cells.items() if key in other.cells]
        for model, run in dict.fromkeys((cell.model, cell.run) for cell, _ in twins):
            differences = ", ".join(
                f"{METRICS[cell.metric].label} {cell.text} here and {twin.text} there"
                for cell, twin in twins
                if (cell.model, cell.run) == (model, run) and cell.value != twin.value
            )
            if differences:
                groups.setdefault((model, run, differences), []).append(f"Table {other.number}")
    return [
        f"{RUNS[run]} on {MODELS[model]}, the same setting, differs from {' and '.join(others)}: {differences}."
        for (model, run, differences), others in groups.items()
    ]


def place(cell: Printed) -> str:
    """``INS-DPO on Llama-3-8B, Arena-Hard WR``."""
    return f"{RUNS[cell.run]} on {MODELS[cell.model]}, {METRICS[cell.metric].label}"


def _methods(claim: Claim, _: dict[int, PaperTable]) -> str | None:
    there = [name for name in METHODS if name in BASES]
    if len(there) == int(claim["value"]):
        return None
    return f"Section {claim['section']} announce {claim['value']} methods; the table has {len(there)}."


def _gains(claim: Claim, tables: dict[int, PaperTable]) -> str | None:
    low, high = Decimal(claim["low"]), Decimal(claim["high"])
    cells = [
        cell
        for cell in arrows([tables[claim["table"]]])
        if cell.metric in claim["metrics"] and cell.run in claim.get("runs", [cell.run])
    ]
    # A sentence in whole points is read as rounded to whole points.
    outside = [cell for cell in cells if cell.delta is not None and not low <= cell.delta.quantize(low) <= high]
    if not outside:
        return None
    metrics = " and ".join(METRICS[metric].label for metric in claim["metrics"])
    whose = f" of {' and '.join(RUNS[run] for run in claim['runs'])}" if "runs" in claim else ""
    return (
        f"Section {claim['section']} puts the gains{whose} in {metrics} at {low} to {high}; outside are "
        f"{len(outside)} of {len(cells)}: {_listed(outside, many=len(claim['metrics']) > 1)}."
    )


def _listed(cells: list[Printed], *, many: bool) -> str:
    return ", ".join(
        f"{signed(cell.delta)} ({RUNS[cell.run]} on {MODELS[cell.model]}"
        + (f", {METRICS[cell.metric].label.removeprefix('MT-Bench, ')})" if many else ")")
        for cell in cells
        if cell.delta is not None
    )


def _leads(claim: Claim, tables: dict[int, PaperTable]) -> str | None:
    """A run has the largest value of its column; a tie for it counts as leading."""
    columns, behind = 0, []
    for (model, run, metric), cell in tables[claim["table"]].cells.items():
        if run != claim["run"] or metric not in claim.get("metrics", [metric]):
            continue
        columns += 1
        rivals = [
            rival for rival in tables[claim["table"]].column(model, metric) if rival.run.startswith(claim["among"])
        ]
        best = max(rivals, key=lambda rival: rival.value or 0)
        if best.value != cell.value:
            behind.append(f"{MODELS[model]} {METRICS[metric].label} ({RUNS[best.run]} {best.text}, {cell.text})")
    if not behind:
        return None
    return (
        f"Section {claim['section']} says that {claim['what']}; another is ahead in {len(behind)} of {columns} "
        f"columns: {', '.join(behind)}."
    )


def _best(claim: Claim, tables: dict[int, PaperTable]) -> str | None:
    best = tables[claim["table"]].best("llama-3-8b", claim["metric"])
    if best == Decimal(claim["value"]):
        return None
    metric = METRICS[claim["metric"]].label
    return f"Section {claim['section']} gives the best {metric} as {claim['value']}; the table's is {best}."


def _best_at(claim: Claim, tables: dict[int, PaperTable]) -> str | None:
    """One value of one factor is best at every value of the other, in every metric."""
    table, by = tables[claim["table"]], claim["by"]
    other = "draft_cap" if by == "max_length" else "max_length"
    blocks: dict[tuple[Any, str], list[tuple[Decimal, Any]]] = {}
    for row in table.rows:
        for metric in row["cells"]:
            cell = table.cells[row["model"], row["run"], metric]
            blocks.setdefault((row[other], metric), []).append((cell.value or Decimal(0), row[by]))
    wrong = [
        f"{METRICS[metric].label} at {fixed or 'no cap'} (best at {best})"
        for (fixed, metric), entries in blocks.items()
        if (best := max(entries, key=lambda entry: entry[0])[1]) != claim["setting"]
    ]
    if not wrong:
        return None
    name = {"max_length": "MaxLen", "draft_cap": "draft cap"}[by]
    return (
        f"Section {claim['section']} calls {name} {claim['setting']} best; it is not in {len(wrong)} of {len(blocks)} "
        f"cases: {', '.join(wrong)}."
    )


def _difference(claim: Claim, tables: dict[int, PaperTable]) -> str | None:
    table, by = tables[claim["table"]], claim["by"]
    values = {
        (row[by], row["draft_cap"]): table.cells[row["model"], row["run"], claim["metric"]].value or Decimal(0)
        for row in table.rows
    }
    caps = list(dict.fromkeys(row["draft_cap"] for row in table.rows))
    differences = [values[claim["to"], cap] - values[claim["from"], cap] for cap in caps]
    if Decimal(claim["value"]) in differences:
        return None
    named = ", ".join(f"{difference} ({cap or 'no cap'})" for difference, cap in zip(differences, caps, strict=True))
    return (
        f"Section {claim['section']} puts MaxLen {claim['to']} over {claim['from']} by {claim['value']} in "
        f"{METRICS[claim['metric']].label}; the rows differ by {named}."
    )


def _reported(claim: Claim, tables: dict[int, PaperTable]) -> str | None:
    if any(cell.metric == claim["metric"] for cell in tables[claim["table"]].cells.values()):
        return None
    return f"Section {claim['section']} announces {METRICS[claim['metric']].label}; this table does not have it."


def _quoted(claim: Claim, tables: dict[int, PaperTable]) -> str | None:
    cell = tables[claim["table"]].cells[claim["model"], claim["run"], claim["metric"]]
    if cell.delta == Decimal(claim["value"]):
        return None
    return f"Section {claim['section']} quotes {place(cell)} as +{claim['value']}; the table prints {cell.arrow}."


def _constant(claim: Claim, tables: dict[int, PaperTable]) -> str | None:
    cells = [cell for cell in tables[claim["table"]].cells.values() if cell.metric == claim["metric"]]
    wrong = [f"{cell.text} for {RUNS[cell.run]}" for cell in cells if cell.value != Decimal(claim["value"])]
    if not wrong:
        return None
    return (
        f"{claim['section']} train everything at {claim['value']} tokens; this table has {', '.join(wrong)}, so its "
        "overhead would compare two lengths."
    )


def _mean(claim: Claim, tables: dict[int, PaperTable]) -> str | None:
    stated = tables[claim["table"]].cells["unstated", "ins-dpo", claim["metric"]]
    overheads = _overheads(tables[claim["of_table"]], claim["of_metric"])
    mean = sum(overheads, Decimal(0)) / len(overheads)
    if stated.value in (*overheads, mean.quantize(Decimal(1))):
        return None
    return (
        f"{stated.text} is no model's overhead in Table {claim['of_table']} "
        f"({', '.join(f'+{overhead:f}%' for overhead in overheads)}), nor their mean, +{mean:.1f}%, rounded."
    )


def _overhead(claim: Claim, tables: dict[int, PaperTable]) -> str | None:
    overheads = _overheads(tables[claim["table"]], claim["metric"])
    if (min(overheads), max(overheads)) == (Decimal(claim["low"]), Decimal(claim["high"])):
        return None
    return (
        f"Section {claim['section']} puts {claim['metric']} at {claim['low']} to {claim['high']} %; it is {overheads}."
    )


def _overheads(table: PaperTable, metric: str) -> list[Decimal]:
    """Percent over DPO, for each model."""
    cells = [cell for cell in table.cells.values() if (cell.run, cell.metric) == ("ins-dpo", metric)]
    return [((cell.value or Decimal(0)) * 100 - 100).quantize(Decimal(1)) for cell in cells]


CHECKS: dict[str, Callable[[Claim, dict[int, PaperTable]], str | None]] = {
    "methods": _methods,
    "gains": _gains,
    "leads": _leads,
    "best": _best,
    "best_at": _best_at,
    "difference": _difference,
    "quoted": _quoted,
    "reported": _reported,
    "constant": _constant,
    "mean": _mean,
    "overhead": _overhead,
}

"""Table 3: INS-DPO on Llama-3-8B under length limits and draft caps; the paper's cells and ours beside them."""

from __future__ import annotations

from typing import Any

from paper_figures.beside import filled, notes, our_cells, paper_cell
from paper_figures.claims import contradictions
from paper_figures.item import Item, table_item
from paper_figures.measured import Results
from paper_figures.printed import PaperTable, read
from paper_figures.table import Cell, Row, Table

METRICS = ("alpaca_eval_lc", "alpaca_eval_wr", "arena_hard_sc", "arena_hard_wr")
LEGEND = "bold the best of a column. All in percent."


def make(results: Results) -> Item:
    """The table in all formats."""
    paper = read(3)
    found = contradictions(3)
    names = [Cell(name) for name in ("AE-LC", "AE-WR", "AH-SC", "AH-WR")]
    table = Table(
        "Table 3",
        "MaxLen and draft cap, INS-DPO on Llama-3-8B",
        "rr" + "r" * 2 * len(METRICS),
        (
            Row((Cell(), Cell(), Cell("paper", span=4), Cell("ours", span=4))),
            Row((Cell("MaxLen"), Cell("draft cap"), *names, *names)),
        ),
        tuple(_row(paper, results, facts) for facts in paper.rows),
        notes(paper, results, ("llama-3-8b",), found, legend=LEGEND),
    )
    return table_item(table, filled(results, paper), found)


def _row(paper: PaperTable, results: Results, facts: dict[str, Any]) -> Row:
    first = facts["draft_cap"] == "30%"
    theirs = [paper_cell(paper.cells[facts["model"], facts["run"], metric], paper) for metric in METRICS]
    return Row(
        (
            Cell(str(facts["max_length"]) if first else ""),
            Cell(facts["draft_cap"] or "none"),
            *theirs,
            *our_cells(results, facts["model"], facts["run"], METRICS),
        ),
        rule=first,
    )

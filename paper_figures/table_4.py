"""Table 4: the four conditioning strategies; the paper's cells and ours beside them."""

from __future__ import annotations

from typing import Any

from paper_figures.beside import filled, notes, our_cells, paper_cell
from paper_figures.claims import contradictions
from paper_figures.item import Item, table_item
from paper_figures.measured import Results
from paper_figures.names import MODELS
from paper_figures.printed import PaperTable, read
from paper_figures.table import Cell, Row, Table

METRICS = ("alpaca_eval_lc", "alpaca_eval_wr", "arena_hard_wr")
STRATEGIES = {"dpo": "none (DPO)", "one-sided-dpo": "one-sided", "ins-dpo": "symmetric", "averaged-dpo": "averaged"}
LEGEND = "arrows against no conditioning, bold the best of a model. All in percent."


def make(results: Results) -> Item:
    """The table in all formats."""
    paper = read(4)
    found = contradictions(4)
    names = [Cell("AE-LC"), Cell("AE-WR"), Cell("AH-WR")]
    table = Table(
        "Table 4",
        "Conditioning strategies (MaxLen 4096, draft cap 40%)",
        "ll" + "r" * 2 * len(METRICS),
        (
            Row((Cell(), Cell(), Cell("paper", span=3), Cell("ours", span=3))),
            Row((Cell("model"), Cell("conditioning"), *names, *names)),
        ),
        tuple(_row(paper, results, facts) for facts in paper.rows),
        notes(paper, results, ("mistral-7b", "llama-3-8b"), found, legend=LEGEND),
    )
    return table_item(table, filled(results, paper), found)


def _row(paper: PaperTable, results: Results, facts: dict[str, Any]) -> Row:
    model, run = facts["model"], facts["run"]
    return Row(
        (
            Cell(MODELS[model] if run == "dpo" else ""),
            Cell(STRATEGIES[run]),
            *[paper_cell(paper.cells[model, run, metric], paper) for metric in METRICS],
            *our_cells(results, model, run, METRICS),
        ),
        rule=run == "dpo",
    )

"""Table 3: INS-DPO on Llama-3-8B under length limits and draft caps; the paper's rows and ours below them."""

from __future__ import annotations

from paper_figures import scores
from paper_figures.measured import Results
from paper_figures.names import METRICS
from paper_figures.printed import PaperTable, elsewhere, read
from paper_figures.table import Item, grid, table

COLUMNS = ("alpaca_eval_lc", "alpaca_eval_wr", "arena_hard_sc", "arena_hard_wr")
MODEL = "llama-3-8b"


def make(results: Results) -> Item:
    """The table."""
    paper = read(3)
    head = ("MaxLen", "draft cap", *(METRICS[metric].label for metric in COLUMNS), "ours")
    body = []
    for facts in paper.rows:
        labels = (str(facts["max_length"]), facts["draft_cap"] or "none")
        body += scores.rows(paper, results, MODEL, facts["run"], COLUMNS, labels)
    parts = [grid(head, "rrrrrrl", body), *scores.notes(paper, results, "bold the best of a column. All in percent.")]
    title = "MaxLen and draft cap, INS-DPO on Llama-3-8B"
    return table(3, title, parts, ours=scores.filled(results, paper), against=contradictions(paper))


def contradictions(paper: PaperTable) -> list[str]:
    """Section 5.3's sentences about this table, against its cells."""
    value = {
        (facts["max_length"], facts["draft_cap"], metric): paper.cells[MODEL, facts["run"], metric].value
        for facts in paper.rows
        for metric in COLUMNS
    }
    lengths, caps = (list(dict.fromkeys(row[name] for row in paper.rows)) for name in ("max_length", "draft_cap"))
    columns = [(length, metric) for length in lengths for metric in COLUMNS]
    best = {column: max(caps, key=lambda cap: value[column[0], cap, column[1]]) for column in columns}
    not_40 = [f"{METRICS[m].label} at {length} (best at {cap})" for (length, m), cap in best.items() if cap != "40%"]
    gains = [value[4096, cap, "arena_hard_wr"] - value[1024, cap, "arena_hard_wr"] for cap in caps]
    listed = ", ".join(f"{gain} ({cap or 'no cap'})" for gain, cap in zip(gains, caps, strict=True))
    not_listed = f"{len(not_40)} of {len(columns)} cases: {', '.join(not_40)}"
    return [
        f"Section 5.3 gives the best AlpacaEval 2 LC as 40.3; the table's is {paper.best(MODEL, COLUMNS[0]).text}.",
        f"Section 5.3 calls a draft cap of 40% best; it is not in {not_listed}.",
        f"Section 5.3 puts MaxLen 4096 over 1024 by 2.6 in Arena-Hard WR; the rows differ by {listed}.",
        *elsewhere(3),
    ]

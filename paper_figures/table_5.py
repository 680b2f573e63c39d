"""Table 5: DPO and INS-DPO side by side; what of it we can say."""

from __future__ import annotations

from paper_figures.beside import against_itself
from paper_figures.claims import contradictions
from paper_figures.item import Item, table_item
from paper_figures.measured import Results
from paper_figures.overhead import HOW, MODELS, ratio
from paper_figures.printed import read
from paper_figures.table import Cell, Row, Table

ROWS = {
    "training_overhead": ("training overhead", "training_time"),
    "max_length": ("maximum sequence length", None),
    "inference_overhead": ("inference overhead", "inference_time"),
    "draft_revise": ("draft and revise at inference", None),
}
SOURCE = (
    "Paper: arXiv:2512.23126, Table 5 (Section 5.3), which names neither model nor hardware. Ours in upright type"
    " follows from the design: both are trained under one limit, and the policy without context is deployed."
)
# What needs no measurement: both are trained under one limit, and pi(. | x) is deployed.
BY_DESIGN = {"max_length": ("4096", "4096"), "draft_revise": ("No", "No")}


def make(results: Results) -> Item:
    """The table in all formats."""
    paper = read(5)
    found = contradictions(5)
    body = []
    for name, (label, measured) in ROWS.items():
        theirs = [Cell(paper.cells["unstated", run, name].text) for run in ("dpo", "ins-dpo")]
        ours = [Cell(text) for text in BY_DESIGN.get(name, ())] or _overhead(results, measured or "")
        body.append(Row((Cell(label), *theirs, *ours)))
    table = Table(
        "Table 5",
        "DPO against INS-DPO",
        "lcccc",
        (
            Row((Cell(), Cell("paper", span=2), Cell("ours", span=2))),
            Row((Cell(), *[Cell("DPO"), Cell("INS-DPO")] * 2)),
        ),
        tuple(body),
        (SOURCE, HOW, *against_itself(found), *paper.remarks),
    )
    ratios = [ratio(results, model, measured) for _, measured in ROWS.values() if measured for model in MODELS]
    return table_item(table, f"{sum(map(bool, ratios))} of {len(ratios)} ratios", found)


def _overhead(results: Results, metric: str) -> list[Cell]:
    """The range over the models that were measured."""
    found = [100 * (quotient[0] - 1) for model in MODELS if (quotient := ratio(results, model, metric))]
    if not found:
        return [Cell("not run here", quiet=True, span=2)]
    low, high = (f"{number:+.0f}%" for number in (min(found), max(found)))
    return [Cell("+0%"), Cell(low if low == high else f"{low} to {high}")]

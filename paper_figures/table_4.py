"""Table 4: the four conditioning strategies; the paper's rows and ours below them."""

from __future__ import annotations

from paper_figures import scores
from paper_figures.measured import Results
from paper_figures.names import METRICS, MODELS
from paper_figures.printed import PaperTable, elsewhere, read
from paper_figures.table import Item, grid, table

COLUMNS = ("alpaca_eval_lc", "alpaca_eval_wr", "arena_hard_wr")
STRATEGIES = {"dpo": "none (DPO)", "one-sided-dpo": "one-sided", "ins-dpo": "symmetric", "averaged-dpo": "averaged"}
LEGEND = "arrows against no conditioning, bold the best of a model. All in percent."


def make(results: Results) -> Item:
    """The table."""
    paper = read(4)
    head = ("model", "conditioning", *(METRICS[metric].label for metric in COLUMNS), "ours")
    body = []
    for facts in paper.rows:
        labels = (MODELS[facts["model"]], STRATEGIES[facts["run"]])
        body += scores.rows(paper, results, facts["model"], facts["run"], COLUMNS, labels)
    parts = [grid(head, "llrrrl", body), *scores.notes(paper, results, LEGEND)]
    title = "Conditioning strategies (MaxLen 4096, draft cap 40%)"
    return table(4, title, parts, ours=scores.filled(results, paper), against=contradictions(paper))


def contradictions(paper: PaperTable) -> list[str]:
    """Section 5.3's sentence about this table, against its cells."""
    ahead = paper.ahead_of("ins-dpo", ("alpaca_eval_wr", "arena_hard_wr"))
    return [
        f"Section 5.3 says that symmetric conditioning is preferred for raw quality; another is ahead in {ahead}.",
        *elsewhere(4),
    ]

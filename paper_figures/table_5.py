"""Table 5: DPO and INS-DPO side by side; what of it we can say."""

from __future__ import annotations

from paper_figures import overhead
from paper_figures.measured import Results
from paper_figures.names import MODELS
from paper_figures.printed import read
from paper_figures.table import Item, grid, table

SOURCE = (
    "Paper: arXiv:2512.23126, Table 5 (Section 5.3), which names neither model nor hardware. Ours, without measurement:"
    " both are trained under one length limit, and the policy without context is deployed."
)


def make(results: Results) -> Item:
    """The table."""
    ours = {
        "training overhead": ("training_overhead", _overhead(results, "training_time")),
        "maximum sequence length": ("max_length", ["4096", "4096"]),
        "inference overhead": ("inference_overhead", _overhead(results, "inference_time")),
        "draft and revise at inference": ("draft_revise", ["No", "No"]),
    }
    paper = read(5)
    body = [
        [label, *(paper.cells["unstated", run, metric].text for run in ("dpo", "ins-dpo")), *cells]
        for label, (metric, cells) in ours.items()
    ]
    head = ("", "DPO, paper", "INS-DPO, paper", "DPO, ours", "INS-DPO, ours")
    filled = overhead.filled(results, ("training_time", "inference_time"))
    parts = [grid(head, "lcccc", body), SOURCE, overhead.HOW]
    return table(5, "DPO against INS-DPO", parts, ours=filled, against=contradictions())


def _overhead(results: Results, metric: str) -> list[str]:
    """Ours, the range over the models that were measured."""
    found = [100 * (ratio[0] - 1) for model in MODELS if (ratio := overhead.ratio(results, model, metric))]
    if not found:
        return ["*not run here*"] * 2
    low, high = (f"{number:+.0f}%" for number in (min(found), max(found)))
    return ["+0%", low if low == high else f"{low} to {high}"]


def contradictions() -> list[str]:
    """This table against the length limit that the paper states elsewhere, and against Table 7."""
    here, there = read(5).cells, read(7).cells
    percents = [round(100 * there[model, "ins-dpo", "training_time"].value - 100) for model in MODELS]
    length, stated = (here["unstated", *key].text for key in (("dpo", "max_length"), ("ins-dpo", "training_overhead")))
    listed, mean = ", ".join(f"+{percent}%" for percent in percents), sum(percents) / len(percents)
    lengths = f"this table has {length} for DPO, so its overhead would compare two lengths"
    return [
        f"D.1 and Table 4's caption train everything at 4096 tokens; {lengths}.",
        f"{stated} is no model's overhead in Table 7 ({listed}), nor their mean, +{mean:.1f}%, rounded.",
    ]

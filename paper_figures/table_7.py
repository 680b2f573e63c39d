"""Table 7: time and memory of INS-DPO as ratios to DPO's, on three models."""

from __future__ import annotations

from paper_figures import overhead
from paper_figures.measured import Results
from paper_figures.names import METRICS, MODELS
from paper_figures.printed import PaperTable, read
from paper_figures.table import Item, grid, table

COLUMNS = ("training_time", "memory", "inference_time")
SOURCE = "Paper: arXiv:2512.23126, Table 7 (Section D.5), on A100 80 GB; DPO is 1.0× throughout and left out."


def make(results: Results) -> Item:
    """The table."""
    paper = read(7)
    body = []
    for model, name in MODELS.items():
        theirs = [paper.cells[model, "ins-dpo", metric].text for metric in COLUMNS]
        body.append([name, *theirs, *(_ratio(results, model, metric) for metric in COLUMNS)])
    head = ["model", *(f"{METRICS[metric].label}, {whose}" for whose in ("paper", "ours") for metric in COLUMNS)]
    parts = [grid(head, "lcccccc", body), SOURCE, overhead.HOW, _token_note(paper), *paper.remarks]
    return table(7, "INS-DPO's cost over DPO's", parts, ours=overhead.filled(results, COLUMNS))


def _ratio(results: Results, model: str, metric: str) -> str:
    """Ours: ``1.18× ±0.02``."""
    found = overhead.ratio(results, model, metric)
    if found is None:
        return "*not run here*"
    return f"{found[0]:.2f}×" + ("" if found[1] is None else f" ±{found[1]:.2f}")


def _token_note(paper: PaperTable) -> str:
    """What the printed training times would need if time were proportional to tokens."""
    times = [float(paper.cells[model, "ins-dpo", "training_time"].value) for model in MODELS]
    prompts = ", ".join(f"{prompt_length(time):.1f}" for time in times)
    return (
        "Two cross-conditioned rows hold each response twice, which plain rows do not. If time grew with tokens alone,"
        f" the printed overheads would need prompts {prompts} times as long as a response; attention only adds to that."
    )


def prompt_length(ratio: float) -> float:
    """How many times as long as a response a prompt must be for a ratio of times to be that of the tokens.

    Two plain rows have 2x + w + l tokens and two cross-conditioned ones 2x + 2w + 2l; with w = l the
    ratio is (x + 2w) / (x + w), so that x / w = (2 - ratio) / (ratio - 1).

    >>> prompt_length(1.25)
    3.0
    """
    return (2 - ratio) / (ratio - 1)

"""What INS-DPO costs over DPO: the ratios of our result files that Tables 5 and 7 show."""

from __future__ import annotations

from math import hypot

from paper_figures.measured import Results
from paper_figures.table import Cell

MODELS = ("mistral-7b", "llama-3-8b", "gemma-2-9b")
HOW = (
    "Ours: not run here where a cell says so. `python benchmarks/cost.py --device cuda` measures both objectives side"
    " by side, each in one pass over prefix trees, and writes `results/cost/MODEL/dpo.json` and"
    " `results/cost/MODEL/ins-dpo.json`; a ratio is taken of the two."
)


def ratio(results: Results, model: str, metric: str) -> tuple[float, float | None] | None:
    """INS-DPO's cost over DPO's, and its standard error where both have one; None where either is missing."""
    ins, dpo = results.get((model, "ins-dpo", metric)), results.get((model, "dpo", metric))
    if ins is None or dpo is None or dpo.value <= 0:
        return None
    return quotient(ins.value, ins.se, dpo.value, dpo.se)


def quotient(above: float, above_se: float | None, below: float, below_se: float | None) -> tuple[float, float | None]:
    """``above / below``, and its first-order standard error where both have one; the two are independent.

    >>> quotient(2.4, 0.0, 2.0, 0.0)
    (1.2, 0.0)
    """
    value = above / below
    if above_se is None or below_se is None:
        return value, None
    return value, hypot(above_se / below, value * below_se / below)


def ratio_cell(results: Results, model: str, metric: str) -> Cell:
    """``1.18×`` and its standard error, or that it was not run."""
    found = ratio(results, model, metric)
    if found is None:
        return Cell("not run here", quiet=True)
    return Cell(f"{found[0]:.2f}×", small="" if found[1] is None else f"±{found[1]:.2f}")


def prompt_share(overhead: float) -> float:
    """How many times as long as a response a prompt must be for an overhead to be that of the tokens alone.

    Two plain rows have 2x + w + l tokens and two cross-conditioned ones 2x + 2w + 2l; with w = l the
    ratio is (x + 2w) / (x + w), so that x / w = (2 - ratio) / (ratio - 1).

    >>> prompt_share(1.25)
    3.0
    """
    return (2 - overhead) / (overhead - 1)

"""What INS-DPO costs over DPO: the ratios of our result files that Tables 5 and 7 show."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

from paper_figures.measured import Results
from paper_figures.names import MODELS

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


def filled(results: Results, metrics: Sequence[str]) -> str:
    """How many ratios we have: ``3 of 9 ratios``."""
    found = [ratio(results, model, metric) is not None for model in MODELS for metric in metrics]
    return f"{sum(found)} of {len(found)} ratios"

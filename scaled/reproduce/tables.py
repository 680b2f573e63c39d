"""The paper's tables as cells, each (model, run, metric), and who scores which metrics."""

from __future__ import annotations

from typing import NamedTuple

from scaled.reproduce.recipes import METHODS, RECIPES

Cell = tuple[str, str, str]

GPT_4_TURBO = "gpt-4-1106-preview"
"""The judge of AlpacaEval 2 and Arena-Hard in the paper."""


class Scoring(NamedTuple):
    """Metrics that one judge gives on one benchmark."""

    benchmark: str
    judge: str
    metrics: tuple[str, ...]


ALPACA = Scoring("alpaca_eval", GPT_4_TURBO, ("alpaca_eval_lc", "alpaca_eval_wr"))
ARENA = Scoring("arena_hard", GPT_4_TURBO, ("arena_hard_wr",))
ARENA_STYLE = Scoring("arena_hard", GPT_4_TURBO, ("arena_hard_sc", "arena_hard_wr"))
MT_BENCH = (
    Scoring("mt_bench", "gpt-4o-2024-05-13", ("mt_bench_gpt_4o",)),
    Scoring("mt_bench", "gpt-4-0613", ("mt_bench_gpt_4",)),
)


class Table(NamedTuple):
    """One table of scores."""

    models: tuple[str, ...]
    runs: tuple[str, ...]
    scorings: tuple[Scoring, ...]

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Model and run of each."""
        return [(model, run) for model in self.models for run in self.runs]

    @property
    def cells(self) -> list[Cell]:
        """All of them."""
        metrics = [metric for scoring in self.scorings for metric in scoring.metrics]
        return [(*row, metric) for row in self.rows for metric in metrics]


_BOTH = ("mistral-7b", "llama-3-8b")
_INS = tuple(f"ins-{method}" for method in ("ipo", "orpo", "r-dpo", "dpo", "simpo"))

SCORES: dict[int, Table] = {
    2: Table(_BOTH, ("instruct", *METHODS, *_INS), (ALPACA, ARENA, *MT_BENCH)),
    3: Table(
        ("llama-3-8b",), ("ins-dpo", *(run for run in RECIPES if run.startswith("ins-dpo-"))), (ALPACA, ARENA_STYLE)
    ),
    4: Table(_BOTH, ("dpo", "one-sided-dpo", "ins-dpo", "averaged-dpo"), (ALPACA, ARENA)),
}

COST_MODELS = (*_BOTH, "gemma-2-9b")
COST_RUNS = ("dpo", "ins-dpo")
COSTS: dict[int, tuple[str, ...]] = {
    5: ("training_overhead", "max_length", "inference_overhead", "draft_revise"),
    7: ("training_time", "memory", "inference_time"),
}
"""Rows of Table 5, whose model is not named and two of which no run decides, and columns of Table 7."""

TABLES = (*SCORES, *COSTS)


def cells(number: int) -> list[Cell]:
    """Every cell of a table, as ``paper_figures`` names them."""
    if number in SCORES:
        return SCORES[number].cells
    models = ("unstated",) if number == 5 else COST_MODELS
    return [(model, run, metric) for model in models for run in COST_RUNS for metric in COSTS[number]]

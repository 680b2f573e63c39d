"""How models, runs and metrics are called: their names in files, and in print."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """One measured quantity.

    Attributes:
        label: its name in print.
        decimals: how many it is printed with.
        judge: the judge of the paper's numbers; None for what no judge decides.
    """

    label: str
    decimals: int
    judge: str | None = None


METRICS: dict[str, Metric] = {
    "alpaca_eval_lc": Metric("AlpacaEval 2 LC", 1, "gpt-4-1106-preview"),
    "alpaca_eval_wr": Metric("AlpacaEval 2 WR", 1, "gpt-4-1106-preview"),
    "arena_hard_wr": Metric("Arena-Hard WR", 1, "gpt-4-1106-preview"),
    "arena_hard_sc": Metric("Arena-Hard SC", 1, "gpt-4-1106-preview"),
    "mt_bench_gpt_4o": Metric("MT-Bench, GPT-4o", 1, "gpt-4o-2024-05-13"),
    "mt_bench_gpt_4": Metric("MT-Bench, GPT-4", 1, "gpt-4-0613"),
    "training_time": Metric("training time", 2),  # seconds per pair
    "memory": Metric("memory", 2),  # GiB at the peak
    "inference_time": Metric("inference time", 2),  # seconds per generated token
}

MODELS = {"mistral-7b": "Mistral-7B", "llama-3-8b": "Llama-3-8B", "gemma-2-9b": "Gemma-2-9B"}

BASES = {"ipo": "IPO", "orpo": "ORPO", "r-dpo": "R-DPO", "dpo": "DPO", "simpo": "SimPO"}

RUNS = {
    "instruct": "Baseline",
    "rrhf": "RRHF",
    "slic": "SLiC-HF",
    "cpo": "CPO",
    "kto": "KTO",
    **BASES,
    **{f"ins-{run}": f"INS-{label}" for run, label in BASES.items()},
    "one-sided-dpo": "One-sided",
    "averaged-dpo": "Averaged",
}

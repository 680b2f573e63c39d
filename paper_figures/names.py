"""What models, runs and metrics are called: in files, and in print."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """A metric's name in print; of benchmarks also the judge of the paper's numbers, and how many questions."""

    label: str
    judge: str | None = None
    questions: int = 0


METRICS: dict[str, Metric] = {
    "alpaca_eval_lc": Metric("AlpacaEval 2 LC", "gpt-4-1106-preview", 805),
    "alpaca_eval_wr": Metric("AlpacaEval 2 WR", "gpt-4-1106-preview", 805),
    "arena_hard_wr": Metric("Arena-Hard WR", "gpt-4-1106-preview", 500),
    "arena_hard_sc": Metric("Arena-Hard SC", "gpt-4-1106-preview", 500),
    "mt_bench_gpt_4o": Metric("MT-Bench, GPT-4o", "gpt-4o-2024-05-13", 80),
    "mt_bench_gpt_4": Metric("MT-Bench, GPT-4", "gpt-4-0613", 80),
    "training_time": Metric("training time"),  # seconds per pair
    "memory": Metric("memory"),  # GiB at the peak
    "inference_time": Metric("inference time"),  # seconds per generated token
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

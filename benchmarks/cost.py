"""Tables 5 and 7: what INS-DPO costs over plain DPO, side by side: ``python benchmarks/cost.py``.

The paper's three models with random weights: on a CPU small ones of the same architectures, with
``--device cuda`` at full size in bfloat16. In each turn both objectives, one after the other, make an
update (forward and backward over all pairs with cached reference, gradient checkpointing as in Appendix
D.1, AdamW) and then generate from the prompts, without a context, as both are deployed.

Full-size results go to ``results/cost/MODEL/{dpo,ins-dpo}.json``, from where ``python -m paper_figures``
fills Tables 5 and 7; small ones to ``results/cost-small``, from where nothing does.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import math
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from one_pass_measure import Bench, Setting, free_memory, machine
from one_pass_memory import peak_memory
from side_by_side import ROOT, at_least, command_line, finish, markdown
from tqdm import tqdm

from paper_figures.overhead import quotient
from scaled.files import write_atomically

MODELS = ("mistral-7b", "llama-3-8b", "gemma-2-9b")
RUNS = {"dpo": "dpo", "ins-dpo": "ins"}
"""Name of the result file -> kind of the step."""
PROMPTS = 4
"""How many prompts are answered in a turn."""


@dataclass
class Cost:
    """What one objective cost, turn after turn.

    Attributes:
        training: seconds per pair of an update.
        inference: seconds per generated token.
        memory: peak bytes of the update.
    """

    training: list[float] = field(default_factory=list)
    inference: list[float] = field(default_factory=list)
    memory: int = 0


def measure(setting: Setting, *, turns: int, budget: int, new_tokens: int) -> dict[str, Cost]:
    """Costs of plain DPO and INS-DPO on one model, after one turn to warm up.

    Args:
        setting: model, device, pairs.
        turns: how many count.
        budget: tokens of a row of trees, 0 for one tree a row.
        new_tokens: generated per prompt.

    Returns:
        By the name of the result file.
    """
    bench = Bench(setting)
    optimizer = torch.optim.AdamW(bench.model.parameters(), lr=1e-6)
    steps = {run: bench.step(f"{kind}:{budget}") for run, kind in RUNS.items()}
    costs = {run: Cost() for run in RUNS}
    for turn in tqdm(range(turns + 1), desc=setting.shape, disable=None):
        for run, step in steps.items():
            training, memory = update(bench, step.run, optimizer)
            inference = generate(bench, new_tokens)
            if turn:
                costs[run].training.append(training / len(bench.pairs))
                costs[run].inference.append(inference)
                costs[run].memory = max(costs[run].memory, memory)
    if setting.device == "cpu":
        moments = sum(
            part.numel() * part.element_size() for state in optimizer.state.values() for part in state.values()
        )
        peaks = peak_memory(bench, [f"{kind}:{budget}" for kind in RUNS.values()], setting.pairs)
        for run, peak in zip(RUNS, peaks.values(), strict=True):
            costs[run].memory = int(peak or 0) + moments
    del bench, optimizer, steps
    free_memory(setting.device)
    return costs


def update(bench: Bench, step: Any, optimizer: torch.optim.Optimizer) -> tuple[float, int]:
    """Seconds of an update, and on CUDA its peak bytes."""
    optimizer.zero_grad(set_to_none=True)
    on_gpu = bench.setting.device == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    bench.synchronize()
    start = time.perf_counter()
    step()
    optimizer.step()
    bench.synchronize()
    return time.perf_counter() - start, torch.cuda.max_memory_allocated() if on_gpu else 0


@torch.no_grad()
def generate(bench: Bench, new_tokens: int) -> float:
    """Seconds per token of greedy generation from the first prompts, one at a time, as one user is served."""
    model: Any = bench.model
    capped = getattr(model.config, "attn_logit_softcapping", None) is not None
    model.set_attn_implementation("eager" if capped else "sdpa")  # sdpa has no soft caps
    model.eval()  # switches checkpointing off too
    model.generation_config.pad_token_id = 0
    lengths = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens, "do_sample": False}
    prompts = [pair.prompt for pair in bench.pairs[:PROMPTS]]
    bench.synchronize()
    start = time.perf_counter()
    for prompt in prompts:
        tokens = torch.tensor([prompt], device=model.device)
        model.generate(tokens, attention_mask=torch.ones_like(tokens), **lengths)
    bench.synchronize()
    seconds = time.perf_counter() - start
    model.train()
    return seconds / (new_tokens * len(prompts))


def as_result(model: str, run: str, cost: Cost, setting: Setting, new_tokens: int) -> dict[str, Any]:
    """A result file, as :mod:`paper_figures.measured` reads it."""
    decisive = json.dumps(asdict(setting) | {"new_tokens": new_tokens, "run": run}, sort_keys=True)

    def entry(metric: str, values: list[float], count: int) -> dict[str, Any]:
        se = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
        return {"metric": metric, "value": statistics.mean(values), "se": se, "n": count, "judge": None}

    return {
        "model": model,
        "run": run,
        "seed": setting.seed,
        "config_hash": hashlib.sha256(decisive.encode()).hexdigest(),
        "metrics": [
            entry("training_time", cost.training, setting.pairs * len(cost.training)),
            entry("memory", [cost.memory / 2**30], setting.pairs),
            entry("inference_time", cost.inference, new_tokens * min(PROMPTS, setting.pairs) * len(cost.inference)),
        ],
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": machine(setting.device, setting.threads),
        "setting": asdict(setting),
    }


def table(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """INS-DPO's cost as a share of plain DPO's, with what both are."""
    rows = [["model", "training time", "memory", "inference time", "DPO: s/pair", "GiB", "ms/token"]]
    for model, runs in results.items():
        plain, ins = ({entry["metric"]: entry for entry in runs[run]["metrics"]} for run in RUNS)
        cells = []
        for name, dpo in plain.items():
            value, error = quotient(ins[name]["value"], ins[name]["se"], dpo["value"], dpo["se"])
            cells.append(f"{value:.2f}" + ("" if error is None else f" ± {error:.2f}"))
        training, memory, inference = (dpo["value"] for dpo in plain.values())
        rows.append([model, *cells, f"{training:.3f}", f"{memory:.2f}", f"{1000 * inference:.1f}"])
    return markdown(rows)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line.

    Raises:
        UserError: an option that is unknown or out of range.
    """
    parser = command_line(__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="default: all three")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cpu: small models in float32")
    parser.add_argument("--pairs", type=at_least(1), help="real pairs of an update; 8 on cpu, 32 on cuda")
    parser.add_argument("--max-length", type=at_least(16), help="of prompt and one response; 1024 on cpu, 2048 on cuda")
    parser.add_argument("--turns", type=at_least(1), default=5, help="updates of each objective that count")
    parser.add_argument("--new-tokens", type=at_least(1), default=64, help="generated per prompt")
    parser.add_argument("--token-budget", type=at_least(0), help="of a row of trees, 0 for one; 0 on cpu, 8192 on cuda")
    parser.add_argument("--no-checkpointing", action="store_true", help="keep activations instead of recomputing them")
    parser.add_argument("--threads", type=at_least(1), default=2, help="of torch, on CPU")
    parser.add_argument("--seed", type=int, default=0, help="of pairs and weights")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="folder of result files")
    options = parser.parse_args(arguments)
    on_gpu = options.device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU")
    for name, on_cpu, on_cuda in (("pairs", 8, 32), ("max_length", 1024, 2048), ("token_budget", 0, 8192)):
        if getattr(options, name) is None:
            setattr(options, name, on_cuda if on_gpu else on_cpu)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write result files, print the table; 1 if a model did not fit into memory."""
    options = parse(arguments)
    on_gpu = options.device == "cuda"
    folder = options.results / ("cost" if on_gpu else "cost-small")
    results: dict[str, dict[str, dict[str, Any]]] = {}
    too_large = []
    for model in options.models:
        setting = Setting(
            model if on_gpu else f"{model}-small",
            options.device,
            options.max_length,
            tuples=False,
            pairs=options.pairs,
            threads=options.threads,
            attention="auto",
            seed=options.seed,
            checkpointing=not options.no_checkpointing,
        )
        try:
            costs = measure(setting, turns=options.turns, budget=options.token_budget, new_tokens=options.new_tokens)
        except torch.OutOfMemoryError:
            too_large.append(model)
            free_memory(options.device)
            continue
        results[model] = {run: as_result(model, run, cost, setting, options.new_tokens) for run, cost in costs.items()}
        (folder / model).mkdir(parents=True, exist_ok=True)
        for run, result in results[model].items():
            write_atomically(folder / model / f"{run}.json", json.dumps(result, indent=1) + "\n")
    if results:
        sizes = "full size" if on_gpu else "small models of their architectures"
        print(f"INS-DPO over plain DPO, {sizes}, {machine(options.device, options.threads)}\n")
        print(table(results))
        print(f"\nresults: {folder}" + ("; now python -m paper_figures --only table_5 table_7" if on_gpu else ""))
    for model in too_large:
        print(f"{model}: out of memory; lower --token-budget or take a larger GPU", file=sys.stderr)
    return 1 if too_large else 0


if __name__ == "__main__":
    finish(main)

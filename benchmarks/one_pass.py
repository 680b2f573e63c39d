"""One pass over a prefix tree against TRL and against ourselves, side by side: ``python benchmarks/one_pass.py``.

Every step is forward and backward over the same pairs with the same weights and cached reference
log-probs; steps take turns (A B C, A B C, ...), and what counts is the median ratio. Needs the
groups train and peers, and the judged pairs in ../shared/data.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from one_pass_measure import (
    CONDITIONINGS,
    Bench,
    Ratio,
    Setting,
    Timing,
    build_share,
    free_memory,
    interleave,
    machine,
    matrix_peak,
    step_flops,
)
from one_pass_memory import peak_memory
from one_pass_pairs import RESULTS
from one_pass_steps import SHAPES, Step, packed
from one_pass_tables import describe, name_of, tables
from side_by_side import at_least, command_line, finish
from tqdm import tqdm

from inspo.hf.trees import ATTENTIONS

MICRO_BATCHES = (1, 2, 4, 8, 16)
TOKEN_BUDGETS = (0, 2048, 4096)
TUNING_PAIRS = 16
TUNING_TURNS = 3
MEMORY_PAIRS = 16


@dataclass(frozen=True)
class Comparison:
    """One line of the table: a step, what it is compared with, and the target."""

    what: str
    against: str
    numerator: str
    denominator: str
    target: float | None


def comparisons(micro_batch: int, budget: int) -> list[Comparison]:
    """What the table shows, for TRL's best micro-batch and the best token budget of a row of trees."""
    ins, dpo, averaged, anchored = (f"{kind}:{budget}" for kind in CONDITIONINGS)
    shipped, stored, best = "trl_checkpointed:8", "trl:8", f"trl_grouped:{micro_batch}"
    at_best = f"TRL plain DPO, by length, micro-batch {micro_batch}"
    return [
        Comparison("INS-DPO, one pass", "TRL plain DPO, defaults, micro-batch 8", ins, shipped, 0.55),
        Comparison("plain DPO, one pass", "TRL plain DPO, defaults, micro-batch 8", dpo, shipped, 0.32),
        Comparison("INS-DPO, one pass", "the same without checkpointing", ins, stored, None),
        Comparison("plain DPO, one pass", "the same without checkpointing", dpo, stored, None),
        Comparison("INS-DPO, one pass", at_best, ins, best, 0.90),
        Comparison("plain DPO, one pass", at_best, dpo, best, 0.50),
        Comparison("averaged, one pass", "symmetric (INS-DPO), one pass", averaged, ins, 1.03),
        Comparison("anchored, one pass", "symmetric (INS-DPO), one pass", anchored, ins, 1.50),
        Comparison("INS-DPO, one pass", "two padded rows, micro-batch 8", ins, "two_rows:8", 0.45),
        Comparison("INS-DPO, one pass", "two padded rows, micro-batch 1", ins, "two_rows:1", None),
        Comparison("INS-DPO, one pass", "plain causal over as many tokens", ins, f"causal:{budget}", 0.95),
    ]


def measure(
    setting: Setting, repeats: int, micro_batch: int | None, budget: int | None, *, ours: bool = False
) -> dict[str, Any]:
    """Everything that the table shows for one length; of `ours`, conditionings in one pass, time alone."""
    if micro_batch is None or budget is None:
        micro_batch, budget = tune(setting, micro_batch, budget)
    lines = comparisons(micro_batch, budget)
    if ours:
        lines = [
            line for line in lines if all(_kind(key) in CONDITIONINGS for key in (line.numerator, line.denominator))
        ]
    keys = list(dict.fromkeys(key for line in lines for key in (line.denominator, line.numerator)))
    warm_up(setting, keys)
    bench = Bench(setting)
    steps = same_targets(bench, keys)
    with tqdm(total=repeats * len(keys), desc=f"MaxLen {setting.max_length}", disable=None) as bar:
        timings = interleave(
            bench, keys, repeats, lambda key: bar.set_postfix_str(name_of(key)) or (bar.update() and None)
        )
    agree(timings, 1e-4 if setting.device == "cpu" else 0.1)
    ins, dpo = f"ins:{budget}", f"dpo:{budget}"
    trees = {
        ins: packed(bench.pairs, CONDITIONINGS["ins"], budget),
        dpo: packed(bench.pairs, CONDITIONINGS["dpo"], budget),
    }
    in_memory = () if ours else ("trl_checkpointed:8", "trl:8", f"trl_grouped:{micro_batch}", ins)
    ratios = [Ratio.of(timings[line.numerator], timings[line.denominator]) for line in lines]
    return {
        "setting": asdict(setting),
        "micro_batch": micro_batch,
        "token_budget": budget,
        "pairs": len(bench.pairs),
        "mean_lengths": bench.selection.mean_lengths(),
        "fitted": bench.selection.fitted,
        "target_tokens": bench.selection.target_tokens,
        "tokens": {key: step.tokens for key, step in steps.items()},
        "timings": {key: asdict(timing) for key, timing in timings.items()},
        "ratios": [
            {**asdict(line), "ratio": ratio and asdict(ratio)} for line, ratio in zip(lines, ratios, strict=True)
        ],
        "build_share": build_share(bench, budget, min(timings[ins].wall)),
        "peak_bytes": peak_memory(bench, tqdm(in_memory, desc="peak memory", disable=None), MEMORY_PAIRS),
        "flops": {key: step_flops(bench.shape, rows) for key, rows in trees.items()},
    }


def _kind(key: str) -> str:
    return key.partition(":")[0]


def same_targets(bench: Bench, keys: Sequence[str]) -> dict[str, Step]:
    """The steps, once it is clear that they score the same target tokens: each twice where there are two halves."""
    steps = {key: bench.step(key) for key in keys}
    for key, step in steps.items():
        halves = len(CONDITIONINGS[_kind(key)].contrasts) if _kind(key) in CONDITIONINGS else 1
        expected = bench.selection.target_tokens * halves
        if not key.startswith("causal") and step.scored != expected:
            raise AssertionError(f"{name_of(key)} scores {step.scored} target tokens, must be {expected}")
    return steps


def warm_up(setting: Setting, keys: Sequence[str]) -> None:
    """Run every step once on a few pairs: kernels are chosen, memory is mapped."""
    bench = Bench(Setting(**{**asdict(setting), "pairs": 2}))
    interleave(bench, keys, 1)
    del bench
    free_memory(setting.device)


def tune(setting: Setting, micro_batch: int | None, budget: int | None) -> tuple[int, int]:
    """TRL's fastest micro-batch and the fastest token budget of a row, over a few pairs.

    By each size's fastest turn of several: what else the machine does only ever makes a turn slower.
    """
    bench = Bench(Setting(**{**asdict(setting), "pairs": min(TUNING_PAIRS, setting.pairs)}))
    grouped = [f"trl_grouped:{size}" for size in (MICRO_BATCHES if micro_batch is None else (micro_batch,))]
    ours = [f"ins:{size}" for size in (TOKEN_BUDGETS if budget is None else (budget,))]
    with tqdm(total=TUNING_TURNS * (len(grouped) + len(ours)), desc="choosing sizes", disable=None) as bar:
        timings = interleave(bench, [*grouped, *ours], TUNING_TURNS, lambda _: bar.update() and None)

    def fastest(keys: list[str]) -> int:
        ran = (key for key in keys if timings[key].wall)
        return int(min(ran, key=lambda key: min(timings[key].wall)).partition(":")[2])

    del bench
    free_memory(setting.device)
    return fastest(grouped), fastest(ours)


def agree(timings: dict[str, Timing], tolerance: float) -> None:
    """Check that steps of one objective computed one loss."""
    for kinds in (("dpo", "trl"), ("ins", "two_rows")):
        losses = [timing.loss for key, timing in timings.items() if key.startswith(kinds) and timing.wall]
        if losses and max(losses) - min(losses) > tolerance * max(1.0, *losses):
            raise AssertionError(f"{' and '.join(kinds)} disagree about the loss: {losses}")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line.

    Raises:
        UserError: an option that is unknown or out of range.
    """
    parser = command_line(__doc__)
    parser.add_argument("--pairs", type=at_least(8), default=16, help="real pairs, a multiple of 8 (default 16)")
    parser.add_argument("--max-length", type=at_least(16), nargs="+", default=[512, 1024], help="limits in tokens")
    parser.add_argument(
        "--limit",
        choices=("response", "tuple"),
        default="response",
        help="the limit is of prompt and one response, as trainers of plain DPO have it, or of prompt and both",
    )
    parser.add_argument("--repeats", type=at_least(1), default=3, help="times that all steps take turns")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cpu in float32, cuda in bfloat16")
    parser.add_argument("--shape", choices=tuple(SHAPES), help="model; small on cpu, 1b on cuda")
    parser.add_argument("--attention", choices=("auto", *ATTENTIONS), default="auto", help="over trees")
    parser.add_argument("--threads", type=at_least(1), default=2, help="of torch, on CPU")
    parser.add_argument("--seed", type=int, default=0, help="of pairs and weights")
    parser.add_argument("--micro-batch", type=at_least(1), help="TRL's best one, if known; else it is measured first")
    parser.add_argument(
        "--token-budget", type=at_least(0), help="tokens of a row of trees, 0 for one tree; else measured first"
    )
    parser.add_argument("--ours", action="store_true", help="only our conditionings in one pass, against each other")
    parser.add_argument("--quick", action="store_true", help="does it run: 8 pairs, one short length, one repeat")
    options = parser.parse_args(arguments)
    if options.pairs % 8:
        parser.error(f"--pairs {options.pairs}: must be a multiple of 8, the micro-batch of TRL's defaults")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU")
    options.shape = options.shape or ("small" if options.device == "cpu" else "1b")
    if options.quick:
        options.pairs, options.max_length, options.repeats = 8, [64], 1
        options.micro_batch, options.token_budget = 1, 0
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print Markdown, write JSON."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    settings = [
        Setting(
            options.shape,
            options.device,
            length,
            options.limit == "tuple",
            options.pairs,
            options.threads,
            options.attention,
            options.seed,
        )
        for length in options.max_length
    ]
    words = sys.argv[1:] if arguments is None else arguments
    peak = matrix_peak(options.device, settings[0].dtype)
    about = {
        "command": " ".join(["python benchmarks/one_pass.py", *words]),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": machine(options.device, options.threads),
        "matrix_peak": peak,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    data = [
        {**measure(setting, options.repeats, options.micro_batch, options.token_budget, ours=options.ours), **about}
        for setting in settings
    ]
    text = "\n".join(describe(result) for result in data) + "\n\n" + tables(data)
    name = f"table-{options.device}-{options.shape}-{options.limit}{'-ours' if options.ours else ''}"
    (RESULTS / f"{name}.json").write_text(json.dumps({**about, "results": data}, indent=1), encoding="utf-8")
    print(
        f"{about['date']}, `{about['command']}`, {about['machine']}, "
        f"{peak / 1e12:.3g} TFLOP/s in a large matrix product.\n\n{text}"
    )


if __name__ == "__main__":
    finish(main)

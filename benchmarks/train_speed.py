"""Whole trainings side by side: ``python benchmarks/train_speed.py``, or ``--against FOLDER`` of another checkout.

Against TRL, in pairs per second: the same small random model (4 layers, width 256), the same real pairs, batches
of 8, float32, two threads, one epoch, reference included. A command's pairs per second count everything from its
start to its end but the imports of the libraries, whose seconds are shown beside (``--imports`` counts them too).
TRL at its defaults keeps gradient checkpointing and scores the reference at every step; TRL at its best scores it
beforehand, has no checkpointing, and takes one pair at a time, which avoids padding.

Against another checkout, in updates per second: INS-DPO as ``scaled/configs/tiny.yaml`` has it, on one thread,
from the first update to the last.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from side_by_side import (
    JUDGED_PAIRS,
    ROOT,
    Spent,
    at_least,
    checkout,
    command_line,
    finish,
    markdown,
    medians,
    ratios,
    run_python,
    take_turns,
    watch,
)

SIZES = {
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 4096,
}
OURS: dict[str, Any] = {
    "method": "dpo",
    "beta": 0.1,
    "max_length": None,
    "draft_cap": None,
    "batch_size": 8,
    "row_tokens": 8192,
    "validation_size": 0,
    "epochs": 1,
    "learning_rate": 1e-5,
    "precision": "float32",
    "gradient_checkpointing": False,
    "zero_stage": 0,
    "threads": 2,
    "trackers": [],
}
CONTENDERS: dict[str, dict[str, dict[str, Any]]] = {
    "TRL DPO, defaults": {"trl": {"per_device_train_batch_size": 8}},
    "TRL DPO, at its best": {
        "trl": {
            "per_device_train_batch_size": 1,
            "gradient_accumulation_steps": 8,
            "gradient_checkpointing": False,
            "precompute_ref_log_probs": True,
        }
    },
    "plain DPO": {"ours": {"conditioning": "none"}},
    "plain DPO, checkpointing": {"ours": {"conditioning": "none", "gradient_checkpointing": True}},
    "INS-DPO": {"ours": {"conditioning": "symmetric"}},
    "INS-DPO, checkpointing": {"ours": {"conditioning": "symmetric", "gradient_checkpointing": True}},
}


def prepare(folder: Path, count: int) -> None:
    """Write the base model and `count` of the pairs whose responses are at most 1600 characters."""
    from scaled.data.records import load_records, texts
    from scaled.data.templates import NAMED
    from scaled.model.random_weights import shipped_architecture, train_tokenizer, write_random_model

    rows = []
    with gzip.open(JUDGED_PAIRS, "rt") as lines:
        for row in map(json.loads, lines):
            replies = [row["response_a"].strip(), row["response_b"].strip()]
            usable = all(replies) and replies[0] != replies[1] and row["p_a_preferred"] != 0.5
            if usable and max(map(len, replies)) <= 1600:
                rows.append(row)
    file = folder / "pairs.jsonl"
    # Spread over the file, which is sorted by model.
    file.write_text("".join(json.dumps(row) + "\n" for row in rows[:: max(1, len(rows) // count)][:count]))
    tokenizer = train_tokenizer(texts(load_records(file)), NAMED["chatml"])
    tokens = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    architecture = shipped_architecture("tiny-llama", **SIZES, **tokens, vocab_size=len(tokenizer))
    write_random_model(folder / "base", architecture, tokenizer, seed=0)


def train_ours(folder: Path, options: dict[str, Any]) -> None:
    """One run of ours, from reading the data to the saved folder."""
    from scaled.config import TrainConfig
    from scaled.run.run import run

    paths = {"model": folder / "base", "data": folder / "pairs.jsonl", "out": folder / "out"}
    run(TrainConfig(**(OURS | {key: str(path) for key, path in paths.items()} | options)))


def train_trl(folder: Path, options: dict[str, Any]) -> None:
    """The same with TRL: read, train, save."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    from scaled.data.records import load_records

    torch.set_num_threads(2)
    rows = [
        {
            "prompt": record["prompt"],
            "chosen": record["chosen"],
            "rejected": record["rejected"],
        }
        for record in load_records(folder / "pairs.jsonl")
    ]
    arguments = DPOConfig(
        output_dir=str(folder / "out"),
        num_train_epochs=1,
        learning_rate=1e-5,
        max_length=None,
        bf16=False,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        **options,
    )
    trainer = DPOTrainer(
        AutoModelForCausalLM.from_pretrained(folder / "base"),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder / "base"),
    )
    trainer.train()
    trainer.save_model(str(folder / "out"))


def contend(name: str, folder: Path) -> None:
    """Child process: import, then train, and print the seconds of both."""
    (kind, options), *_ = CONTENDERS[name].items()
    start = time.perf_counter()
    if kind == "trl":
        import trl.trainer.dpo_trainer  # noqa: F401
    else:
        import scaled.run.run  # noqa: F401
    imported = time.perf_counter()
    (train_trl if kind == "trl" else train_ours)(folder, options)
    print(json.dumps({"imports": imported - start, "training": time.perf_counter() - imported}))


def against_trl(pairs: int, repeats: int, *, imports: bool) -> None:
    """Print every contender's median seconds and its pairs per second as multiples of TRL's."""

    def seconds(name: str) -> dict[str, float]:
        shutil.rmtree(folder / "out", ignore_errors=True)
        child = [__file__, "--contender", name, "--folder", str(folder)]
        _, printed = run_python(child, OMP_NUM_THREADS="2", TRL_EXPERIMENTAL_SILENCE="1")
        times: dict[str, float] = json.loads(printed.splitlines()[-1])
        return times

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepare(folder, pairs)
        measured = take_turns({name: partial(seconds, name) for name in CONTENDERS}, repeats)
    middle = {
        name: statistics.median(each["training"] + imports * each["imports"] for each in times)
        for name, times in measured.items()
    }
    defaults, best = list(middle.values())[:2]
    print(f"{pairs} pairs, medians of {repeats}; ratios are of pairs per second\n")
    rows = [["command", "s", "pairs/s", "x TRL's defaults", "x TRL at its best", "imports, s"]]
    for name, s in middle.items():
        imported = statistics.median(each["imports"] for each in measured[name])
        numbers = (f"{pairs / s:.1f}", f"{defaults / s:.2f}", f"{best / s:.2f}", f"{imported:.1f}")
        rows.append([name, f"{s:.1f}", *numbers])
    print(markdown(rows))


def seconds_per_update(zero_stage: int, updates: int, folder: Path) -> Spent:
    """What an update of INS-DPO takes in a checkout, on average, without validation and checkpoints."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "run"
        settings = [f"out={out}", f"zero_stage={zero_stage}", "threads=1", "validation_size=0"]
        settings += [f"data={ROOT}/scaled/examples/tiny.jsonl", f"max_updates={updates}", f"save_every={updates}"]
        command = [sys.executable, "scaled/train.py", "--config", f"{ROOT}/scaled/configs/tiny.yaml"]
        command += [word for setting in settings for word in ("--set", setting)]
        spent = watch(command, out / "metrics.jsonl", updates, folder, OMP_NUM_THREADS="1")
    first, last = spent[0], spent[-1]
    return Spent((last.wall - first.wall) / (updates - 1), (last.cpu - first.cpu) / (updates - 1))


def against_checkout(other: Path, zero_stages: Sequence[int], updates: int, repeats: int) -> None:
    """Print this checkout's and another's updates per second and their ratio, wanted to be at least 1."""
    print(f"INS-DPO on tiny.yaml, {updates} updates, medians of {repeats}; ratios are of this one to {other}\n")
    kinds = ("updates/s", "updates per CPU s")
    rows = [["ZeRO stage", *kinds, *(f"the other's {kind}" for kind in kinds), "ratio: wall", "CPU"]]
    for stage in zero_stages:
        measure = partial(seconds_per_update, stage, updates)
        contenders: dict[Path, Callable[[], Spent]] = {folder: partial(measure, folder) for folder in (ROOT, other)}
        ours, theirs = take_turns(contenders, repeats).values()
        speeds = [1 / seconds for spent in (ours, theirs) for seconds in medians(spent)]
        rows.append([str(stage), *(f"{number:.2f}" for number in (*speeds, *ratios(theirs, ours)))])
    print(markdown(rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure in turns and print a table."""
    parser = command_line(__doc__)
    parser.add_argument("--pairs", type=at_least(8), default=128, help="of the training against TRL")
    parser.add_argument("--repeats", type=at_least(1), default=3, help="turns")
    parser.add_argument("--imports", action="store_true", help="count the imports too")
    parser.add_argument("--against", metavar="FOLDER", type=checkout, help="another checkout, instead of TRL")
    parser.add_argument("--updates", type=at_least(2), default=20, help="of the training against another checkout")
    parser.add_argument(
        "--zero-stages", type=int, nargs="+", choices=(0, 1, 2, 3), default=[0, 2], help="with --against"
    )
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.contender:
        contend(options.contender, options.folder)
    elif options.against:
        against_checkout(options.against, options.zero_stages, options.updates, options.repeats)
    else:
        against_trl(options.pairs, options.repeats, imports=options.imports)


if __name__ == "__main__":
    finish(main)

"""Whole training commands side by side, in pairs per second: ``python benchmarks/train_speed.py``.

The same small random model (4 layers, width 256), the same real pairs, batches of 8, float32, two
threads, one epoch, reference included; each contender is a process of its own, interleaved over the
repeats. A command's pairs per second count everything from its start to its end, but for the
imports of the libraries, whose seconds are shown beside (`--imports` counts them too).

TRL at its defaults keeps gradient checkpointing and scores the reference at every step; TRL at its
best scores it beforehand, has no checkpointing, and takes one pair at a time, which avoids padding.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "judged_pairs" / "alpacaeval2_gpt4_turbo.jsonl.gz"
ARCHITECTURE = {
    "model_type": "llama",
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
    """Write the base model and the first `count` pairs whose responses are at most 1600 characters."""
    from scaled.records import load_records

    from scaled import base

    rows = []
    with gzip.open(DATA, "rt") as lines:
        for row in map(json.loads, lines):
            replies = [row["response_a"].strip(), row["response_b"].strip()]
            usable = all(replies) and replies[0] != replies[1] and row["p_a_preferred"] != 0.5
            if usable and max(map(len, replies)) <= 1600:
                rows.append(row)
    file = folder / "pairs.jsonl"
    # Every so many-th one, since the file is sorted by model.
    file.write_text("".join(json.dumps(row) + "\n" for row in rows[:: max(1, len(rows) // count)][:count]))
    architectures = folder / "architectures"
    architectures.mkdir()
    (architectures / "bench.json").write_text(json.dumps(ARCHITECTURE))
    base.ARCHITECTURES = architectures
    base.make_base(folder / "base", "bench", load_records(file), seed=0)


def train_ours(folder: Path, options: dict[str, Any]) -> None:
    """One run of ours, from reading the data to the saved folder."""
    from scaled.config import TrainConfig
    from scaled.run import run

    values: dict[str, Any] = {
        "model": str(folder / "base"),
        "data": str(folder / "pairs.jsonl"),
        "out": str(folder / "out"),
        "validation_size": 0,
        "epochs": 1,
        "learning_rate": 1e-5,
        "precision": "float32",
        "gradient_checkpointing": False,
        "zero_stage": 0,
        "threads": 2,
        "tensorboard": False,
    }
    run(TrainConfig(**(values | OURS | options)))


def train_trl(folder: Path, options: dict[str, Any]) -> None:
    """The same with TRL: read, train, save."""
    import torch
    from datasets import Dataset
    from scaled.records import load_records
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer  # type: ignore[attr-defined]  # it loads them lazily

    torch.set_num_threads(2)
    rows = [
        {
            "prompt": record["prompt"],
            "chosen": [{"role": "assistant", "content": record["chosen"]}],
            "rejected": [{"role": "assistant", "content": record["rejected"]}],
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
        import scaled.run  # noqa: F401
    imported = time.perf_counter()
    (train_trl if kind == "trl" else train_ours)(folder, options)
    print(json.dumps({"imports": imported - start, "training": time.perf_counter() - imported}))


def main() -> None:
    """Interleave the contenders and print their medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--imports", action="store_true", help="count the imports too")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        contend(options.contender, options.folder)
        return
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    imports: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepare(folder, options.pairs)
        for _, name in itertools.product(range(options.repeats), CONTENDERS):
            shutil.rmtree(folder / "out", ignore_errors=True)
            command = [sys.executable, __file__, "--contender", name, "--folder", scratch]
            environment = os.environ | {
                "OMP_NUM_THREADS": "2",
                "PYTHONPATH": str(ROOT),
                "TRL_EXPERIMENTAL_SILENCE": "1",
            }
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
            times = json.loads(done.stdout.splitlines()[-1])
            imports[name].append(times["imports"])
            seconds[name].append(times["training"] + (times["imports"] if options.imports else 0))
    first, best = (statistics.median(seconds[name]) for name in list(CONTENDERS)[:2])
    print(f"{options.pairs} pairs, median of {options.repeats}; ratios are of pairs per second")
    print(f"{'':28}{'s':>8}{'pairs/s':>9}{'x defaults':>12}{'x best':>8}{'imports, s':>12}")
    for name, times_ in seconds.items():
        middle = statistics.median(times_)
        ratios = f"{first / middle:>12.2f}{best / middle:>8.2f}"
        print(f"{name:28}{middle:>8.1f}{options.pairs / middle:>9.1f}{ratios}{statistics.median(imports[name]):>12.1f}")


if __name__ == "__main__":
    main()

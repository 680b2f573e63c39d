"""What ``python -m scaled.data prepare`` takes by number of records: ``python benchmarks/prepare.py --records 10000``.

Synthetic records, a question of 20 words and two replies of 40, in the tokens of the shipped tiny model. Each number of
records is prepared in a fresh process with its workers, and a training of the tiny model is started on what it wrote,
up to its first update: SimPO, which has no reference to score. Memory is anonymous (pages of files are the system's
cache), sampled, at its peak: of the first process, and of all together. Needs Linux.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from side_by_side import ROOT, Spent, at_least, command_line, environment, finish, markdown, watch

from inspo.command_line import UserError
from scaled.data.records import load_records, texts
from scaled.data.templates import NAMED
from scaled.model.random_weights import fitting_architecture, train_tokenizer, write_random_model

TINY = ROOT / "scaled" / "examples" / "tiny.jsonl"
ENGLISH = ROOT / "scaled" / "examples" / "english.jsonl"
QUESTION, REPLY = 20, 40
"""Words."""
EVERY = 0.2
"""Seconds between two samples of memory."""

COMMON = ["filters=unusable", "max_length=512", "validation_size=1000"]
"""Of the preparation; the training has the same."""

TRAINING = ["method=simpo", "measure_deployed=false", "zero_stage=0", "precision=float32", "device=cpu", "threads=1"]
TRAINING += ["batch_size=8", "micro_batch=8", "max_updates=1", "gradient_checkpointing=false"]


class Prepared(NamedTuple):
    """What a preparation took: seconds, and MiB of anonymous memory at its peak."""

    spent: Spent
    first: float
    all: float


def write_records(path: Path, count: int) -> None:
    """Write synthetic records, the same for the same number."""
    words = sorted({word for text in texts(load_records(ENGLISH)) for word in text.split()})
    draw = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            drawn = [words[index] for index in draw.integers(len(words), size=QUESTION + 2 * REPLY)]
            chosen, rejected = drawn[QUESTION:-REPLY], drawn[-REPLY:]
            row = {"prompt": " ".join([str(number), *drawn[:QUESTION]]), "chosen": " ".join(chosen)}
            file.write(json.dumps({**row, "rejected": " ".join(rejected)}) + "\n")


def write_model(folder: Path) -> None:
    """Write the tiny model with a tokenizer of the shipped data."""
    tokenizer = train_tokenizer(texts([*load_records(TINY), *load_records(ENGLISH)]), NAMED["chatml"])
    write_random_model(folder, fitting_architecture("tiny-llama", tokenizer), tokenizer, 0)


def prepare(data: Path, model: Path, out: Path, processes: int) -> Prepared:
    """Prepare records in a fresh process.

    Raises:
        UserError: it failed.
    """
    settings = [f"--set={each}" for each in (f"data={data}", f"model={model}", *COMMON)]
    command = [sys.executable, "-m", "scaled.data", "prepare", *settings, "--out", str(out)]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--processes", str(processes)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    first = largest = cpu = 0.0
    while process.poll() is None:
        own, workers, seconds = _now(process.pid)
        first, largest, cpu = max(first, own), max(largest, own + workers), max(cpu, seconds)
        time.sleep(EVERY)
    wall = time.perf_counter() - start
    if process.returncode:
        said = process.stderr.read().decode(errors="replace")[-2000:] if process.stderr else ""
        raise UserError(f"{' '.join(command)} failed:\n{said}")
    return Prepared(Spent(wall, cpu), first, largest)


def _now(pid: int) -> tuple[float, float, float]:
    """MiB of memory of a process and of its children, and their processor seconds."""
    import psutil

    found, seconds = [0.0], 0.0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        tree = [process, *process.children(recursive=True)]
        found = [_anonymous(each.pid) for each in tree]
        seconds = sum(sum(each.cpu_times()[:4]) for each in tree)
    return found[0], sum(found[1:]), seconds


def _anonymous(pid: int) -> float:
    """MiB of a process's memory that are no pages of files; 0 where it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    return 0.0


def start(data: Path, model: Path, scratch: Path) -> Spent:
    """What a training takes from its start to the first line of its metrics.jsonl."""
    out = scratch / f"run-{data.name}"
    settings = [
        each
        for name in (f"data={data}", f"model={model}", f"out={out}", *COMMON, *TRAINING)
        for each in ("--set", name)
    ]
    return watch([sys.executable, "scaled/train.py", *settings], out / "metrics.jsonl", 1)[0]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = command_line(__doc__)
    add = parser.add_argument
    add("--records", type=at_least(2000), nargs="+", default=[10_000, 60_000], help="how many, one row each")
    add("--processes", type=at_least(1), default=2, help="that tokenize at a time")
    add("--raw", action="store_true", help="also start on the records themselves")
    options = parser.parse_args(arguments)
    heads = ["records", "pairs/s", "pairs per CPU s", "first process MiB", "all MiB", "first update s", "CPU s"]
    rows = [[*heads, *(["unprepared: first update s", "CPU s"] if options.raw else [])]]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        model = scratch / "model"
        write_model(model)
        for count in options.records:
            data, made = scratch / f"{count}.jsonl", scratch / f"made-{count}"
            write_records(data, count)
            took = prepare(data, model, made, options.processes)
            numbers = [count / took.spent.wall, count / took.spent.cpu, took.first, took.all]
            numbers += start(made, model, scratch)
            numbers += start(data, model, scratch) if options.raw else ()
            rows.append([f"{count:,}", *(f"{number:,.0f}" if number > 100 else f"{number:.1f}" for number in numbers)])
            print(markdown(rows[-1:]).splitlines()[0], file=sys.stderr)  # a later one may take very long
    print(markdown(rows))


if __name__ == "__main__":
    finish(main)

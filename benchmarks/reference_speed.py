"""The reference pass beside the training step: ``python benchmarks/reference_speed.py``.

Whole runs of a small random model (4 layers, width 256) on real pairs, float32, without gradient checkpointing. Of each
run the pass over all pairs that scores the reference, with the writing of its cache, and the updates are timed; the
ratio of their pairs per second is wanted to be at least 2.5, since the pass has no backward.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from side_by_side import Spent, at_least, command_line, finish, markdown, medians, ratios, run_python, take_turns
from train_speed import OURS, prepare

CONTENDERS: dict[str, dict[str, Any]] = {
    "plain DPO": {"conditioning": "none"},
    "INS-DPO": {"conditioning": "symmetric"},
    "INS-DPO, conditioned reference": {"conditioning": "symmetric", "reference": "conditioned"},
}


def timed(folder: Path, options: dict[str, Any]) -> dict[str, Spent]:
    """Child process: one run, and what its reference pass and its updates took."""
    from scaled.config import TrainConfig
    from scaled.run import run as module

    spent: dict[str, Spent] = {}

    def watched(name: str) -> None:
        stock: Callable[..., Any] = getattr(module, name)

        def run(*arguments: Any, **keywords: Any) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            result = stock(*arguments, **keywords)
            spent[name] = Spent(time.perf_counter() - wall, time.process_time() - cpu)
            return result

        setattr(module, name, run)

    for name in ("score_reference", "train"):
        watched(name)
    paths = {"model": folder / "base", "data": folder / "pairs.jsonl"}
    with tempfile.TemporaryDirectory() as out:
        module.run(TrainConfig(**(OURS | {key: str(path) for key, path in paths.items()} | {"out": out} | options)))
    return spent


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure in turns and print the table."""
    parser = command_line(__doc__)
    parser.add_argument("--pairs", type=at_least(8), default=64, help="real ones, a multiple of 8")
    parser.add_argument("--repeats", type=at_least(1), default=3, help="turns")
    parser.add_argument("--threads", type=at_least(1), default=2, help="of torch")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    threads = {"threads": options.threads}
    if options.contender:
        print(json.dumps(timed(options.folder, CONTENDERS[options.contender] | threads)))
        return

    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch), options.pairs)

        def measure(name: str) -> dict[str, Spent]:
            child = [__file__, "--contender", name, "--folder", scratch, "--threads", str(options.threads)]
            found = json.loads(run_python(child, OMP_NUM_THREADS=str(options.threads))[1].splitlines()[-1])
            return {each: Spent(*seconds) for each, seconds in found.items()}

        turns = take_turns({name: partial(measure, name) for name in CONTENDERS}, options.repeats)
    print(f"{options.pairs} pairs, medians of {options.repeats}; ratios are of pairs per second, pass to updates\n")
    rows = [["run", "ratio: clock", "CPU", "pass: pairs per CPU s", "updates: pairs per CPU s"]]
    for name, found in turns.items():
        passes, updates = ([each[kind] for each in found] for kind in ("score_reference", "train"))
        speeds = [f"{options.pairs / medians(spent).cpu:.2f}" for spent in (passes, updates)]
        rows.append([name, *(f"{ratio:.2f}" for ratio in ratios(updates, passes)), *speeds])
    print(markdown(rows))


if __name__ == "__main__":
    finish(main)

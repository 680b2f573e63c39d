"""What a launch of tests runs on every rank: many short trainings, each in its own folder, one after another.

    deepspeed tests/scaled/training/launched_cells.py CELLS.json

CELLS.json is a list of ``{"set": {key: value}, "model": seed?}``; each cell trains by :func:`scaled.run.run.run`.
"""

import contextlib
import json
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[3])


def train(values: dict) -> None:
    """One cell, in a process that goes on to the next."""
    import torch

    from scaled.config import TrainConfig
    from scaled.run.run import run

    torch.manual_seed(0)
    run(TrainConfig(**values))


if __name__ == "__main__":
    cells = json.loads(Path(sys.argv[-1]).read_text())
    for cell in cells:
        with contextlib.redirect_stderr(sys.stdout):
            train(cell)
        print(f"done {cell['out']}", flush=True)  # noqa: T201  # shown where the launch fails

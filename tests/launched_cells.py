"""What a launch of tests runs on every rank: many short trainings, each in its own folder, one after another.

    deepspeed tests/launched_cells.py CELLS.json

CELLS.json is a list of ``{"set": {key: value}, "model": seed?}``; each cell trains by :func:`scaled.run.run`.
"""

import contextlib
import json
import os
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)


def train(values: dict) -> None:
    """One cell, in a process that goes on to the next: what the libraries keep globally is forgotten."""
    import torch
    from accelerate.state import AcceleratorState, GradientState
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    from scaled.config import TrainConfig
    from scaled.run import run

    torch.manual_seed(0)
    unset_hf_deepspeed_config()
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001  # as its own tests do
    GradientState._reset_state()  # noqa: SLF001
    os.environ.pop("ACCELERATE_USE_DEEPSPEED", None)
    os.environ.pop("ACCELERATE_MIXED_PRECISION", None)
    run(TrainConfig(**values))


if __name__ == "__main__":
    cells = json.loads(Path(sys.argv[-1]).read_text())
    for cell in cells:
        with contextlib.redirect_stderr(sys.stdout):
            train(cell)
        print(f"done {cell['out']}", flush=True)  # noqa: T201  # shown where the launch fails

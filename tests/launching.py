"""Launches under the real ``deepspeed`` launcher, and what is read of them afterwards."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_base import ROOT, SMALL

from scaled.training.journal import TIMES, read

HERE = Path(__file__).parent / "scaled" / "training"
PATIENCE = 300  # seconds; far more than a launch takes, on a machine that others use too
COMMON: dict[str, Any] = SMALL | {"limit": 80, "validation_size": 16, "batch_size": 16}


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def launcher(ranks: int, *command: str) -> list[str]:
    binary = Path(sys.executable).parent / "deepspeed"
    return [str(binary), "--num_gpus", str(ranks), "--master_port", str(free_ports(1)[0]), *command]


def environment() -> dict[str, str]:
    own = str(Path(sys.executable).parent)  # the launcher starts "python3"
    inherited = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return inherited | {"PATH": f"{own}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


def settings(values: Mapping[str, object]) -> list[str]:
    """Values of a configuration as the trainer's command is given them."""
    return [part for name, value in values.items() for part in ("--set", f"{name}={json.dumps(value)}")]


def launch(ranks: int, *command: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        launcher(ranks, *command), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600, check=False
    )


def numbers(out: Path) -> list[dict]:
    """The journal without times."""
    return [{name: value for name, value in line.items() if name not in TIMES} for line in read(out / "metrics.jsonl")]


def weights(out: Path) -> torch.Tensor:
    state = load_file(out / "model" / "model.safetensors")
    return torch.cat([state[name].flatten() for name in sorted(state)])


def assert_same_to_1e_6(run: Path, unbroken: Path) -> None:
    """The same updates and validations, and metrics and weights within 1e-6."""
    ours, theirs = numbers(run), numbers(unbroken)
    assert [(line["update"], line["kind"]) for line in ours] == [(line["update"], line["kind"]) for line in theirs]
    for name in ("loss", "margin", "chosen_logps", "grad_norm"):
        expected = [line[name] for line in theirs if name in line]
        assert [line[name] for line in ours if name in line] == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert (weights(run) - weights(unbroken)).abs().max() <= 1e-6


def survive(ranks: int, root: Path, config: dict[str, Any], cases: list[dict[str, Any]]) -> list[dict[str, dict]]:
    """Launch the cases; by rank and case, how its two processes ended."""
    file = root / "cases.json"
    plan = {"config": config, "root": str(root), "ports": free_ports(2 * len(cases)), "cases": cases}
    file.write_text(json.dumps(plan))
    done = launch(ranks, str(HERE / "launched_kills.py"), str(file))
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return [json.loads((root / f"codes-{rank}.json").read_text()) for rank in range(ranks)]

"""Two ranks and the launcher's processes: a rank is killed, the launcher is told to stop. Four launches."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from launching import (
    COMMON,
    PATIENCE,
    assert_same_to_1e_6,
    environment,
    launcher,
    settings,
)
from tiny_base import ROOT

from scaled.training import checkpoints
from scaled.training.journal import read

pytestmark = pytest.mark.slow


RUN = COMMON | {
    "zero_stage": 3,
    "row_tokens": 300,
    "max_updates": 24,
    "epochs": 8,
    "save_every": 3,
    "validate_every": 6,
}


def of_run(out: Path) -> list[str]:
    return settings(RUN | {"out": str(out)})


def updates_written(out: Path) -> int:
    journal = out / "metrics.jsonl"
    return max((line["update"] for line in read(journal)), default=0) if journal.exists() else 0


@contextmanager
def started(out: Path) -> Iterator[subprocess.Popen]:
    """The command on two ranks; whatever is left of it afterwards is killed."""
    command = launcher(2, "scaled/train.py", *of_run(out))
    with (out.parent / f"{out.name}.log").open("a") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=log, stderr=log)
    try:
        yield process
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        for each in [*family, process]:
            each.kill()
        process.wait()


def wait_for_update(out: Path, update: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + PATIENCE
    while updates_written(out) < update:
        assert process.poll() is None, (out.parent / f"{out.name}.log").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ranks_of(process: subprocess.Popen) -> list[psutil.Process]:
    family = psutil.Process(process.pid).children(recursive=True)
    ours = [child for child in family if any(part.endswith("scaled/train.py") for part in child.cmdline()[:3])]
    return sorted(ours, key=lambda child: child.pid)


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> dict[str, Any]:
    """Three launches of one run: a rank is killed; the launcher is told to stop; it ends. And one unbroken."""
    root = tmp_path_factory.mktemp("story")
    out = root / "run"
    log = root / "run.log"
    told: dict[str, Any] = {"out": out, "whole": root / "whole"}

    with started(out) as process:
        wait_for_update(out, 5, process)
        ranks = ranks_of(process)
        ranks[1].kill()
        told["code after kill"] = process.wait(timeout=PATIENCE)
        told["survivors"] = psutil.wait_procs(ranks, timeout=5)[1]
    told["log of kill"] = log.read_text()

    with started(out) as process:
        wait_for_update(out, 10, process)
        ranks = ranks_of(process)
        process.terminate()
        process.wait(timeout=PATIENCE)
        told["left after SIGTERM"] = psutil.wait_procs(ranks, timeout=PATIENCE)[1]
    told["log of SIGTERM"] = log.read_text()[len(told["log of kill"]) :]
    told["checkpoint after SIGTERM"] = checkpoints.latest(out)[0]

    with started(out) as process:
        told["last code"] = process.wait(timeout=PATIENCE)
    told["log"] = log.read_text()
    with started(told["whole"]) as process:
        assert process.wait(timeout=PATIENCE) == 0
    return told


def test_a_killed_rank_brings_all_down_with_one_readable_message(story):
    assert story["code after kill"] != 0
    assert story["survivors"] == []
    assert story["log of kill"].count("error: rank 0: another rank was lost") == 1
    assert "Traceback" not in story["log of kill"]


def test_a_terminated_launcher_ends_its_ranks_cleanly(story):
    assert story["left after SIGTERM"] == []
    assert "stopped (" in story["log of SIGTERM"]
    update = checkpoints.update_of(story["checkpoint after SIGTERM"])
    assert update >= 10
    assert f"saved as checkpoint-{update}" in story["log of SIGTERM"]


def test_two_ranks_go_on_to_the_same_numbers(story):
    assert story["last code"] == 0, story["log"][-3000:]
    assert_same_to_1e_6(story["out"], story["whole"])

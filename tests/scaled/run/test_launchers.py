"""Every launcher starts the same training: plain python, torchrun, accelerate launch; deepspeed has its own tests."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from launching import settings
from tiny_base import ROOT, SMALL

from scaled.training.journal import read

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
ALONE = ("--num_processes", "1", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no")
LAUNCHERS = {
    "python": ([sys.executable], 1, 0),
    "torchrun": ([str(BIN / "torchrun"), "--standalone", "--nproc_per_node", "2"], 2, 2),
    "accelerate": ([str(BIN / "accelerate"), "launch", *ALONE], 1, 3),
}


def launched(launcher: str, out: Path) -> list[dict]:
    """The journal of a short training that a launcher started."""
    command, world_size, zero_stage = LAUNCHERS[launcher]
    values = SMALL | {"out": str(out), "limit": 40, "validation_size": 8, "max_updates": 2, "micro_batch": 4}
    own = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    done = subprocess.run(
        [*command, "scaled/train.py", *settings(values | {"zero_stage": zero_stage})],
        cwd=ROOT,
        env=own | {"OMP_NUM_THREADS": "1", "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert re.search(rf"model: +{re.escape(str(out / 'model'))}", done.stdout)
    assert json.loads((out / "run.json").read_text())["world_size"] == world_size
    return read(out / "metrics.jsonl")


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> list[dict]:
    return launched("python", tmp_path_factory.mktemp("plain") / "out")


@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_every_launcher_trains_alike(launcher, plain, tmp_path):
    found = launched(launcher, tmp_path / "out")
    assert [line["loss"] for line in found] == pytest.approx([line["loss"] for line in plain], rel=1e-5)

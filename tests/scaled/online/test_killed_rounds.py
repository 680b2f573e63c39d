"""Rounds that are killed and started again end with the bytes of rounds that were never stopped."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_base import ROOT
from tiny_online import TRAIN, values, write_policy, write_prompts

SEEDS = range(3)
TIMED = ("run.json", "metrics.jsonl", "facts.json", "online.json", "README.md", "config.json", ".owner")
"""Files with times, or with the folder's own name. So has the reference's cache, whose header is in any order."""


def content(out: Path) -> dict[str, object]:
    """Every file's bytes; of a round's facts all that is not a time or a path."""
    found: dict[str, object] = {
        str(path.relative_to(out)): None if path.name in TIMED or path.parent.name == "reference" else path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }
    for path in out.glob("round-*/facts.json"):
        facts = json.loads(path.read_text())
        for name in ("seconds", "training_seconds", "policy", "reference", "initial_weights", "config_hash"):
            facts.pop(name, None)
        found[f"{path.parent.name} facts"] = facts
    return found


@pytest.mark.slow
def test_killed_at_seeded_moments_they_end_with_the_same_bytes(tmp_path):
    policy, prompts = write_policy(tmp_path / "policy"), write_prompts(tmp_path / "prompts.jsonl")
    train = TRAIN | {"save_every": 1, "validation_size": 2}
    plan = {
        "values": values(policy, prompts, tmp_path, reference="first", train=train),
        "unbroken": str(tmp_path / "unbroken"),
        "killed": {str(tmp_path / f"killed-{seed}"): seed for seed in SEEDS},
    }
    command = [sys.executable, str(Path(__file__).with_name("killed_rounds.py")), json.dumps(plan)]
    place = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    here = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": place}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=here, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    codes = json.loads(done.stdout)
    assert codes[0] == 0
    assert codes[4::4] == [0] * len(SEEDS)
    assert codes.count(-signal.SIGKILL) >= 2 * len(SEEDS)
    whole = content(tmp_path / "unbroken")
    assert "round-2/train/model/model.safetensors" in whole
    for folder in plan["killed"]:
        assert content(Path(folder)) == whole

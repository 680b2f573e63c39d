"""A run goes on from its checkpoint on another number of ranks, to the same weights."""

import json
import shutil

import pytest
from launching import assert_same_to_1e_6, launch, settings
from tiny_base import SMALL

pytestmark = pytest.mark.slow


def train(ranks, out, zero_stage):
    values = SMALL | {
        "out": str(out),
        "zero_stage": zero_stage,
        "limit": 80,
        "validation_size": 16,
        "batch_size": 16,
        "micro_batch": 4,
        "max_updates": 4,
        "validate_every": 2,
        "save_every": 2,
        "keep_checkpoints": 2,
        "weight_decay": 0.1,
    }
    done = launch(ranks, "scaled/train.py", *settings(values))
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize(("zero_stage", "ranks", "others"), [(0, 2, 1), (2, 1, 2), (3, 2, 1)])
def test_the_same_weights_on_other_ranks(zero_stage, ranks, others, tmp_path):
    unbroken, run = tmp_path / "unbroken", tmp_path / "run"
    train(ranks, unbroken, zero_stage)
    shutil.copytree(unbroken, run)
    for name in ("checkpoint-4", "model"):
        shutil.rmtree(run / name)
    (run / "run.json").unlink()
    assert "going on from checkpoint-2" in train(others, run, zero_stage)
    assert json.loads((run / "run.json").read_text())["world_size"] == others
    assert_same_to_1e_6(run, unbroken)
    assert not (run / "whole").exists()

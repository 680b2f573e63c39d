"""Where DeepSpeed is not installed, as on macOS: `zero_stage: 0` trains, and the others say what they need."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from launching import PATIENCE, settings
from tiny_base import ROOT, SMALL

PACKAGES = Path(sysconfig.get_paths()["purelib"])


@pytest.fixture(scope="module")
def without(tmp_path_factory) -> Path:
    """All installed packages but DeepSpeed, by links."""
    folder = tmp_path_factory.mktemp("packages")
    for entry in PACKAGES.iterdir():
        if not entry.name.startswith("deepspeed") and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    return folder


def start(without: Path, out: Path, **changes: object) -> subprocess.CompletedProcess:
    values = SMALL | {"out": str(out), "limit": 24, "validation_size": 8, "max_updates": 1} | changes
    return subprocess.run(
        [sys.executable, "-S", "scaled/train.py", *settings(values)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{without}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.slow
def test_zero_stage_0_trains_and_others_say_what_they_need(without, tmp_path):
    done = start(without, tmp_path / "out")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()
    refused = start(without, tmp_path / "other", zero_stage=2)
    assert refused.returncode == 2
    assert (
        refused.stderr.strip()
        .splitlines()[-1]
        .endswith("zero_stage needs deepspeed: pip install deepspeed, or set zero_stage=0")
    )
    assert not (tmp_path / "other").exists()


def test_the_trainers_extra_brings_deepspeed_where_there_is_one():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    (needed,) = [each for each in groups["train"] if each.startswith("deepspeed")]
    assert needed.partition(";")[2].strip() == "sys_platform == 'linux'"

"""InSPOTrainer in scripts: the README's, and on two processes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from launching import PATIENCE, environment
from tiny_base import ROOT, TINY, write_base

pytestmark = [pytest.mark.trl, pytest.mark.slow]

SCRIPT = Path(__file__).with_name("launched_inspo_trainer.py")


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """A model's folder and a data set's, in the layout of trl-lib/ultrafeedback_binarized."""
    folder = tmp_path_factory.mktemp("hub")
    data = folder / "data"
    data.mkdir()
    rows = [json.loads(line) for line in TINY.read_text().splitlines()[:40]]
    user = [[{"role": "user", "content": row["prompt"]}] for row in rows]
    made = [
        {name: [*turns, {"role": "assistant", "content": row[name]}] for name in ("chosen", "rejected")}
        for turns, row in zip(user, rows, strict=True)
    ]
    (data / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    return write_base(folder / "base", seed=3), data


def run(*command):
    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env=environment() | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def test_two_processes_have_the_losses_of_one(stand_ins, tmp_path):
    base, data = stand_ins
    arguments = (SCRIPT, base, data / "train.jsonl")
    run(sys.executable, *arguments, tmp_path / "one.json")
    torchrun = Path(sys.executable).parent / "torchrun"
    run(torchrun, "--standalone", "--nproc_per_node", 2, *arguments, tmp_path / "two.json")
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    assert len(one) == 4
    assert two == pytest.approx(one, rel=2e-6, abs=2e-6)


def test_the_readmes_script_trains_after_one_changed_import(stand_ins, tmp_path):
    base, data = stand_ins
    _, code = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (changed,) = [line for line in code.splitlines() if "was: from trl import" in line]
    theirs = code.replace(changed, changed.partition("# was: ")[2]).replace(', engine="tree"', "")
    assert len(code.splitlines()) <= 12
    for name, script in (("ours", code), ("theirs", theirs)):
        local = script.replace("Qwen/Qwen3-0.6B", str(base)).replace("trl-lib/ultrafeedback_binarized", str(data))
        quick = 'max_steps=2, use_cpu=True, bf16=False, report_to="none", disable_tqdm=True, output_dir='
        local = local.replace('output_dir="', f'{quick}"{tmp_path}/{name}/')
        local = local.replace("LoraConfig()", 'LoraConfig(target_modules="all-linear")')
        file = tmp_path / f"{name}.py"
        file.write_text(local)
        run(sys.executable, file)

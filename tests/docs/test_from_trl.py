"""The page for TRL's users: its loop runs, its keys exist; and the trainer on real pairs."""

import json
import re
from dataclasses import fields
from typing import get_args

import pytest
import torch
from tiny_base import ROOT, TINY, write_base

from scaled.config import FIELDS, TrainConfig
from scaled.run.run import run

VALUES = {"symmetric", "cut_responses", "linear", "constant", *get_args(FIELDS["optim"].annotation)}
PAGE = (ROOT / "docs" / "from_trl.md").read_text()


def test_the_loop_on_the_page_learns(tmp_path, capsys):
    write_base(tmp_path / "base", seed=1)
    data = tmp_path / "data.jsonl"
    data.write_text("".join(TINY.read_text().splitlines(keepends=True)[:48]))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {"name": str(tmp_path / "base"), "data": str(data)})  # noqa: S102  # our own page
    first, *_, last = (eval(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{"))  # noqa: S307
    # Policy and reference are equal at the start, up to rounding: their rows are packed differently.
    assert abs(first["deployed_chosen_logratio"]) < 1e-3
    assert last["margin"] > first["margin"] + 1
    assert last["deployed_margin"] > first["deployed_margin"] + 1
    assert last["loss"] < first["loss"]


def test_every_key_on_the_page_exists():
    known = set(FIELDS)
    page = PAGE[PAGE.index("## A script, line by line") :]
    rows = [row.split("|")[2] for row in page.splitlines() if row.startswith("| `") and "logps" not in row]
    configuration = "\n".join(rows[: next(i for i, row in enumerate(rows) if "chosen_reward" in row)])
    for key in re.findall(r"`([a-z_]+)(?::[^`]*)?`", configuration):
        assert key in known or key in VALUES, key


@pytest.mark.trl
def test_every_option_of_the_drop_in_is_on_the_page():
    config = pytest.importorskip("inspo.trl").InSPOConfig
    own = {field.name for field in fields(config)} - {field.name for field in fields(config.__mro__[1])}
    (table,) = re.findall(r"## Stay in TRL\n(.*?)\n## ", PAGE, re.DOTALL)
    assert set(re.findall(r"^\| `(\w+)` ", table, re.MULTILINE)) == own | {"loss_type"}


@pytest.mark.trl
def test_every_field_of_trls_on_the_page_exists():
    config = pytest.importorskip("trl.trainer.dpo_config").DPOConfig
    (table,) = re.findall(r"## `DPOConfig`, field by field\n(.*?)\nWhat the logs", PAGE, re.DOTALL)
    left = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `") and "CPOConfig" not in row]
    named = {name for cell in left for name in re.findall(r"`([a-z][a-z0-9_]+)", cell)}
    assert len(named) > 30
    assert named <= {option.name for option in fields(config)}


@pytest.mark.slow
def test_real_pairs_go_through_template_cache_training_and_saving(shared_data, tmp_path):
    values = {
        "model": "random",
        "architecture": "tiny-llama",
        "data": str(shared_data / "judged_pairs" / "alpacaeval2_gpt4_turbo.jsonl.gz"),
        "filters": "unusable",
        "limit": 500,
        "validation_size": 20,
        "max_length": 256,
        "over_length": "cut_prompt,cut_responses,drop",
        "out": str(tmp_path / "run"),
        "batch_size": 32,
        "row_tokens": 4096,
        "max_updates": 1,
        "learning_rate": 1e-3,
        "warmup_ratio": 0,
        "precision": "float32",
        "gradient_checkpointing": False,
        "zero_stage": 0,
        "threads": 1,
        "trackers": [],
    }
    run(TrainConfig(**values))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert record["pairs"] + record["pairs_cut_or_dropped"]["dropped_over_length"] == 480
    assert record["pairs"] > 440
    assert record["pairs_cut_or_dropped"]["responses_cut"] > 100
    assert [line["kind"] for line in lines] == ["update", "validation"]
    assert abs(lines[0]["deployed_chosen_logratio"]) < 1e-3
    assert all(torch.isfinite(torch.tensor(line["loss"])) for line in lines)
    assert list((tmp_path / "run" / "reference").glob("*.safetensors"))
    assert (tmp_path / "run" / "model" / "chat_template.jinja").exists()

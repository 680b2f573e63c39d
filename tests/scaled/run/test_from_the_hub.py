"""From a model and a data set on the hub to a folder that generates, against a hub on this machine."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Mapping

import pytest
from datasets import Dataset
from launching import settings
from local_hub import commit_of, serving
from safetensors.torch import load_file
from tiny_base import ROOT, SMALL, TINY, write_base


def train(values: Mapping[str, object], variables: Mapping[str, str], *options: str) -> str:
    """What the trainer prints in a process of its own, which must end well."""
    done = subprocess.run(
        [sys.executable, "scaled/train.py", *settings(values), *options],
        cwd=ROOT,
        env=os.environ | dict(variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("revision", [None, "v1"])
def test_from_hub_names_to_a_model_that_generates(revision, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = [json.loads(line) for line in TINY.read_text().splitlines()[:40]]
    (tmp_path / "pairs").mkdir()
    for split, some in (("train_prefs", rows[:32]), ("test_prefs", rows[32:])):
        Dataset.from_list(some).to_parquet(tmp_path / "pairs" / f"{split}.parquet")
    (tmp_path / "pairs" / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - {split: train_prefs, path: train_prefs.parquet}\n  - {split: test_prefs, path: test_prefs.parquet}\n---\n"
    )
    repositories = {
        ("models", "org/base"): {
            "main": write_base(tmp_path / "base", seed=0),
            "v1": write_base(tmp_path / "v1", seed=1),
        },
        ("datasets", "org/pairs"): {"main": tmp_path / "pairs"},
    }
    values = SMALL | {
        "model": "org/base",
        "architecture": None,
        "data": {"path": "org/pairs", "split": "train_prefs"},
        "validation": {"path": "org/pairs", "split": "test_prefs"},
        "out": str(tmp_path / "out"),
        "max_updates": 2,
    }
    values.pop("limit", None)
    if revision is not None:  # with an adapter, whose merging reads the base again
        values |= {"revision": revision, "lora_rank": 2}
    with serving(repositories) as hub:
        train(values, hub.environment(tmp_path / "cache"))
    folder = tmp_path / "out" / "model"
    card = (folder / "README.md").read_text()
    assert "base_model: org/base" in card
    folders = {"main": tmp_path / "base", "v1": tmp_path / "v1"}
    commits = {name: commit_of(each) for name, each in folders.items()}
    wanted = commits[revision or "main"]
    assert f"Trained from `org/base` at commit `{wanted}`" in card
    assert json.loads((tmp_path / "out" / "run.json").read_text())["initial_weights_commit"] == wanted
    if revision is not None:
        of_model = [path for path in hub.asked if re.search("/org/base/resolve/.*(safetensors|tokenizer.json)$", path)]
        assert of_model
        assert [path for path in of_model if "/resolve/main/" in path or commits["main"] in path] == []
        adapter = json.loads((tmp_path / "out" / "adapter" / "adapter_config.json").read_text())
        assert (adapter["base_model_name_or_path"], adapter["revision"]) == ("org/base", wanted)
        found, *weights = (load_file(each / "model.safetensors") for each in (folder, *folders.values()))
        apart = [max(float((found[name] - each[name]).abs().max()) for name in each) for each in weights]
        assert apart[1] < 1e-2 < apart[0]
    assert "- org/pairs" in card
    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": rows[0]["prompt"]}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    generated = AutoModelForCausalLM.from_pretrained(folder).generate(**asked, max_new_tokens=4, do_sample=False)
    assert generated.shape[1] > asked["input_ids"].shape[1]


@pytest.mark.slow
def test_a_tokenizer_of_its_own_is_read_at_its_revision(tmp_path):
    """The model's vocabulary, which it is made for, is that of the revision."""
    short = tmp_path / "short.jsonl"
    short.write_text("".join(TINY.read_text().splitlines(keepends=True)[:2]))
    folders = {"main": write_base(tmp_path / "main", seed=0), "v1": write_base(tmp_path / "v1", seed=0, data=short)}
    values = SMALL | {"tokenizer": "org/tok", "tokenizer_revision": "v1", "validation_size": 8, "limit": 40}
    with serving({("models", "org/tok"): folders}) as hub:
        said = train(values | {"out": str(tmp_path / "out")}, hub.environment(tmp_path / "cache"), "--dry-run")
    weights = sum(math.prod(each.shape) for each in load_file(folders["v1"] / "model.safetensors").values())
    assert f"parameters: {weights:,} (llama)" in said
    read = [path for path in hub.asked if "/resolve/" in path]
    assert read
    assert [path for path in read if "/resolve/main/" in path or commit_of(folders["main"]) in path] == []

"""Data sets by hub name, read in processes of their own from a hub on this machine, and then offline from the cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset
from local_hub import serving

ROOT = Path(__file__).parents[3]
READ = """
import json, sys
from scaled.config import DataSource
from scaled.data.sources import read_rows
for options in json.loads(sys.argv[1]):
    try:
        found = [row.values["prompt"] for row in read_rows(DataSource.model_validate({"path": "org/name"} | options))]
    except ValueError as error:
        found = str(error)
    print(json.dumps(found))
"""
CARD = """---
configs:
- config_name: default
  data_files:
  - {split: train_prefs, path: data/train_prefs-*}
  - {split: test_prefs, path: data/test_prefs-*}
- config_name: other
  data_files: other.parquet
---
"""
MAIN, OLD, OTHER = {"split": "test_prefs"}, {"split": "train_prefs", "revision": "v1"}, {"config": "other"}
NEVER = {"split": "test_prefs", "revision": "v2"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Two revisions of a data set with two splits and two configurations."""
    folders = {}
    for revision in ("main", "v1", "v2"):
        folder = folders[revision] = tmp_path_factory.mktemp(revision)
        (folder / "data").mkdir()
        for split in ("train_prefs", "test_prefs"):
            rows = [{"prompt": f"{revision} {split} {n}", "chosen": "A", "rejected": "B"} for n in range(2)]
            Dataset.from_list(rows).to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
        Dataset.from_list([{"prompt": f"{revision} other"}]).to_parquet(folder / "other.parquet")
        (folder / "README.md").write_text(CARD)
    return folders


def read(environment, *options):
    done = subprocess.run(
        [sys.executable, "-c", READ, json.dumps(options)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_split_revision_and_configuration_then_offline(repository, tmp_path):
    prompts = [
        ["main test_prefs 0", "main test_prefs 1"],
        ["main other"],
        ["v1 train_prefs 0", "v1 train_prefs 1"],
    ]
    with serving({("datasets", "org/name"): repository}) as hub:
        environment = hub.environment(tmp_path)
        *found, asked, split, revision, config, missing = read(
            environment,
            *(MAIN, OTHER, OLD),
            *({}, {"split": "no"}, {"revision": "no", "split": "test_prefs"}, {"config": "no"}, {"path": "org/none"}),
        )
    assert found == prompts
    assert asked.startswith("org/name: say which split: it has train_prefs, test_prefs; give {path: org/name, split:")
    assert split.startswith('org/name: cannot be read: Unknown split "no"')
    assert revision.startswith("org/name: cannot be read: Revision 'no' doesn't exist")
    assert config.startswith("org/name: cannot be read: BuilderConfig 'no' not found. Available: ['default', 'other']")
    assert missing.startswith("org/none: cannot be read: Dataset 'org/none' doesn't exist on the Hub")
    assert missing.endswith("(it is no file or folder here, so it was looked for on the hub)")
    again, other, never = read(environment | {"HF_HUB_OFFLINE": "1"}, OLD, OTHER, NEVER)
    assert [other, again] == prompts[1:]
    assert never.startswith("org/name: the hub was not reached, and what is in the cache last is not revision v2")

"""A reference is made once, by whoever wants it first."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module

import pytest
from filelock import FileLock

from experiments.ledger import FACTS, BusyError
from experiments.policies import made_once


@dataclass(frozen=True)
class Options:
    seed: int = 0


def test_it_is_made_once_and_one_that_wants_it_meanwhile_is_told(tmp_path):
    folder = tmp_path / "references" / "B0"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text("cut short")  # by a process that was killed

    def make():
        with ThreadPoolExecutor(1) as another, pytest.raises(BusyError, match="B0"):
            another.submit(made_once, folder, Options(), unexpected).result()
        (folder / "model.safetensors").write_text("made")
        return {"loss": 1.5}

    def unexpected():
        raise AssertionError("made twice")

    assert made_once(folder, Options(), make) == folder
    with FileLock(tmp_path / "references" / "B0.lock"):  # whoever reads it needs no lock
        assert made_once(folder, Options(), unexpected) == folder
    assert (folder / "model.safetensors").read_text() == "made"
    weights = hashlib.sha256(b"made").hexdigest()[:8]
    assert json.loads((folder / FACTS).read_text()) == {"loss": 1.5, "weights": weights, "made_from": {"seed": 0}}
    with pytest.raises(ValueError, match=r"holds another reference, \{'seed': 0\}: remove it"):
        made_once(folder, Options(1), unexpected)


def test_one_that_fails_is_made_by_the_next(tmp_path):
    def fail():
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        made_once(tmp_path / "B0", Options(), fail)

    def make():
        (tmp_path / "B0").mkdir()
        return {}

    assert made_once(tmp_path / "B0", Options(), make) == tmp_path / "B0"


@pytest.mark.parametrize("world", ["language", "smol", "dialogue"])
def test_pairs_of_another_judge_or_of_another_making_of_the_reference_are_other_pairs(world, tmp_path, monkeypatch):
    training = import_module(f"experiments.{world}.training")
    cell = import_module(f"experiments.{world}.cells").USUAL
    monkeypatch.setattr(training, "pairs_once", lambda path, *_, **__: path)

    def path(weights, **judge):
        (tmp_path / FACTS).write_text(json.dumps({"weights": weights}))
        monkeypatch.setattr(training, "Judge", partial(Judge, **judge))
        return training.records_of(cell, tmp_path, tmp_path)

    Judge = training.Judge
    assert path("01234567") == path("01234567")
    assert len({path("01234567"), path("76543210"), path("01234567", length=0.5)}) == 3

"""A user's functions see every update, validation and checkpoint, and may stop the run."""

from __future__ import annotations

import json
import re
import sys

import pytest
from tiny_base import small

from inspo.command_line import UserError
from scaled.run.run import run
from scaled.training import callbacks

SHORT = {"limit": 40, "validation_size": 8, "epochs": 2, "validate_every": 2, "save_every": 1, "measure_deployed": True}


pytestmark = pytest.mark.usefixtures("mine")


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of the user's in the working directory, with the example of the documentation."""
    (example,) = re.findall(r"    (def .*?)\n\nand", callbacks.__doc__, re.DOTALL)
    code = "\n".join(line.removeprefix("    ") for line in example.splitlines()).replace("> 0.9", ">= 0.0")
    seen = "seen = []\n\ndef look(training, kind, update, numbers):\n    seen.append((kind, update, dict(numbers)))\n"
    (tmp_path / "mine.py").write_text(f"{code}\n\n{seen}\nnumber = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("mine", None)


def test_they_see_what_the_journal_has(tmp_path):
    run(small(tmp_path / "out", callbacks="mine:look", **SHORT))
    import mine as module

    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    told = [(kind, update) for kind, update, _ in module.seen if kind != "save"]
    assert told == [(line["kind"], line["update"]) for line in lines]
    assert [numbers["loss"] for kind, _, numbers in module.seen if kind != "save"] == [line["loss"] for line in lines]
    updates = max(update for _, update in told)
    assert [update for kind, update, _ in module.seen if kind == "save"] == list(range(1, updates + 1))


def test_a_reason_stops_the_run_and_it_goes_on(tmp_path):
    config = small(tmp_path / "out", callbacks=("mine:stop_when_certain",), **SHORT)
    assert "stopped (the deployed policy is certain) after update 2, saved as checkpoint-2" in run(config)
    assert not (tmp_path / "out" / "run.json").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("look", "callbacks: look must be module:function"),
        ("mine:", "callbacks: mine: must be module:function"),
        ("nowhere:look", "callbacks: nowhere:look cannot be loaded (No module named 'nowhere')"),
        ("mine:gone", "callbacks: mine:gone cannot be loaded (module 'mine' has no attribute 'gone')"),
        ("mine:number", "callbacks: mine:number is no function"),
    ],
)
def test_what_is_no_callback_is_refused_before_any_work(name, message, tmp_path):
    with pytest.raises(UserError) as error:
        run(small(tmp_path / "out", callbacks=(name,), **SHORT))
    assert str(error.value) == message
    assert not (tmp_path / "out").exists()

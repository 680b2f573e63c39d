"""One rank, disturbed at every kind of moment: killed, told to stop, a full disk, NaN. One launch."""

import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from launching import (
    COMMON,
    numbers,
    survive,
    weights,
)

pytestmark = pytest.mark.slow


MOMENTS = random.Random(7)  # noqa: S311  # moments, not secrets
CASES: list[dict[str, Any]] = [
    {"name": "whole", "at": "nothing", "when": 0},
    *({"name": f"micro-step-{n}", "at": "micro-step", "when": n} for n in sorted(MOMENTS.sample(range(1, 18), 3))),
    *(
        {"name": at.replace(" ", "-"), "at": at, "when": MOMENTS.randint(1, 3)}
        for at in ("weights saved", "optimizer saved", "manifest", "journal", "SIGTERM")
    ),
    {"name": "pruning", "at": "pruning", "when": 1},
    {"name": "not-a-number", "at": "not a number", "when": 5},
    {"name": "not-a-number-in-validation", "at": "not a number in validation", "when": 2},
    {"name": "full-disk", "at": "full disk", "when": 2},
    {"name": "cut", "at": "micro-step", "when": 15, "damage": "cut"},
    {"name": "corrupted", "at": "micro-step", "when": 15, "damage": "corrupt"},
]
# Where the weights were broken, and the checkpoints that are left: none is made of broken weights.
NOT_A_NUMBER = {"not-a-number": (2, "checkpoint-1"), "not-a-number-in-validation": (4, "checkpoint-3")}
SURVIVED = [case["name"] for case in CASES if case["name"] != "whole"]


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory) -> tuple[Path, dict[str, dict]]:
    """One launch: every case, each disturbed and then started again. 6 updates of 3 micro-steps."""
    root = tmp_path_factory.mktemp("kills")
    config = COMMON | {
        "zero_stage": 2,
        "row_tokens": 300,
        "max_updates": 6,
        "epochs": 2,
        "save_every": 1,
        "validate_every": 2,
    }
    return root, survive(1, root, config, CASES)[0]


@pytest.mark.parametrize("name", SURVIVED)
def test_a_disturbed_run_goes_on_to_the_same_bits(disturbed, name):
    root, codes = disturbed
    log = (root / f"{name}.log").read_text()
    assert codes[name]["second"] == 0, log[-3000:]
    assert numbers(root / name) == numbers(root / "whole")
    assert torch.equal(weights(root / name), weights(root / "whole"))


def test_cases_were_disturbed_as_meant(disturbed):
    _, codes = disturbed
    ends = {name: code["first"] for name, code in codes.items()}
    clean = {"whole", "SIGTERM"}
    failed = {*NOT_A_NUMBER, "full-disk"}
    assert {name for name, code in ends.items() if code == 0} == clean
    assert {name for name, code in ends.items() if code == 1} == failed
    assert {name for name, code in ends.items() if code == -signal.SIGKILL} == set(ends) - clean - failed


def test_sigterm_saves_and_says_so(disturbed):
    root, codes = disturbed
    log = (root / "SIGTERM.log").read_text()
    assert "stopped (SIGTERM) after update" in log
    assert codes["SIGTERM"]["left"]


@pytest.mark.parametrize("name", NOT_A_NUMBER)
def test_not_a_number_stops_with_the_records_saved(disturbed, name):
    root, codes = disturbed
    update, last = NOT_A_NUMBER[name]
    (saved,) = (root / name).glob("nonfinite-*.json")
    offenders = json.loads(saved.read_text())
    assert str(saved) in (root / f"{name}.log").read_text()
    assert offenders["update"] == update
    assert offenders["records"]
    assert offenders["records"][0]["record"].startswith("tiny.jsonl:")
    assert offenders["records"][0]["loss"] == "nan"
    assert codes[name]["left"][0] == last


def test_a_full_disk_loses_no_earlier_checkpoint(disturbed):
    root, codes = disturbed
    assert codes["full-disk"]["left"] == ["checkpoint-1"]
    assert "checkpoint-2 could not be written" in (root / "full-disk.log").read_text()


@pytest.mark.parametrize(("name", "wrong"), [("cut", "bytes of"), ("corrupted", "has a corrupted")])
def test_a_damaged_checkpoint_is_named_and_the_previous_one_used(disturbed, name, wrong):
    root, codes = disturbed
    latest, previous = codes[name]["left"][:2]
    log = (root / f"{name}.log").read_text()
    assert f"{latest} {'has ' if name == 'cut' else ''}" in log
    assert wrong in log
    assert f"going on from {previous}" in log

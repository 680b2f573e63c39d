"""Two ranks, one of them killed at every kind of moment. One launch."""

import random
import signal
from pathlib import Path
from typing import Any

import pytest
from launching import COMMON, assert_same_to_1e_6, survive

pytestmark = pytest.mark.slow


MOMENTS = random.Random(8)  # noqa: S311  # moments, not secrets
PAIR_CASES: list[dict[str, Any]] = [
    {"name": "whole", "at": "nothing", "when": 0},
    {"name": "micro-step", "at": "micro-step", "when": MOMENTS.randint(4, 9), "rank": 1},
    {"name": "weights-saved", "at": "weights saved", "when": MOMENTS.randint(1, 3), "rank": 1},
    {"name": "optimizer-saved", "at": "optimizer saved", "when": MOMENTS.randint(2, 4), "rank": 0},
    {"name": "manifest", "at": "manifest", "when": MOMENTS.randint(1, 3), "rank": 0},
]


@pytest.fixture(scope="module")
def killed_pairs(tmp_path_factory) -> tuple[Path, list[dict[str, dict]]]:
    """One launch of two ranks: in every case one is killed, the other notices, and both start again."""
    root = tmp_path_factory.mktemp("pairs")
    config = COMMON | {"zero_stage": 2, "row_tokens": 300, "max_updates": 6, "epochs": 2, "save_every": 1}
    return root, survive(2, root, config | {"validate_every": 2}, PAIR_CASES)


@pytest.mark.parametrize("case", PAIR_CASES[1:], ids=lambda case: case["name"])
def test_two_ranks_survive_the_death_of_one(killed_pairs, case):
    root, ranks = killed_pairs
    name, killed = case["name"], case["rank"]
    log = (root / f"{name}.log").read_text()
    assert ranks[killed][name]["first"] == -signal.SIGKILL
    assert ranks[1 - killed][name]["first"] == 1
    assert [codes[name]["second"] for codes in ranks] == [0, 0], log[-3000:]
    assert_same_to_1e_6(root / name, root / "whole")

"""A reference is made once, by whoever wants it first."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from experiments.policies import FACTS, made_once


@dataclass(frozen=True)
class Options:
    seed: int = 0


def test_two_that_want_it_make_it_once(tmp_path):
    calls = []

    def make():
        calls.append(1)
        time.sleep(0.2)
        (folder / "weights").write_text("made")
        return {"loss": 1.5}

    folder = tmp_path / "references" / "B0"
    folder.mkdir(parents=True)
    (folder / "weights").write_text("cut short")  # by a process that was killed
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: made_once(folder, Options(), make), range(2)))
    assert (found, calls) == ([folder] * 2, [1])
    assert (folder / "weights").read_text() == "made"
    assert json.loads((folder / FACTS).read_text()) == {"loss": 1.5, "made_from": {"seed": 0}}
    with pytest.raises(ValueError, match=r"holds another reference, \{'seed': 0\}: remove it"):
        made_once(folder, Options(1), make)

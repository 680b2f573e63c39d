"""The simulation of ranks that wait: shares are right where they are known."""

import json

import numpy as np
import pytest
from balance import idle, main
from launching import settings
from side_by_side import ROOT

from scaled.data.plan import epoch_stream, make_plan


def alone(lengths, world_size, batch_size, row_tokens, updates):
    stream = epoch_stream(len(lengths), 1, 0)
    options = {"world_size": world_size, "batch_size": batch_size, "row_tokens": row_tokens, "max_updates": updates}
    return idle(make_plan(lengths, stream, **options), lengths, lambda row: sum(lengths[pair] for pair in row))


def test_known_shares():
    even = [10] * 64
    assert alone(even, 4, 16, 40, 3) == pytest.approx((0, 0, 0, 1))
    # Two ranks, one pair each: the shorter one waits for half of the time, and no plan could mend it.
    assert alone([10, 20] * 2, 2, 2, 20, 2).least <= 0.25
    uneven = alone([10, 20], 2, 2, 20, 1)
    assert uneven == pytest.approx((0.25, 0.25, 0.25, 1))


def test_long_lengths_are_dealt_evenly_where_they_can_be():
    """Log-normal lengths, four pairs a rank or more: under 5 % of the time is lost at 64 ranks."""
    lengths = np.random.default_rng(0).lognormal(7.3, 0.6, 2048).clip(100, 4096).astype(int).tolist()
    found = alone(lengths, 64, 256, 8192, 8)
    assert found.least <= found.whole <= found.steps < 0.06
    assert alone(lengths, 64, 512, 8192, 4).steps < 0.05


def test_pairs_of_one_prompt_share_a_tree_as_in_the_run(tmp_path, capsys):
    """Two prompts, four responses each, six pairs of them: prompt and contexts once, not six or three times."""
    words = (f"w{number}" for number in range(1000))
    lines = []
    for _ in range(2):
        prompt, *said = (" ".join(next(words) for _ in range(count)) for count in (24, 8, 8, 8, 8))
        lines += [
            {"prompt": prompt, "chosen": said[one], "rejected": said[other]} for one in range(4) for other in range(one)
        ]
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    values = {"data": str(data), "shuffle": "prompts", "validation_size": 0, "row_tokens": 8192, "max_length": 2048}
    sizes = ["--world-sizes", "2", "--batch-sizes", "12", "--updates", "1"]
    assert main(["--config", str(ROOT / "scaled" / "configs" / "tiny.yaml"), *settings(values), *sizes]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 2 |")]
    *_, idle_least, tokens, _ = row.split("|")
    assert float(idle_least.rstrip(" %")) == pytest.approx(0, abs=2)
    assert float(tokens.rstrip(" %")) < 70

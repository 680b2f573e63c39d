"""What the dry run says that an 8B model takes, against arithmetic."""

import re

import pytest
from tiny_base import ROOT

from inspo.conditioning import Conditioning
from inspo.pairs import PreferencePair
from inspo.prefix_tree import build_row
from scaled.config import TrainConfig
from scaled.model.random_weights import shipped_architecture
from scaled.model.sizes import activation_bytes, count_weights, state_bytes

GIB = 2**30
WEIGHTS, LARGEST = 8_030_261_248, 128_256 * 4096
"""Of Llama-3-8B, as its card has it, and of its embedding."""
LAYERS, WIDTH, INNER = 32, 4096, 14_336


def config(**changes):
    return TrainConfig(model="x", data="y", precision="bf16", **changes)


@pytest.mark.slow
def test_8b_by_hand():
    """State as Rajbhandari et al. (2020) count it; activations within 15 %, token by token and layer by layer."""
    architecture = shipped_architecture("llama-3-8b-instruct")
    weights = count_weights(architecture, config())
    assert (weights.total, weights.largest_layer) == (WEIGHTS, LARGEST)
    row = build_row([PreferencePair([5] * 2730, range(10, 1375), range(5000, 6365))], Conditioning.SYMMETRIC)
    layer = (23 * WIDTH + 8 * INNER) * len(row)
    expected = [
        (state_bytes(weights, 1, config(zero_stage=2)), 20 * WEIGHTS, 0.001),
        (state_bytes(weights, 8, config(zero_stage=2)), 2 * WEIGHTS + 18 * WEIGHTS / 8, 0.001),
        (state_bytes(weights, 8, config(zero_stage=3)), 18 * WEIGHTS / 8 + 4 * LARGEST, 0.001),
        (activation_bytes(architecture, row, config(gradient_checkpointing=False)), LAYERS * layer, 0.15),
        (
            activation_bytes(architecture, row, config(gradient_checkpointing=True)),
            2 * WIDTH * LAYERS * len(row) + layer + 8 * 2**24,
            0.15,
        ),
    ]
    page = (ROOT / "benchmarks" / "RESULTS.md").read_text()
    table = page[page.index("### Of 8B, by arithmetic") :]
    said = re.findall(r"^\| (?:state|activations).*? \| ([\d.]+) \| ([\d.]+) \|", table, re.MULTILINE)[:5]
    assert len(row) == 8188
    for (found, by_hand, tolerance), shown in zip(expected, said, strict=True):
        assert found == pytest.approx(by_hand, rel=tolerance)
        assert shown == (f"{found / GIB:.1f}", f"{by_hand / GIB:.1f}")

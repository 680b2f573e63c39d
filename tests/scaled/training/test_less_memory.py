"""4-bit weights and 8-bit moments, run for real: how far from full precision they are."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_base import SMALL

from scaled.config import TrainConfig
from scaled.model.loading import load_weights
from scaled.run.run import run
from scaled.training.journal import read

pytestmark = pytest.mark.slow


def values(base, out, **changes):
    size = {"limit": 40, "validation_size": 8, "max_updates": 6, "epochs": 4, "warmup_ratio": 0}
    return SMALL | {"model": str(base), "out": str(out)} | size | changes


def trained(base, out, **changes):
    run(TrainConfig(**values(base, out, **changes)))
    losses = [line["loss"] for line in read(out / "metrics.jsonl") if line["kind"] == "update"]
    return losses, load_file(out / "model" / "model.safetensors")


def test_an_adapter_on_4_bit_weights_learns_what_it_would_on_these_weights_in_full(base, tmp_path):
    """The same losses to rounding; and those of the weights before they were quantized within a hundredth."""
    pytest.importorskip("bitsandbytes", reason="the group bnb is not installed")
    adapter = {"lora_rank": 4, "learning_rate": 1e-2}
    config = TrainConfig(**values(base, tmp_path / "none", qlora=True, **adapter))
    rounded = load_weights(base, config).dequantize().state_dict()
    before = load_file(base / "model.safetensors")
    assert any(not torch.equal(rounded[name], before[name]) for name in before), "nothing was quantized"
    in_full = tmp_path / "in full"
    shutil.copytree(base, in_full)
    kept = {name: rounded[name].float().contiguous() for name in before}
    save_file(kept, in_full / "model.safetensors", metadata={"format": "pt"})
    quantized, _ = trained(base, tmp_path / "quantized", qlora=True, **adapter)
    expected, _ = trained(in_full, tmp_path / "rounded", **adapter)
    assert quantized == pytest.approx(expected, rel=1e-4)
    assert quantized[-1] < quantized[0] - 0.1, "it learns"
    unrounded, _ = trained(base, tmp_path / "unrounded", **adapter)
    assert quantized[0] == pytest.approx(unrounded[0], rel=0.01)


def test_8_bit_moments_go_the_way_of_full_ones(base, tmp_path):
    """The weights end 5 % of the way from where full moments bring them, and losses agree to a thousandth."""
    pytest.importorskip("bitsandbytes", reason="the group bnb is not installed")
    losses, full = trained(base, tmp_path / "full")
    ours, eight = trained(base, tmp_path / "eight", optim="adamw_8bit")
    start = load_file(base / "model.safetensors")
    apart, way = (
        sum(float((one[name] - other[name]).square().sum()) for name in start) ** 0.5
        for one, other in ((eight, full), (full, start))
    )
    assert 0 < apart < 0.05 * way
    assert ours == pytest.approx(losses, rel=1e-3)

"""precision: auto stands for bf16 on a GPU that has it, else float32; what it stood for is what is recorded."""

import pathlib

import pytest
import torch

from scaled import device
from scaled.config import PolicyOptions, TrainConfig
from scaled.device import slow_precision


@pytest.fixture
def gpu(monkeypatch):
    def here(*, bf16: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda emulated: bf16 or emulated)

    return here


def test_auto_is_float32_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert TrainConfig(architecture="tiny-llama").precision == "float32"
    assert TrainConfig(architecture="tiny-llama", precision="bf16").precision == "bf16"


@pytest.mark.parametrize("bf16", [True, False])
def test_auto_is_bf16_on_a_gpu_that_has_it(gpu, bf16):
    gpu(bf16=bf16)
    expected = "bf16" if bf16 else "float32"
    assert PolicyOptions().precision == expected
    assert PolicyOptions(precision="auto").precision == expected
    assert TrainConfig(architecture="tiny-llama").resolved()["precision"] == expected
    assert (
        TrainConfig(architecture="tiny-llama").hash()
        == TrainConfig(architecture="tiny-llama", precision=expected).hash()
    )


def test_auto_is_float32_where_the_configuration_declines_the_gpu(gpu):
    gpu(bf16=True)
    assert PolicyOptions(device="cpu").precision == "float32"


@pytest.mark.parametrize(("flags", "warns"), [("avx512f", True), ("avx512_bf16", False), ("asimd bf16", False)])
def test_bf16_on_a_cpu_that_emulates_it_is_a_warning(tmp_path, monkeypatch, flags, warns):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor: 0\nflags: {flags}\n")
    monkeypatch.setattr(device, "Path", lambda _: pathlib.Path(info))
    line = slow_precision(PolicyOptions(precision="bf16", device="cpu"))
    assert (line is not None and "set precision=auto" in line) is warns
    assert slow_precision(PolicyOptions(precision="float32", device="cpu")) is None

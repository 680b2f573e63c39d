"""precision: auto stands for bf16 on a GPU that has it, else float32; what it stood for is what is recorded.

And device: auto leaves a Mac's GPU alone, aloud.
"""

import pathlib

import pytest
import torch

from scaled import device
from scaled.config import PolicyOptions, TrainConfig
from scaled.device import slow_precision, uses_gpu
from scaled.run.checks import check_machine
from scaled.training.engine import make_accelerator


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


@pytest.mark.parametrize(("chosen", "said"), [("auto", True), ("cpu", False)])
def test_a_mac_trains_on_its_cpu_and_says_so(tmp_path, monkeypatch, caplog, chosen, said):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = TrainConfig(architecture="tiny-llama", device=chosen, zero_stage=0, threads=1)
    check_machine(config)
    lines = [message for message in caplog.messages if "MPS" in message]
    assert len(lines) == said
    assert all("this run is on the CPU" in line for line in lines)
    assert not uses_gpu(config)
    assert make_accelerator(config, 1, tmp_path).device.type == "cpu"


def test_a_machine_without_mps_hears_nothing_of_it(monkeypatch, caplog):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    check_machine(TrainConfig(architecture="tiny-llama", zero_stage=0))
    assert not [message for message in caplog.messages if "MPS" in message]

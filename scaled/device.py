"""The device: whether it is a GPU, its name, its peak, and the memory that was used."""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path

import torch

from scaled.config import ComputeOptions

PEAK_TERAFLOPS = {
    "A100": 312.0,
    "H100": 989.0,
    "H200": 989.0,
    "B200": 2250.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10G": 70.0,
    "RTX 4090": 165.0,
}
"""Dense bfloat16 peaks, by a part of the device's name; from the makers' data sheets."""


def uses_gpu(options: ComputeOptions) -> bool:
    """Whether the run is on a GPU, which a machine may have and the configuration decline."""
    return options.device != "cpu" and torch.cuda.is_available()


def slow_precision(options: ComputeOptions) -> str | None:
    """A line about a precision that this machine computes slowly, or None."""
    if options.precision != "bf16" or uses_gpu(options):
        return None
    info = Path("/proc/cpuinfo")
    if not info.is_file() or re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", info.read_text()):
        return None
    return "precision = bf16: this CPU emulates bf16, many times slower than float32: set precision=auto"


def unused_mps(options: ComputeOptions) -> str | None:
    """A line about an Apple GPU that ``device: auto`` leaves alone, or None."""
    if options.device != "auto" or uses_gpu(options) or not torch.backends.mps.is_available():
        return None
    return (
        "device = auto: this run is on the CPU, not on this machine's GPU (MPS): whether log-probs are exact there was "
        "never tested; device=cpu leaves this line out"
    )


def device_peak(*, gpu: bool) -> float | None:
    """The device's dense bfloat16 peak in operations per second, or None where it is not listed."""
    if not gpu:
        return None
    name = torch.cuda.get_device_name()
    return next((peak * 1e12 for part, peak in PEAK_TERAFLOPS.items() if part in name), None)


def device_name(*, gpu: bool) -> str:
    """The GPU's name, or the processor's architecture."""
    return str(torch.cuda.get_device_name()) if gpu else f"{platform.machine()} CPU"


def memory_gib(*, gpu: bool) -> float:
    """Most memory that this rank has held: of the GPU, or of the process."""
    if gpu:
        return torch.cuda.max_memory_allocated() / 2**30
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**30 if sys.platform == "darwin" else 2**20)

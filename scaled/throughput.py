"""How much of the machine a run uses: model arithmetic against the device's peak, and memory."""

from __future__ import annotations

import platform
import sys
from typing import Any

import torch
from torch import nn

from scaled.config import TrainConfig

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


def uses_gpu(config: TrainConfig) -> bool:
    """Whether the run is on a GPU, which a machine may have and the configuration decline."""
    return config.device != "cpu" and torch.cuda.is_available()


def device_peak(*, gpu: bool) -> float | None:
    """The device's dense bfloat16 peak in operations per second, or None where it is not listed."""
    if not gpu:
        return None
    name = torch.cuda.get_device_name()
    return next((peak * 1e12 for part, peak in PEAK_TERAFLOPS.items() if part in name), None)


def device_name(*, gpu: bool) -> str:
    """The GPU's name, or the processor's architecture."""
    return str(torch.cuda.get_device_name()) if gpu else f"{platform.machine()} CPU"


def flops_per_token(model: nn.Module) -> float:
    """Forward and backward operations per token without attention: six per weight that tokens meet."""
    embedding: Any = getattr(model, "get_input_embeddings", lambda: None)()
    count = sum(_size(parameter) for parameter in model.parameters())
    tied = getattr(getattr(model, "config", None), "tie_word_embeddings", False)
    looked_up = 0 if embedding is None or tied else _size(embedding.weight)
    return 6.0 * (count - looked_up)


def peak_share(model: nn.Module, tokens_per_second: float, *, gpu: bool) -> float | None:
    """Share of the device's peak that a rank's tokens per second come to, or None.

    Recomputation by gradient checkpointing is not counted as work done, as usual.
    """
    peak = device_peak(gpu=gpu)
    return None if peak is None else tokens_per_second * flops_per_token(model) / peak


def memory_gib(*, gpu: bool) -> float:
    """Most memory that this rank has held: of the GPU, or of the process."""
    if gpu:
        return torch.cuda.max_memory_allocated() / 2**30
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**30 if sys.platform == "darwin" else 2**20)


def _size(parameter: Any) -> int:
    return int(getattr(parameter, "ds_numel", parameter.numel()))  # ZeRO-3 leaves numel at the rank's share

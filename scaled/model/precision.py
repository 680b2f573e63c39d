"""In which dtype weights are kept, and under which autocast forward passes run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from scaled.config import ComputeOptions, PolicyOptions
from scaled.device import uses_gpu


def weights_dtype(options: PolicyOptions) -> torch.dtype:
    """The dtype of the policy's weights.

    bf16 weights have float32 copies in DeepSpeed's optimizer, or are frozen under an adapter; without
    either, the weights themselves are float32 and computed with in bf16 (:func:`autocast`).
    """
    bf16 = options.precision == "bf16" and (options.zero_stage or options.lora_rank)
    return torch.bfloat16 if bf16 else torch.float32


def autocast(compute: ComputeOptions) -> AbstractContextManager[Any]:
    """What the trainer's forward passes run under: accelerate's autocast, which DeepSpeed does without."""
    if compute.precision != "bf16" or compute.zero_stage:
        return nullcontext()
    return torch.autocast("cuda" if uses_gpu(compute) else "cpu", dtype=torch.bfloat16)

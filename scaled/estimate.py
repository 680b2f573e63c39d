"""``--dry-run``: what a run will be, without weights and without training."""

from __future__ import annotations

from transformers import PreTrainedConfig

from scaled.config import TrainConfig


def parameters(architecture: PreTrainedConfig) -> int:
    """Weights of an architecture, counted on the meta device."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(architecture)  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    return sum(parameter.numel() for parameter in model.parameters())


def checkpoint_bytes(config: TrainConfig, architecture: PreTrainedConfig) -> int:
    """Bytes of one checkpoint and the result: weights, float32 master copies and two moments."""
    count = parameters(architecture)
    weight = 2 if config.precision == "bf16" else 4
    return count * (2 * weight + (0 if config.lora_rank else weight + 12))


def describe_run(config: TrainConfig) -> str:
    """Not there yet."""
    return str(config)

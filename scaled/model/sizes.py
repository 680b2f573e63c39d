"""Sizes of a model: weights, and the bytes that weights, optimizer state, activations and checkpoints take.

Weights are counted on the meta device. Memory is DeepSpeed's own estimate of weights, gradients and
optimizer state, and an estimate of activations from the architecture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig

from inspo.logprobs import CHUNK_ELEMENTS
from scaled.config import AdapterOptions, ComputeOptions, PolicyOptions
from scaled.device import device_peak
from scaled.model.adapters import lora
from scaled.model.precision import weights_dtype


@dataclass(frozen=True)
class Weights:
    """Numbers of weights.

    Attributes:
        total: all.
        trained: those with gradients.
        largest_layer: of the module that ZeRO-3 gathers at once.
    """

    total: int
    trained: int
    largest_layer: int


def count_weights(architecture: PreTrainedConfig, adapter: AdapterOptions) -> Weights:
    """Count on the meta device, which holds shapes and no data."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(architecture)  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        total = sum(parameter.numel() for parameter in model.parameters())
        largest = max(sum(part.numel() for part in module.parameters(recurse=False)) for module in model.modules())
        trained = total
        if adapter.lora_rank is not None:
            from peft import get_peft_model

            adapted: Any = get_peft_model(model, lora(adapter))
            trained = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    return Weights(total, trained, largest)


@dataclass(frozen=True)
class Disk:
    """Bytes that a run writes.

    Attributes:
        checkpoint: of one checkpoint.
        result: of the trained model.
    """

    checkpoint: int
    result: int


def disk_bytes(weights: Weights, options: PolicyOptions) -> Disk:
    """What a checkpoint and the result take.

    A checkpoint has the weights that are trained (DeepSpeed's stages 1 and 2 a second time) and their
    two moments in float32; DeepSpeed also keeps float32 copies.
    """
    each = weights_dtype(options).itemsize
    copies = 2 if options.zero_stage in (1, 2) else 1
    state = 12 if options.zero_stage else 8
    return Disk(weights.trained * (copies * each + state), weights.total * each)


def state_bytes(weights: Weights, gpus: int, options: PolicyOptions) -> int:
    """Bytes per GPU of weights, gradients and optimizer state, as DeepSpeed estimates them."""
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

    offload = options.offload == "cpu"
    if options.lora_rank is not None:
        each = 0.5 if options.qlora else weights_dtype(options).itemsize
        frozen = weights.total * each / (gpus if options.zero_stage == 3 else 1)
        trained = 6 if offload else 18  # weights and gradients stay; float32 copies and moments go
        return int(frozen + trained * weights.trained / (gpus if options.zero_stage else 1))
    if options.zero_stage == 3:
        _, bytes_, _ = estimate_zero3_model_states_mem_needs(
            weights.total, weights.largest_layer, gpus, cpu_offload=offload, cpu_offload_params=False
        )
        return int(bytes_)
    if options.zero_stage in (1, 2):
        return int(estimate_zero2_model_states_mem_needs(weights.total, gpus, cpu_offload=offload)[1])
    return 16 * weights.total  # float32 weights, gradients and two moments


def activation_bytes(architecture: PreTrainedConfig, row_tokens: int, compute: ComputeOptions) -> int:
    """Bytes of activations for one row: kept layer inputs, one layer at work, one chunk of logits.

    An estimate: per token a layer holds about eight hidden vectors, its queries, keys and values
    twice, and three vectors of the feed-forward width.
    """
    text = architecture.get_text_config(decoder=True)
    each = 2 if compute.precision == "bf16" else 4
    heads = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    pairs = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    attention = heads * (text.num_attention_heads + 2 * pairs)
    feed_forward = getattr(text, "intermediate_size", None) or getattr(text, "n_inner", None) or 4 * text.hidden_size
    layer = each * (8 * text.hidden_size + 2 * attention + 3 * feed_forward)
    kept = each * text.hidden_size if compute.gradient_checkpointing else layer
    logits = 3 * 4 * min(CHUNK_ELEMENTS, row_tokens * text.vocab_size)
    return int(row_tokens * (kept * text.num_hidden_layers + layer) + logits)


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


def _size(parameter: Any) -> int:
    return int(getattr(parameter, "ds_numel", parameter.numel()))  # ZeRO-3 leaves numel at the rank's share

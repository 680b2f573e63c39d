"""Sizes of a model: weights, and the bytes that weights, optimizer state, activations and checkpoints take.

Weights and activations are counted on the meta device, which holds shapes and no data. Weights, gradients and
optimizer state under ZeRO are DeepSpeed's own estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedConfig

from inspo.hf.rows import enable_tree_rows, hidden_states
from inspo.logprobs import CHUNK_ELEMENTS
from inspo.prefix_tree import PackedRow
from scaled.config import AdapterOptions, PolicyOptions
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
    model = _on_meta(architecture, torch.float32)
    total = sum(parameter.numel() for parameter in model.parameters())
    largest = max(sum(part.numel() for part in module.parameters(recurse=False)) for module in model.modules())
    adapted = _adapted(model, adapter)
    trained = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    return Weights(total, trained, largest)


def _on_meta(architecture: PreTrainedConfig, dtype: torch.dtype) -> Any:
    """A model without data."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(architecture, dtype=dtype)  # type: ignore[no-untyped-call]  # transformers leaves it untyped


def _adapted(model: Any, adapter: AdapterOptions) -> Any:
    """A model on the meta device with its adapter, if it gets one."""
    if adapter.lora_rank is None:
        return model
    from peft import get_peft_model

    with torch.device("meta"):
        return get_peft_model(model, lora(adapter))


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


def activation_bytes(architecture: PreTrainedConfig, row: PackedRow, options: PolicyOptions) -> int | None:
    """Bytes of activations that a training step keeps for one row, and what is at work beside them.

    A forward pass on the meta device, which computes nothing, counts what autograd keeps. Attention is taken to be
    fused, so that it keeps no scores. With gradient checkpointing that is one layer's, and every layer's input.
    Beside it are the logits of one chunk, their float32 copy and their gradient.

    Args:
        architecture: of the model.
        row: the trees.
        options: give the precision, the adapter and the checkpointing.

    Returns:
        None where the architecture asks for its data and so cannot be followed, such as a mixture of experts.
    """
    text = architecture.get_text_config(decoder=True)
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    model = _adapted(_on_meta(architecture, dtype), options)
    enable_tree_rows(model)
    model.train()
    kept = _Kept(model)
    try:
        with kept, _FusedAttention():
            hidden_states(model, row, attention=options.attention)
    except (NotImplementedError, RuntimeError):  # what torch says of data that the meta device lacks
        return None
    total, layers = kept.bytes, int(text.num_hidden_layers)
    if options.gradient_checkpointing:
        total = total // layers + layers * len(row) * int(text.hidden_size) * dtype.itemsize
    targets = sum(len(target.labels) for target in row.targets)
    return total + min(CHUNK_ELEMENTS, targets * int(text.vocab_size)) * (4 + 2 * dtype.itemsize)


class _Kept(saved_tensors_hooks):
    """Counts the bytes that autograd keeps for the backward pass, weights apart, each memory once."""

    def __init__(self, model: nn.Module) -> None:
        self.bytes = 0
        self._seen: dict[int, Tensor] = {_address(parameter): parameter for parameter in model.parameters()}
        super().__init__(self._count, lambda tensor: tensor)

    def _count(self, tensor: Tensor) -> Tensor:
        if _address(tensor) not in self._seen:
            self._seen[_address(tensor)] = tensor  # kept alive, so that no other memory gets its address
            self.bytes += tensor.untyped_storage().nbytes()
        return tensor


def _address(tensor: Tensor) -> int:
    """What tells a tensor's memory from another's, on the meta device too, where all data pointers are 0."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001  # there is no public one


class _FusedAttention(TorchFunctionMode):
    """Attention as a fused kernel keeps it: queries, keys, values, the mask and the output, no scores."""

    def __torch_function__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is nn.functional.scaled_dot_product_attention:
            return _Fused.apply(*args[:3], (kwargs or {}).get("attn_mask"))  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return function(*args, **(kwargs or {}))


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        output = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, output, None if mask is None else mask.to(query.dtype))
        return output


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

"""``--dry-run``: what a run will be, without weights and without training, offline.

Weights are counted on the meta device. Memory is DeepSpeed's own estimate of weights, gradients and
optimizer state, and an estimate of activations from the architecture's numbers. A time is given only
where a finished run of a model of this size on this device, beside `out`, measured its tokens per second.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, PreTrainedConfig

from inspo.logprobs import CHUNK_ELEMENTS
from scaled.base import architecture
from scaled.config import RANDOM, ConfigError, TrainConfig
from scaled.lifecycle import ranks
from scaled.policy import lora, weights_dtype
from scaled.prepare import Prepared, prepare_run
from scaled.throughput import device_name, uses_gpu

GPUS = (1, 2, 4, 8)


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


def count_weights(config: TrainConfig, numbers: PreTrainedConfig) -> Weights:
    """Count on the meta device, which holds shapes and no data."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(numbers)  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        total = sum(parameter.numel() for parameter in model.parameters())
        largest = max(sum(part.numel() for part in module.parameters(recurse=False)) for module in model.modules())
        trained = total
        if config.lora_rank is not None:
            from peft import get_peft_model

            adapted: Any = get_peft_model(model, lora(config))
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


def disk_bytes(config: TrainConfig, weights: Weights) -> Disk:
    """What a checkpoint and the result take.

    A checkpoint has the weights that are trained (DeepSpeed's stages 1 and 2 a second time) and their
    two moments in float32; DeepSpeed also keeps float32 copies.
    """
    each = weights_dtype(config).itemsize
    copies = 2 if config.zero_stage in (1, 2) else 1
    state = 12 if config.zero_stage else 8
    return Disk(weights.trained * (copies * each + state), weights.total * each)


def kept_checkpoints(config: TrainConfig, saves: int | None = None) -> int:
    """Most checkpoints that are on the disk at once: those kept, the best, and the one that is written.

    Args:
        config: says how many are kept.
        saves: checkpoints of the whole run, where that is known.
    """
    most = config.keep_checkpoints + 2
    return most if saves is None else min(most, saves)


def state_bytes(config: TrainConfig, weights: Weights, gpus: int) -> int:
    """Bytes per GPU of weights, gradients and optimizer state, as DeepSpeed estimates them."""
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

    offload = config.offload == "cpu"
    if config.lora_rank is not None:
        each = 0.5 if config.qlora else weights_dtype(config).itemsize
        frozen = weights.total * each / (gpus if config.zero_stage == 3 else 1)
        trained = 6 if offload else 18  # weights and gradients stay; float32 copies and moments go
        return int(frozen + trained * weights.trained / (gpus if config.zero_stage else 1))
    if config.zero_stage == 3:
        _, bytes_, _ = estimate_zero3_model_states_mem_needs(
            weights.total, weights.largest_layer, gpus, cpu_offload=offload, cpu_offload_params=False
        )
        return int(bytes_)
    if config.zero_stage in (1, 2):
        return int(estimate_zero2_model_states_mem_needs(weights.total, gpus, cpu_offload=offload)[1])
    return 16 * weights.total  # float32 weights, gradients and two moments


def activation_bytes(config: TrainConfig, numbers: PreTrainedConfig, row_tokens: int) -> int:
    """Bytes of activations for one row: kept layer inputs, one layer at work, one chunk of logits.

    An estimate: per token a layer holds about eight hidden vectors, its queries, keys and values
    twice, and three vectors of the feed-forward width.
    """
    text = numbers.get_text_config(decoder=True)
    each = 2 if config.precision == "bf16" else 4
    heads = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    attention = heads * (text.num_attention_heads + 2 * text.num_key_value_heads)
    layer = each * (8 * text.hidden_size + 2 * attention + 3 * text.intermediate_size)
    kept = each * text.hidden_size if config.gradient_checkpointing else layer
    logits = 3 * 4 * min(CHUNK_ELEMENTS, row_tokens * text.vocab_size)
    return int(row_tokens * (kept * text.num_hidden_layers + layer) + logits)


def describe_run(config: TrainConfig) -> str:
    """Everything that ``--dry-run`` prints.

    Raises:
        ConfigError: neither an architecture nor a folder of weights at hand to count from.
    """
    numbers = _numbers(config)
    ready = _prepared(config, numbers)
    numbers = ready.architecture if ready else numbers  # with model: random, of the vocabulary that the data make
    weights = count_weights(config, numbers)
    lines = [f"{name}: {json.dumps(value)}" for name, value in config.resolved().items() if value is not None]
    lines += ["", f"configuration hash: {config.hash()}"]
    lines.append(f"parameters: {weights.total:,} ({numbers.model_type}), {weights.trained:,} of them trained")
    row, tokens, updates, about = _tokens(config, ready)
    lines += about
    lines.append("memory per GPU, estimated (weights, gradients, optimizer state + activations of one row):")
    activations = activation_bytes(config, numbers, row)
    for gpus in GPUS:
        state = state_bytes(config, weights, gpus)
        if config.sample_kl is not None and config.lora_rank is None:
            state += weights.total * weights_dtype(config).itemsize  # the initial policy, beside the trained one
        total = (state + activations) / 2**30
        lines.append(f"  {gpus} GPU: {state / 2**30:.1f} + {activations / 2**30:.1f} = {total:.1f} GiB")
    disk, count = disk_bytes(config, weights), kept_checkpoints(config)
    lines.append(
        f"disk: {disk.checkpoint / 2**30:.1f} GiB a checkpoint, of which there are up to {count} at once, "
        f"and {disk.result / 2**30:.1f} GiB the result"
    )
    lines.append(_time(config, weights, tokens, updates))
    return "\n".join(lines)


def _numbers(config: TrainConfig) -> PreTrainedConfig:
    """The model's numbers, without looking for it anywhere but here."""
    if config.architecture is not None:
        return architecture(config.architecture)
    if not Path(config.model).is_dir():
        raise ConfigError(f"--dry-run works offline and {config.model} is no folder here: set architecture too")
    return cast("PreTrainedConfig", AutoConfig.from_pretrained(config.model))


def _prepared(config: TrainConfig, numbers: PreTrainedConfig) -> Prepared | None:
    """The run's data and plan, where data and tokenizer are here."""
    at_hand = Path(config.tokenizer or config.model).is_dir() or (config.model == RANDOM and config.tokenizer is None)
    return prepare_run(config, numbers) if at_hand and Path(config.data).exists() else None


def _tokens(config: TrainConfig, ready: Prepared | None) -> tuple[int, float | None, int | None, list[str]]:
    """Tokens of the fullest row, tokens per update, updates, and lines about them."""
    if ready is None:
        longest = (config.max_length or 4096) * 2
        row = config.row_tokens or config.micro_batch * longest
        most = config.batch_size * longest
        why = "tokenizer" if Path(config.data).exists() else "data"
        return row, None, None, [f"tokens per update: at most {most:,} (the {why} is not here to count)"]
    plan = ready.plan
    sizes = [sum(ready.train.lengths[pair] for pair in slot.pairs) for slot in plan.slots]
    tokens = sum(sizes) / len(plan.updates)
    return (
        max(sizes),
        tokens,
        len(plan.updates),
        [
            f"pairs: {plan.pairs:,} to train on, {len(ready.held_out.pairs):,} held out",
            f"updates: {len(plan.updates):,} of {plan.batch_size} pairs; {plan.left_out} pairs at the end fill none",
            f"rows per update: {ranks()} ranks x {plan.accumulation}, the fullest of {max(sizes):,} tokens",
            f"tokens per update: {tokens:,.0f} on average, {tokens / plan.batch_size:,.0f} per pair",
        ],
    )


_DECIDES_SPEED = ("precision", "gradient_checkpointing", "lora_rank", "qlora", "zero_stage", "offload", "attention")


def _time(config: TrainConfig, weights: Weights, tokens: float | None, updates: int | None) -> str:
    device = device_name(gpu=uses_gpu(config))
    alike = {name: getattr(config, name) for name in _DECIDES_SPEED}
    wanted = {"parameters": weights.total, "device": device, "ranks": ranks(), **alike}
    for path in sorted(Path(config.out).parent.glob("*/run.json")):
        record = json.loads(path.read_text())
        measured = record.get("tokens_per_second")
        found = record.get("config", {}) | record
        if all(found.get(name) == value for name, value in wanted.items()) and measured and tokens and updates:
            seconds = math.ceil(tokens * updates / measured)
            return (
                f"time: {seconds // 3600} h {seconds % 3600 // 60} min at {measured:,.0f} tokens/s, measured by {path}"
            )
    return (
        f"time: unknown, no run of this size on {ranks()} x {device} with the same precision, checkpointing, adapter "
        f"and ZeRO stage was measured beside {config.out}"
    )

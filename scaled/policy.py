"""The policy and its reference: one loader for both, so that they are equal before the first update.

The reference is the policy as it is before training: the same weights in the same precision,
quantized alike, under the same autocast, without an adapter (a new one adds exactly zero).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from inspo.conditioning import Conditioning
from inspo.losses import METHODS
from inspo.pairs import PreferencePair
from scaled.config import ConfigError, TrainConfig, first_line
from scaled.lifecycle import barrier, rank, ranks
from inspo.hf.rows import load_policy, verify_tree_attention
from scaled.objective import prepare
from scaled.prepare import Pairs, Prepared
from scaled.reference import Ranks, UnusableReferenceError, reference_logps
from scaled.sampling import Sampling
from inspo.hf.architectures import VERIFIED
from scaled.throughput import uses_gpu
from scaled.trainer import PairSet


def weights_dtype(config: TrainConfig) -> torch.dtype:
    """The dtype of the policy's weights.

    bf16 weights have float32 copies in DeepSpeed's optimizer, or are frozen under an adapter; without
    either, the weights themselves are float32 and computed with in bf16 (:func:`autocast`).
    """
    bf16 = config.precision == "bf16" and (config.zero_stage or config.lora_rank)
    return torch.bfloat16 if bf16 else torch.float32


def autocast(config: TrainConfig) -> AbstractContextManager[Any]:
    """What the trainer's forward passes run under: accelerate's autocast, which DeepSpeed does without."""
    if config.precision != "bf16" or config.zero_stage:
        return nullcontext()
    return torch.autocast("cuda" if uses_gpu(config) else "cpu", dtype=torch.bfloat16)


def load_initial(config: TrainConfig, source: str) -> PreTrainedModel:
    """The initial policy, without an adapter, on tree attention.

    Raises:
        ConfigError: weights that cannot be loaded.
    """
    options: dict[str, Any] = {}
    if config.qlora:
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=weights_dtype(config),
            bnb_4bit_use_double_quant=True,
            llm_int8_skip_modules=["lm_head"],
        )
    try:
        return load_policy(source, dtype=weights_dtype(config), **options)
    except OSError as error:
        raise ConfigError(f"model = {source}: its weights cannot be loaded ({first_line(error)})") from None


def _placed(config: TrainConfig, model: nn.Module) -> nn.Module:
    """The model on the GPU, where the run is on one; quantized weights are loaded to it."""
    return model.cuda() if uses_gpu(config) and not config.qlora else model


def lora(config: TrainConfig) -> Any:
    """PEFT's configuration of the adapter, where the configuration has one."""
    from peft import LoraConfig

    width = cast("int", config.lora_rank)
    return LoraConfig(
        r=width,
        lora_alpha=cast("Any", 2 * width if config.lora_alpha is None else config.lora_alpha),
        lora_dropout=config.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def load_trainable(config: TrainConfig, source: str) -> nn.Module:
    """The policy as it is trained: with its adapter, on tree attention, accepting rows."""
    model: nn.Module = load_initial(config, source)
    cast("Any", model).config.use_cache = False
    if config.gradient_checkpointing:
        cast("Any", model).gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if config.lora_rank is not None:
        from peft import get_peft_model

        torch.manual_seed(config.seed)
        model = get_peft_model(cast("Any", model), lora(config))
    prepare(model)
    return model


def check_attention(config: TrainConfig, ready: Prepared) -> None:
    """Find out whether tree rows are right for an architecture that no test covers.

    Raises:
        ConfigError: they are not.
    """
    if ready.architecture.model_type in VERIFIED:
        return
    model = _placed(config, load_initial(config, ready.source))
    try:
        with autocast(config):
            verify_tree_attention(model, attention=config.attention)
    except ValueError as error:
        raise ConfigError(f"model = {ready.source}: {error}") from error


def make_sampling(config: TrainConfig, ready: Prepared) -> Sampling | None:
    """What ``sample_kl`` asks for. Without an adapter to switch off, the initial policy is kept beside the trained."""
    if config.sample_kl is None:
        return None
    reference: nn.Module | None = None
    if config.lora_rank is None:
        reference = _placed(config, load_initial(config, ready.source))
        reference.train(mode=False)
        prepare(reference)
    prompts = [pair.prompt for pair in ready.held_out.pairs[: config.sample_kl]]
    end = ready.template.end_of_turn
    return Sampling(prompts, config.sample_tokens, end, config.seed, reference, partial(autocast, config))


def with_reference(config: TrainConfig, ready: Prepared) -> tuple[PairSet, PairSet | None]:
    """The data with the reference's log-probs, which are computed before the policy is wrapped.

    Raises:
        ConfigError: a log-prob that is not finite, or a folder that ranks do not share.
    """
    if not METHODS[config.method].needs_reference:
        return _pair_set(ready.train), _pair_set(ready.held_out) if ready.held_out.pairs else None
    model = _placed(config, load_initial(config, ready.source))

    def scored(pairs: Sequence[PreferencePair], conditioning: Conditioning) -> Any:
        return reference_logps(
            model,
            pairs,
            conditioning,
            ready.objective.reference,
            separator=ready.objective.separator,
            draft_cap=ready.objective.draft_cap,
            with_plain=config.plain_logps,
            template=ready.template.identity,
            token_budget=config.row_tokens or 8192,
            attention=config.attention,
            cache_dir=Path(config.out) / "reference",
            ranks=Ranks(rank(), ranks(), barrier),
        ).sums

    try:
        with autocast(config):
            train = _with_reference(ready.train, ready.objective.conditioning, scored)
            held_out = None
            if ready.held_out.pairs:
                held_out = _with_reference(ready.held_out, ready.objective.conditioning, scored)
    except UnusableReferenceError as error:
        raise ConfigError(str(error)) from error
    return train, held_out


def _pair_set(data: Pairs) -> PairSet:
    return PairSet(data.pairs, mismatched=data.mismatched)


def _with_reference(data: Pairs, conditioning: Conditioning, scored: Callable[..., Any]) -> PairSet:
    known = replace(_pair_set(data), reference=scored(data.pairs, conditioning))
    if not data.mismatched:
        return known
    return replace(known, mismatched_reference=scored(data.mismatched, Conditioning.NONE))

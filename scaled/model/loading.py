"""The policy and its reference: one loader for both, so that they are equal before the first update.

The reference is the policy as it is before training: the same weights in the same precision,
quantized alike, under the same autocast, without an adapter (a new one adds exactly zero).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import cached_file, extract_commit_hash

from inspo.command_line import UserError, one_line
from inspo.hf.architectures import VERIFIED
from inspo.hf.rows import enable_tree_rows, verify_tree_attention
from scaled.config import PolicyOptions
from scaled.device import uses_gpu
from scaled.model.adapters import lora
from scaled.model.precision import autocast, weights_dtype
from scaled.workarounds import is_lost_rank, keep_quantized_layout, quiet

_MAIN = "main"
"""The branch that the hub's clients take where none is named."""

_NAMED = 3
"""Tensors that a message names, of each kind."""


def load_tokenizer(source: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """A tokenizer, of the hub at a revision. Raises UserError where there is none."""
    try:
        return cast("PreTrainedTokenizerBase", AutoTokenizer.from_pretrained(source, revision=revision or _MAIN))
    except Exception as error:  # each tokenizer has other errors for files of a wrong shape
        raise UserError(
            f"tokenizer of {source}: cannot be loaded ({one_line(error)}); check model and tokenizer"
        ) from error


def load_architecture(source: str, revision: str | None = None) -> PreTrainedConfig:
    """A model's configuration, of the hub at a revision.

    Raises:
        UserError: there is none, or the folder's configuration for generation does not fit it.
    """
    try:
        architecture = cast("Any", AutoConfig.from_pretrained(source, revision=revision or _MAIN))
        if not Path(source).is_dir():
            file = cached_file(source, "config.json", revision=revision or _MAIN)
            architecture._commit_hash = extract_commit_hash(file, None)  # noqa: SLF001  # transformers 5.23 lost it
    except Exception as error:  # each architecture has other errors for a config.json of a wrong shape
        raise UserError(f"model = {source}: cannot be loaded ({one_line(error)}); name a folder or hub name") from error
    _check_generation_config(source, architecture)
    return cast("PreTrainedConfig", architecture)


def _check_generation_config(source: str, architecture: PreTrainedConfig) -> None:
    """Refuse a folder's generation_config.json that transformers would pass over in silence or blame on the weights."""
    file = Path(source) / "generation_config.json"
    if not file.is_file():
        return
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        GenerationConfig.from_dict(content)
        named = content.get("eos_token_id")
        ends = named if isinstance(named, list) else [] if named is None else [named]
        vocabulary = architecture.get_text_config(decoder=True).vocab_size
        if not all(type(end) is int and 0 <= end < vocabulary for end in ends):
            raise ValueError(f"eos_token_id = {named} are no tokens")  # noqa: TRY301  # told as the others
    except Exception as error:  # transformers has other errors for each value
        raise UserError(
            f"model = {source}: its generation_config.json is not one ({one_line(error)}); get its files again"
        ) from error


def load_weights(source: str | Path, options: PolicyOptions, commit: str | None = None) -> PreTrainedModel:
    """A policy without an adapter.

    Args:
        source: folder or hub name.
        options: give the precision, and say whether weights are frozen and quantized.
        commit: of a hub's repository.

    Raises:
        UserError: weights that cannot be loaded, or that do not fit the folder's config.json.
    """
    dtype = weights_dtype(options)
    quantized: dict[str, Any] = {}
    if options.qlora:
        from transformers import BitsAndBytesConfig

        quantized["quantization_config"] = BitsAndBytesConfig(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            bnb_4bit_use_double_quant=True,
            llm_int8_skip_modules=["lm_head"],
        )
    model = load_in(dtype, source, commit, **quantized)
    keep_quantized_layout(model)
    return model


def load_in(dtype: torch.dtype, source: str | Path, commit: str | None = None, **quantized: Any) -> PreTrainedModel:
    """A model with weights of a dtype.

    Args:
        dtype: of the weights.
        source: folder or hub name.
        commit: of a hub's repository.
        quantized: what transformers is told of quantization.

    Raises:
        UserError: weights that cannot be loaded, or that do not fit the folder's config.json.
    """
    try:
        with quiet(transformers_logging, logging.ERROR):  # check_fit says what transformers' table of misfits would
            model, found = cast("Any", AutoModelForCausalLM.from_pretrained)(
                source,
                revision=commit or _MAIN,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **quantized,
            )
    except Exception as error:  # OSError, safetensors' own, torch's of cut or pickled weights
        if is_lost_rank(error):
            raise
        raise UserError(
            f"model = {source}: its weights cannot be loaded ({one_line(error)}); get its files again"
        ) from error
    check_fit(str(source), found)
    model.config._commit_hash = commit  # noqa: SLF001  # as above
    return cast("PreTrainedModel", model)


def check_fit(source: str, found: Mapping[str, Any]) -> None:
    """Refuse weights in whose place a model would have random ones, or that it would leave out.

    Args:
        source: folder or hub name.
        found: what transformers says of the loading; tied weights and buffers that need not be saved are not in it.

    Raises:
        UserError: naming tensors that are missing, surplus, or of another shape.
    """
    shapes = {name: (tuple(saved), tuple(wanted)) for name, saved, wanted in found.get("mismatched_keys", ())}
    parts = [
        f"{len(names)} {what} ({', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''})"
        for what, key in (("missing", "missing_keys"), ("surplus", "unexpected_keys"))
        if (names := sorted(set(found.get(key, ())) - set(shapes)))
    ]
    if shapes:
        name, (saved, wanted) = min(shapes.items())
        parts.append(f"{len(shapes)} of another shape ({name} is {saved}, not {wanted})")
    parts += [str(message).splitlines()[0] for message in found.get("error_msgs", ())][:1]
    if parts:
        raise UserError(
            f"model = {source}: its weights do not fit its config.json, tensors: {'; '.join(parts)}; "
            "get its files again"
        )


def load_initial(source: str, options: PolicyOptions, commit: str | None = None) -> PreTrainedModel:
    """The initial policy on its device, in evaluation mode, scoring tree rows: the reference.

    An architecture that no test covers is tried first.

    Raises:
        UserError: weights that cannot be loaded, or for which tree rows are wrong.
    """
    model = load_weights(source, options, commit)
    model.train(mode=False)
    if uses_gpu(options) and not options.qlora:  # quantized weights are loaded to it
        cast("Any", model).cuda()
    enable_tree_rows(model)
    if model.config.model_type not in VERIFIED:
        try:
            with autocast(options):
                verify_tree_attention(model, attention=options.attention)
        except ValueError as error:
            raise UserError(f"model = {source}: {error}") from error
    return model


def as_policy(model: PreTrainedModel, options: PolicyOptions, seed: int, saved: Path | None = None) -> nn.Module:
    """A loaded model as it is trained: with its adapter and checkpointing, scoring tree rows.

    Args:
        model: the initial policy, or for a resumed run without an adapter the checkpoint's.
        options: say which weights are trained, and whether activations are computed again.
        seed: of a new adapter's weights.
        saved: a checkpoint that has the adapter; None for a new one.
    """
    policy: nn.Module = model
    if options.gradient_checkpointing:
        cast("Any", model).gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if options.lora_rank is not None:
        from peft import PeftModel, get_peft_model

        torch.manual_seed(seed)
        if saved is None:
            commit = getattr(model.config, "_commit_hash", None)  # the adapter says which base it is of
            policy = get_peft_model(model, lora(options), revision=commit)
        else:
            policy = PeftModel.from_pretrained(model, str(saved), is_trainable=True)
    enable_tree_rows(policy)
    return policy


@contextmanager
def partitioned(deepspeed_config: dict[str, Any]) -> Iterator[None]:
    """Let transformers load weights partitioned over the ranks, as ZeRO-3 wants them."""
    from transformers.integrations.deepspeed import HfDeepSpeedConfig, unset_hf_deepspeed_config

    kept_alive = HfDeepSpeedConfig(deepspeed_config)  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    try:
        yield
    finally:
        del kept_alive
        unset_hf_deepspeed_config()  # type: ignore[no-untyped-call]  # transformers leaves it untyped


def commit_of(source: str, architecture: PreTrainedConfig) -> str | None:
    """The commit that a hub's architecture is of, so that all else is read at the same; None for a folder's."""
    return None if Path(source).is_dir() else getattr(architecture, "_commit_hash", None)


def weights_fingerprint(source: str, architecture: PreTrainedConfig) -> str:
    """What tells initial weights apart: sha256 of a folder's files, or the commit of a hub's repository."""
    folder = Path(source)
    if not folder.is_dir():
        return f"{source} at {commit_of(source, architecture)}"
    digest = hashlib.sha256()
    for pattern in ("config.json", "*.safetensors", "*.bin"):
        for path in sorted(folder.glob(pattern)):
            with path.open("rb") as file:
                digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
    return digest.hexdigest()

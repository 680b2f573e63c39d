"""All keys together, and which go with which."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from pydantic import ValidationError, model_validator

from inspo.command_line import UserError, first_mistake, unknown_name
from inspo.conditioning import Conditioning, ReferenceContext
from inspo.losses import METHODS
from inspo.pairs import PairLogps
from scaled.config.data import DataOptions
from scaled.config.files import compose, with_origin
from scaled.config.groups import (
    RANDOM,
    AdapterOptions,
    ComputeOptions,
    EngineOptions,
    LossOptions,
    ModelOptions,
    OptimizerOptions,
    OutputOptions,
    PolicyOptions,
    SequenceOptions,
    UpdateOptions,
)

GROUPS = (
    *(ModelOptions, AdapterOptions, DataOptions, SequenceOptions, LossOptions),
    *(UpdateOptions, OptimizerOptions, ComputeOptions, OutputOptions),
)

NOT_DECISIVE = ("out", "keep_checkpoints", "trackers", "device", "threads", "save_every", "push_to_hub", "hub_private")
"""Keys that may change between the start of a run and its resumption."""


class TrainConfig(
    ModelOptions,
    DataOptions,
    SequenceOptions,
    LossOptions,
    UpdateOptions,
    PolicyOptions,
    EngineOptions,
    OutputOptions,
):
    """Train a causal language model on preference pairs.

    Raises:
        pydantic.ValidationError: a value of the wrong type or out of range, or values that contradict each
            other; a ValueError, which :func:`load` turns into one line.
    """

    @model_validator(mode="before")
    @classmethod
    def _given(cls, values: Any) -> Any:
        for name in OPTIONAL:
            if isinstance(value := values.get(name), str) and value.lower() == "none":
                raise UserError(f"{name} = {value}: write {name}=null for none")
        if values.get("lora_rank") is not None:
            return {"learning_rate": 10 * FIELDS["learning_rate"].default} | values
        return values

    @model_validator(mode="after")
    def _together(self) -> TrainConfig:
        _check_model(self)
        _check_together(self)
        _check_adapter(self)
        _check_effect(self)
        _check_loss(self)
        return self

    def resolved(self) -> dict[str, Any]:
        """Every value as JSON has it, with the hyperparameters that will be used."""
        return self.model_dump(mode="json") | dict(self.preference_loss().hyperparameters)

    def hash(self) -> str:
        """SHA-256 of everything that decides a number: all but where results go and what is logged."""
        decisive = {name: value for name, value in self.resolved().items() if name not in NOT_DECISIVE}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


FIELDS = {name: field for group in GROUPS for name, field in group.model_fields.items()}
OPTIONAL = [name for name, field in FIELDS.items() if type(None) in get_args(field.annotation)]


def _check_model(config: TrainConfig) -> None:
    if config.model == RANDOM and config.architecture is None:
        raise UserError("model: random needs the architecture to make, such as architecture: tiny-llama")
    if config.revision is not None and (config.model == RANDOM or Path(config.model).exists()):
        raise UserError(f"revision is of a model on the hub, and model = {config.model} is none: leave revision out")
    if config.tokenizer_revision is not None and (config.tokenizer is None or Path(config.tokenizer).exists()):
        raise UserError(
            f"tokenizer_revision is of a tokenizer on the hub, and tokenizer = {config.tokenizer or 'null'} is none: "
            "leave tokenizer_revision out"
        )


def _check_together(config: TrainConfig) -> None:
    if config.draft_cap is not None and (config.max_length is None or config.draft_cap == 0):
        raise UserError("draft_cap is a share in (0, 1] of max_length: give both, or set draft_cap=null")
    if config.optim.endswith("8bit") and config.zero_stage:
        raise UserError(f"optim = {config.optim}: DeepSpeed partitions moments of its own kind only: set zero_stage=0")
    if config.offload == "cpu" and config.zero_stage == 0:
        raise UserError("offload needs DeepSpeed: set zero_stage to 1, 2 or 3")
    if config.epochs == 0:
        raise UserError("epochs = 0 trains nothing")
    if config.row_tokens is None and config.batch_size % config.micro_batch:
        raise UserError(
            f"batch_size = {config.batch_size} is not a multiple of micro_batch = {config.micro_batch}: change one"
        )
    if config.kl_group is not None and config.batch_size % config.kl_group:
        raise UserError(f"batch_size = {config.batch_size} is not a multiple of kl_group = {config.kl_group}")
    if config.sample_kl is not None and config.zero_stage == 3:
        raise UserError("sample_kl needs all weights on each rank to generate with: set zero_stage=2")


def _check_adapter(config: TrainConfig) -> None:
    for name, field in AdapterOptions.model_fields.items():
        if config.lora_rank is None and name != "qlora" and getattr(config, name) != field.default:
            raise UserError(f"{name} is an adapter's: give lora_rank too")
    if config.qlora and config.lora_rank is None:
        raise UserError("qlora trains an adapter on quantized weights: give lora_rank too")
    if config.qlora and config.zero_stage == 3:
        raise UserError("4-bit weights cannot be partitioned: set zero_stage=2 with qlora")
    if config.use_dora and config.zero_stage == 3:
        raise UserError("use_dora reads whole weights, which ZeRO-3 partitions: set zero_stage=2")
    if config.init_lora_weights == "orthogonal" and (config.lora_rank or 0) % 2:
        raise UserError("init_lora_weights = orthogonal needs an even lora_rank")
    if "all-linear" in config.lora_target_modules and len(config.lora_target_modules) > 1:
        raise UserError("lora_target_modules = all-linear has every linear layer: name it alone")
    if config.lora_alpha == 0:
        raise UserError("lora_alpha = 0 switches the adapter off: raise it, or set null for twice the rank")


def _check_effect(config: TrainConfig) -> None:
    """Refuse options that would change nothing."""
    method = METHODS[config.method]
    if config.schedule == "constant" and "final_lr_ratio" in config.model_fields_set:
        raise UserError("schedule = constant keeps the peak, so final_lr_ratio changes nothing: leave it out")
    if config.sample_kl is None and config.sample_tokens != FIELDS["sample_tokens"].default:
        raise UserError("sample_tokens is the length of sample_kl's responses: give sample_kl too")
    if config.push_to_hub is None and not config.hub_private:
        raise UserError("hub_private is about the repository of push_to_hub: give push_to_hub too")
    if config.kl_group is not None and not method.needs_kl:
        raise UserError(f"kl_group is kto's, and {config.method} estimates no KL: set kl_group=null")
    if config.reference is ReferenceContext.CONDITIONED and not method.needs_reference:
        raise UserError(f"{config.method} has no reference to condition: set reference=plain")
    if config.reference_model is not None and not (
        method.needs_reference or config.measure_deployed or config.sample_kl is not None
    ):
        raise UserError(f"{config.method} has no reference, and none is measured against: set reference_model=null")
    if config.conditioning is Conditioning.NONE and config.reference is ReferenceContext.CONDITIONED:
        raise UserError("conditioning = none gives the reference no context either: set reference=plain")
    if config.conditioning is Conditioning.NONE and config.separator != "none":
        raise UserError("conditioning = none has no context to separate: set separator=none")


def _check_loss(config: TrainConfig) -> None:
    """Let the loss itself judge its hyperparameters, on one made-up pair."""
    loss, one = config.preference_loss(), torch.ones(1)
    try:
        loss.of_terms([(1.0, PairLogps(-one, -2 * one, -one, -one, one, one))], kl=0.0 if loss.reads.needs_kl else None)
    except ValueError as error:
        raise UserError(f"{config.method}: {error}") from None


def load(paths: Sequence[str | Path], settings: Sequence[str] = ()) -> TrainConfig:
    """Read a configuration.

    Args:
        paths: YAML files of one flat mapping each, later ones over earlier ones; none for the defaults.
        settings: ``key=value`` each, which override the files; values are YAML.

    Raises:
        UserError: as :func:`compose`, or an unknown key or a bad value, with the file that it is from.
    """
    values, origin = compose(paths, settings)
    for key in values:
        if key not in FIELDS:
            raise UserError(f"{origin[key]}: {unknown_name(str(key), list(FIELDS))}")
    try:
        return TrainConfig(**values)
    except ValidationError as error:
        raise UserError(with_origin(error, first_mistake(error, optional=OPTIONAL), origin)) from None

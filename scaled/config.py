"""The one configuration of ``scaled/train.py``: YAML files and ``--set key=value``; field docs are its help.

Keys are flat. They come in groups, one class each, so that a room of ``scaled/`` takes the options that it
reads and no others; :class:`TrainConfig` is all of them.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from inspo.command_line import OneLineParser, UserError, first_mistake, one_line, unknown_name
from inspo.conditioning import Conditioning, ReferenceContext
from inspo.losses import METHODS
from inspo.pairs import PairLogps
from inspo.preference_loss import PreferenceLoss
from inspo.sequences import LengthPolicy

RANDOM = "random"
"""``model: random`` trains random weights of ``architecture``, with a tokenizer trained on the data."""


def _number(value: Any) -> Any:
    """YAML's true and false are no numbers, although Python says so."""
    if isinstance(value, bool):
        raise PydanticCustomError("float_type", "must be a number")
    return value


def _names(value: Any) -> Any:
    """A list of names, also written as one text: ``cut_prompt,drop``."""
    return tuple(value.replace(" ", "").split(",")) if isinstance(value, str) else () if value is None else value


def _name(value: str, about: ValidationInfo) -> str:
    """Text that can name a file or something on the hub."""
    if not value.isprintable():
        raise UserError(f"{about.field_name} = {value!r} holds characters that no name has")
    if max(len(part.encode()) for part in value.split("/")) > LONGEST_NAME:
        raise UserError(f"{about.field_name} = {value[:40]}...: a name of more than {LONGEST_NAME} bytes")
    return value


LONGEST_NAME = 255
"""Bytes of a file's name on common file systems."""


def _method(value: Any) -> Any:
    if not isinstance(value, str) or value not in METHODS:
        raise UserError(f"method = {value!r} must be one of {', '.join(METHODS)}")
    return value


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(_number), Field(le=2**31 - 1)]
Seed = Annotated[int, BeforeValidator(_number), Field(ge=0, le=2**32 - 1)]
Share = Annotated[Number, Field(ge=0.0, le=1.0)]
Text = Annotated[str, Field(strict=True, min_length=1), AfterValidator(_name)]


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelOptions(_Options):
    """What is trained."""

    model: Text = Field(RANDOM, description="folder or hub name of the policy's initial weights, or random")
    revision: Text | None = Field(
        None, description="branch, tag or commit of a model on the hub, for weights, configuration and own tokenizer"
    )
    tokenizer: Text | None = Field(None, description="folder or hub name of the tokenizer; null for the model's")
    tokenizer_revision: Text | None = Field(
        None, description="branch, tag or commit of a tokenizer on the hub; the model's own is read at revision"
    )
    architecture: Text | None = Field(
        None,
        description="shipped architecture (scaled/configs/architectures) for model: random, and for --dry-run without "
        "the hub",
    )
    reference_model: Text | None = Field(
        None, description="folder or hub name of the reference, with the same tokens; null for the initial weights"
    )


class AdapterOptions(_Options):
    """Which weights are trained."""

    lora_rank: Annotated[Count, Field(ge=1, le=16384)] | None = Field(
        None, description="train a LoRA adapter of this rank; null trains all weights"
    )
    lora_alpha: Annotated[Number, Field(ge=0)] | None = Field(None, description="LoRA's alpha; null for twice the rank")
    lora_dropout: Share = Field(0.0, lt=1.0, description="dropout of the adapter")
    lora_target_modules: Annotated[tuple[Text, ...], BeforeValidator(_names), Field(min_length=1)] = Field(
        ("all-linear",), description="names of the linear layers that get an adapter, such as q_proj,v_proj"
    )
    use_rslora: StrictBool = Field(
        False, description="rank-stabilized LoRA: alpha / sqrt(rank) instead of alpha / rank"
    )
    use_dora: StrictBool = Field(False, description="DoRA: the magnitude of each weight is trained too")
    init_lora_weights: Literal["default", "gaussian", "orthogonal"] = Field(
        "default", description="how the adapter begins; only such ways as add zero, so that the policy is its reference"
    )
    qlora: StrictBool = Field(False, description="quantize the frozen weights to 4 bits (needs bitsandbytes)")


COLUMNS = (
    *("prompt", "chosen", "rejected", "messages", "instruction", "input", "output", "conversations", "history"),
    *("system", "tools", "chat_template_kwargs", "preference", "score_chosen", "score_rejected"),
    *("response_a", "response_b", "p_a_preferred"),
)
"""Names of columns that are read (scaled/data/layouts.py), which `columns` gives to columns of other names."""


def _columns(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise UserError(f"columns = {value!r} must be a mapping such as {{prompt: question, chosen: good}}")
    for name, column in value.items():
        if name not in COLUMNS:
            raise UserError(f"columns: {unknown_name(str(name), COLUMNS)}; {', '.join(COLUMNS)} are read")
        if not isinstance(column, str):
            raise UserError(f"columns: {name} = {column!r} must be the name of a column")
    doubled = [column for column, count in Counter(value.values()).items() if count > 1]
    if doubled:
        raise UserError(f"columns: {doubled[0]} can be read as one thing only")
    return dict(value)


Columns = Annotated[dict[str, str], BeforeValidator(_columns)]


class DataSource(_Options):
    """Where records come from: one entry of `data` or `validation`."""

    path: Annotated[Text, Field(min_length=1)] = Field(description="file, folder, or name on the hub")
    config: Text | None = Field(default=None, description="configuration of a data set that has several")
    split: Text | None = Field(
        default=None, description="split; null for train, or for validation or test of the validation"
    )
    revision: Text | None = Field(default=None, description="branch, tag or commit on the hub")
    columns: Columns | None = Field(default=None, description="as the key columns, of this source alone")
    weight: Annotated[Number, Field(gt=0, le=1000)] = Field(
        default=1.0,
        description="how often its records are taken: 1 once, 2 twice, 0.25 a quarter of them, drawn with the seed",
    )

    def __str__(self) -> str:
        """As messages and model cards name it, such as ``org/name, split train``."""
        parts = [f"{name} {value}" for name in ("config", "split", "revision") if (value := getattr(self, name))]
        return ", ".join([self.path, *parts])


def _sources(value: Any, about: ValidationInfo) -> Any:
    """One source or several, each a path or a mapping."""
    entries = value if isinstance(value, (list, tuple)) else [value]
    if not entries:
        raise UserError(f"{about.field_name}: the list of sources is empty")
    try:
        return tuple(_source(entry) for entry in entries)
    except UserError as error:
        raise UserError(f"{about.field_name}: {error}") from None


def _source(entry: Any) -> DataSource:
    if isinstance(entry, DataSource):
        return entry
    if isinstance(entry, str):
        entry = {"path": entry}
    if not isinstance(entry, Mapping):
        raise UserError(f"{entry!r} must be a file, a folder, a name on the hub, or a mapping with a path")
    for name in entry:
        if name not in DataSource.model_fields:
            raise UserError(unknown_name(str(name), list(DataSource.model_fields)))
    if "path" not in entry:
        raise UserError(f"{dict(entry)} has no path: name a file, a folder, or a data set on the hub")
    try:
        return DataSource(**entry)
    except ValidationError as error:
        raise UserError(first_mistake(error, optional=("config", "split", "revision", "columns"))) from None


def _short(sources: tuple[DataSource, ...] | None) -> Any:
    """Sources as one would write them: without defaults, a path alone as text."""
    if sources is None:
        return None
    written = [source.model_dump(exclude_defaults=True) for source in sources]
    short = [entry["path"] if len(entry) == 1 else entry for entry in written]
    return short[0] if len(short) == 1 else short


Sources = Annotated[tuple[DataSource, ...], BeforeValidator(_sources), PlainSerializer(_short)]


class SafetyOptions(_Options):
    """Who says of a record's replies whether they are safe: a classifier, or a file of verdicts."""

    classifier: Text | None = Field(
        default=None, description="folder or hub name of a sequence classifier, which reads question and reply"
    )
    unsafe: Text | None = Field(default=None, description="the classifier's label that means unsafe")
    threshold: Share = Field(default=0.5, description="probability of that label from which on a reply is unsafe")
    verdicts: Text | None = Field(
        default=None, description="file of lines {digest: as scaled.data.safety.text_digest, safe: true or false}"
    )

    @model_validator(mode="after")
    def _one(self) -> SafetyOptions:
        if (self.classifier is None) == (self.verdicts is None):
            raise UserError("safety: give a classifier or a file of verdicts, one of the two")
        if (self.classifier is None) != (self.unsafe is None):
            raise UserError("safety: a classifier goes with unsafe, the label of it that means unsafe")
        return self


class FilterOptions(_Options):
    """Appendix D.2's four steps, one after another. The defaults are the paper's, without a classifier."""

    duplicates: StrictBool = Field(default=True, description="drop later records of the same prompt and replies")
    max_tokens: Count | None = Field(default=2048, description="drop a record where either response has more tokens")
    min_tokens: Count = Field(default=32, description="drop a record where both responses have fewer tokens")
    safety: SafetyOptions | None = Field(default=None, description="drop a record where either reply is unsafe")
    margin: Literal["probability", "gap"] = Field(
        default="probability",
        description="how the margin is read: sigma(score_chosen - score_rejected), or the gap of the scores itself",
    )
    min_margin: Number | None = Field(default=0.6, description="drop a record with a smaller margin; null for no limit")

    @model_validator(mode="after")
    def _in_range(self) -> FilterOptions:
        if self.max_tokens is not None and not 0 <= self.min_tokens <= self.max_tokens:
            raise UserError(f"min_tokens = {self.min_tokens} must be in [0, max_tokens = {self.max_tokens}]")
        if self.min_margin is not None and self.margin == "probability" and not 0 <= self.min_margin <= 1:
            raise UserError(f"min_margin = {self.min_margin} is a probability in [0, 1], or set margin: gap")
        return self


FILTERS = ("none", "unusable", "paper")
"""What `filters` names."""


def _filters(value: Any) -> Any:
    """A name, or a mapping of the steps that differ from the paper's."""
    if isinstance(value, FilterOptions) or (isinstance(value, str) and value in FILTERS):
        return value
    if not isinstance(value, Mapping):
        raise UserError(f"filters = {value!r} must be one of {', '.join(FILTERS)}, or a mapping as {{margin: gap}}")
    options = dict(value)
    if isinstance(options.get("safety"), Mapping):
        options["safety"] = _made(SafetyOptions, options["safety"], "filters: safety")
    return _made(FilterOptions, options, "filters")


def _made(kind: type[_Options], values: Mapping[Any, Any], name: str) -> _Options:
    """Options out of a mapping within a key."""
    for key in values:
        if key not in kind.model_fields:
            raise UserError(f"{name}: {unknown_name(str(key), list(kind.model_fields))}")
    try:
        return kind(**values)
    except ValidationError as error:
        raise UserError(f"{name}: {first_mistake(error)}") from None


Filtering = Annotated[Literal["none", "unusable", "paper"] | FilterOptions, BeforeValidator(_filters)]


class DataOptions(_Options):
    """On what."""

    data: Sources = Field(
        (DataSource(path="scaled/examples/tiny.jsonl"),),
        description="preference records: a file (.jsonl, .json, .csv, also .gz; .parquet, .arrow), a folder, a name on "
        "the hub, {path: NAME, config:, split:, revision:, columns:, weight:}, or a list of these; see docs/data.md",
    )
    validation: Sources | None = Field(
        None, description="validation records, given like data; null takes validation_size records out of the data"
    )
    validation_size: Count = Field(
        1000,
        ge=0,
        description="validation records taken out of the data: whole prompts, drawn with the seed until there are so "
        "many; 0 for none",
    )
    limit: Annotated[Count, Field(ge=2)] | None = Field(
        None, description="use the first so many records of the data only, of those that filters keeps"
    )
    columns: Columns = Field(
        {}, description="columns that have other names: {prompt: question, chosen: good, rejected: bad}"
    )
    filters: Filtering = Field(
        "none",
        description="records to leave out: none, where one that cannot be trained on is an error; unusable, those with "
        "an empty response, two equal ones, or a conversation that the chat template cannot write; paper, also "
        "duplicates, lengths and margins as in Appendix D.2; or a mapping of what differs from these: {duplicates:, "
        "max_tokens:, min_tokens:, margin: probability or gap, min_margin:, safety: {classifier:, unsafe:, threshold:} "
        "or {verdicts: FILE}}",
    )
    soft_labels: StrictBool = Field(
        False,
        description="keep the probability of a judged pair, or of a preference column, as a soft label; "
        "false: hard labels",
    )
    template: Text = Field("tokenizer", description="named chat template, or tokenizer for the tokenizer's own")
    chat_template_kwargs: dict[str, Any] = Field(
        {}, description="what the chat template is told beside the messages, such as {enable_thinking: false}"
    )
    date: dt.date | None = Field(
        None, description="day that a chat template is told which asks for one; null for that of the first start"
    )

    def named(self, key: Literal["data", "validation"]) -> str:
        """The sources of a key, for messages."""
        return ", ".join(map(str, getattr(self, key)))


class SequenceOptions(_Options):
    """How a pair's tokens are laid out."""

    separator: Text = Field("none", description='between context and target: none, turn, or "token:T"')
    max_length: Annotated[Count, Field(ge=2)] | None = Field(
        4096, description="maximum tokens of prompt + context + response"
    )
    over_length: Annotated[tuple[LengthPolicy, ...], BeforeValidator(_names)] = Field(
        ("cut_prompt", "drop"),
        description="what happens to longer pairs, in this order: cut_prompt (the first half of the last question, "
        "no header and no other turn), cut_responses, drop",
    )
    draft_cap: Share | None = Field(0.4, description="a context has at most this share of max_length tokens")
    over_cap: Literal["cut", "drop"] = Field("cut", description="what happens to a longer context, or its pair")


class LossOptions(_Options):
    """The objective."""

    method: Annotated[Text, BeforeValidator(_method)] = Field("dpo", description=f"the loss ({', '.join(METHODS)})")
    conditioning: Conditioning = Field(
        Conditioning.SYMMETRIC,
        description="which log-probs the loss compares: of each response given the prompt alone (none), both given the "
        "rejected one (one_sided), each given the other (symmetric), half none and half symmetric (averaged), half "
        "both given the rejected and half both given the chosen one (anchored)",
    )
    reference: ReferenceContext = Field(
        ReferenceContext.PLAIN, description="whether the reference sees the policy's context"
    )
    beta: Number | None = Field(None, description="inverse temperature of dpo, r-dpo, simpo, cpo, kto")
    tau: Number | None = Field(None, description="regularization of ipo")
    alpha: Number | None = Field(None, description="length regularization of r-dpo, nats per token")
    lam: Number | None = Field(
        None, description="weight of the odds term (orpo) or of the likelihood term (rrhf, slic, cpo)"
    )
    gamma: Number | None = Field(None, description="target margin of simpo")
    gamma_beta_ratio: Number | None = Field(None, description="gamma / beta of simpo, instead of gamma")
    delta: Number | None = Field(None, description="target margin of slic, nats")
    lam_w: Number | None = Field(None, description="weight of chosen responses in kto")
    lam_l: Number | None = Field(None, description="weight of rejected responses in kto")
    length_mean: StrictBool | None = Field(None, description="ipo on means over tokens, as TRL has it, instead of sums")
    label_smoothing: Number | None = Field(None, description="probability that a label was flipped, in [0, 1/2]")
    sft_weight: Number | None = Field(
        None, description="weight of an added likelihood term (dpo, ipo, r-dpo, simpo, kto)"
    )
    sft_length_mean: StrictBool | None = Field(None, description="likelihood term per token instead of summed")
    kl_group: Annotated[Count, Field(ge=1)] | None = Field(
        None, description="pairs of an update that share one KL estimate (kto); null for the whole update"
    )
    measure_deployed: StrictBool = Field(
        True,
        description="also score the policy without context, as it is deployed, and its reference: accuracy and margin "
        "of log pi(. | x) / pi_ref(. | x)",
    )

    def preference_loss(self) -> PreferenceLoss:
        """The loss, with the hyperparameters given and the method's defaults for the others.

        Raises:
            ValueError: a hyperparameter that the method does not take.
        """
        given = {name: getattr(self, name) for name in HYPERPARAMETERS if getattr(self, name) is not None}
        return PreferenceLoss(self.method, self.conditioning, given, self.reference)


HYPERPARAMETERS = [
    name for name in LossOptions.model_fields if any(name in method.hyperparameters for method in METHODS.values())
]
"""Keys that are keyword arguments of some loss."""


def _shuffle(value: Any) -> Any:
    if isinstance(value, bool) or value == "prompts":
        return value
    raise UserError(f"shuffle = {value!r} must be true, false or prompts")


class UpdateOptions(_Options):
    """Updates."""

    batch_size: Count = Field(128, ge=1, description="pairs per update, exactly, over all ranks and accumulation")
    micro_batch: Count = Field(8, ge=1, description="pairs per row where row_tokens is null")
    row_tokens: Annotated[Count, Field(ge=2)] | None = Field(
        None, description="pack pairs into rows of at most so many tokens; null: micro_batch"
    )
    epochs: Annotated[Number, Field(ge=0)] = Field(
        3.0, description="passes over the data; see scaled/data/plan.py for the remainder"
    )
    max_updates: Annotated[Count, Field(ge=1)] | None = Field(
        None, description="stop after so many updates, with the schedule of these"
    )
    shuffle: Annotated[bool | Literal["prompts"], BeforeValidator(_shuffle)] = Field(
        True,
        description="draw each epoch's order with the seed; prompts: the order of prompts, whose pairs follow each "
        "other and share a tree, so that updates are faster and of fewer prompts; false keeps the order of the file",
    )
    seed: Seed = Field(0, description="of the order, the validation records, random weights and dropout")


class OptimizerOptions(_Options):
    """Optimization, Appendix D.1."""

    optim: Literal["adamw_torch", "adamw_8bit", "paged_adamw_32bit", "paged_adamw_8bit"] = Field(
        "adamw_torch", description="AdamW, or bitsandbytes' with moments of 8 bits, paged out to the CPU, or both"
    )
    learning_rate: Annotated[Number, Field(gt=0)] = Field(
        5e-7, description="peak learning rate of AdamW; where none is given an adapter has ten times this"
    )
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="how the learning rate goes on after the warmup"
    )
    warmup_ratio: Share = Field(0.1, description="share of the updates with rising learning rate")
    warmup_start: Annotated[Number, Field(ge=0)] = Field(
        1e-8, description="learning rate of the first update of the warmup"
    )
    final_lr_ratio: Share = Field(0.1, description="a cosine or linear schedule ends at this share of the peak")
    adam_beta1: Share = Field(0.9, lt=1.0, description="AdamW's beta_1")
    adam_beta2: Share = Field(0.999, lt=1.0, description="AdamW's beta_2")
    adam_epsilon: Annotated[Number, Field(ge=0)] = Field(1e-8, description="AdamW's epsilon")
    weight_decay: Annotated[Number, Field(ge=0)] = Field(
        0.01, description="AdamW's weight decay, on all but biases and norms"
    )
    max_grad_norm: Annotated[Number, Field(ge=0)] = Field(1.0, description="largest gradient norm; 0 for no clipping")


class ComputeOptions(_Options):
    """How it is computed."""

    precision: Literal["auto", "bf16", "float32"] = Field(
        "auto",
        description="bf16 (with float32 optimizer state) or float32; auto: bf16 on a GPU that has it, else float32",
    )
    gradient_checkpointing: StrictBool = Field(True, description="compute activations again in the backward pass")
    zero_stage: Count = Field(3, ge=0, le=3, description="DeepSpeed ZeRO stage; 0 trains without DeepSpeed (DDP)")
    offload: Literal["none", "cpu"] = Field("none", description="where ZeRO keeps the optimizer state")
    device: Literal["auto", "cuda", "cpu"] = Field(
        "auto",
        description="auto: a CUDA GPU, else the CPU, also on a Mac, whose MPS was never tested; cuda makes a missing "
        "GPU an error",
    )
    attention: Literal["auto", "pathwise", "dense", "flex", "varlen"] = Field(
        "auto", description="how to attend over trees"
    )
    threads: Annotated[Count, Field(ge=1, le=4096)] | None = Field(
        None,
        description="CPU threads per rank; null for OMP_NUM_THREADS, or where it is not set a share of the cores",
    )

    @model_validator(mode="before")
    @classmethod
    def _precision_of_the_machine(cls, values: Any) -> Any:
        """Put what ``auto`` stands for in its place, so that nothing else ever sees it."""
        if isinstance(values, Mapping) and values.get("precision", "auto") == "auto":
            bf16 = values.get("device") != "cpu" and torch.cuda.is_available() and torch.cuda.is_bf16_supported(False)
            return {**values, "precision": "bf16" if bf16 else "float32"}
        return values


class PolicyOptions(ComputeOptions, AdapterOptions):
    """What decides how weights are loaded, and how large they are."""


class EngineOptions(ComputeOptions, OptimizerOptions):
    """What decides how an update is made."""


class OutputOptions(_Options):
    """What is measured and kept."""

    out: Text = Field("results/run", description="folder of the run; an interrupted run goes on when started again")
    validate_every: Annotated[Count, Field(ge=1)] | None = Field(
        None, description="updates between validations; null for once per epoch"
    )
    save_every: Annotated[Count, Field(ge=1)] | None = Field(
        None, description="updates between checkpoints; null for at every validation"
    )
    keep_checkpoints: Count = Field(2, ge=1, description="complete checkpoints that are kept, beside the best")
    trackers: Annotated[tuple[Text, ...], BeforeValidator(_names)] = Field(
        (),
        description="where metrics are logged beside metrics.jsonl, by accelerate: tensorboard, wandb, mlflow, "
        "trackio, ..., each a package to install; the project is inspo",
    )
    sample_kl: Annotated[Count, Field(ge=2)] | None = Field(
        None, description="validation prompts to sample responses to at every validation, for KL(pi || pi_ref)"
    )
    sample_tokens: Count = Field(256, ge=1, description="maximum tokens of a sampled response; the KL is over so many")
    callbacks: Annotated[tuple[Text, ...], BeforeValidator(_names)] = Field(
        (), description="functions of your own that the run calls, module:function; see scaled/training/callbacks.py"
    )
    push_to_hub: Text | None = Field(
        None, description="repository on the hub, owner/name, that the result is pushed to; made before the training"
    )
    hub_private: StrictBool = Field(True, description="whether a repository that push_to_hub makes is private")


GROUPS = (
    *(ModelOptions, AdapterOptions, DataOptions, SequenceOptions, LossOptions),
    *(UpdateOptions, OptimizerOptions, ComputeOptions, OutputOptions),
)

LARGEST_FILE = 2**20
"""Bytes of a configuration."""

HELP_WIDTH = 100
"""Columns of ``--help``."""

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


def compose(
    paths: Sequence[str | Path], settings: Sequence[str] = (), *, nested: str | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """One mapping of several files and settings, later ones over earlier ones key by key.

    Args:
        paths: YAML files of one mapping each.
        settings: ``key=value`` each, over all files.
        nested: a key whose value is a mapping itself; what is below it are keys of their own, ``nested.key``.

    Returns:
        Values by key, and by key the file that each is from, or ``--set``.

    Raises:
        UserError: a file that cannot be read or is no mapping, a setting that is none, or a file that would be
            ignored, since later files give each of its keys again.
    """
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    given: dict[str, set[str]] = {}
    for path in map(str, paths):
        found = _flat(read_mapping(Path(path)), nested)
        if path in given:
            raise UserError(f"--config {path} is given twice: leave one out")
        given[path] = set(found)
        values |= found
        origin |= dict.fromkeys(found, path)
    for path, keys in given.items():
        if keys and path not in origin.values():
            others = ", ".join(dict.fromkeys(origin[key] for key in sorted(keys)))
            raise UserError(f"--config {path} has no effect: {others} gives all of its keys again; leave one out")
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting}: write it as key=value")
        found = _flat({key.strip(): read_yaml(text, f"--set {setting}")}, nested)
        values |= found
        origin |= dict.fromkeys(found, "--set")
    return values, origin


def _flat(values: Mapping[str, Any], nested: str | None) -> dict[str, Any]:
    """With the keys below `nested` as ``nested.key``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if key == nested and isinstance(value, Mapping):
            flat |= {f"{nested}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return flat


def with_origin(error: ValidationError, mistake: str, origin: Mapping[str, str]) -> str:
    """A mistake behind the files whose keys it is about: its field's, or those that it speaks of."""
    place = error.errors()[0]["loc"]
    fields = [str(place[0])] if place else [key for key in origin if re.search(rf"\b{re.escape(str(key))}\b", mistake)]
    files = dict.fromkeys(origin[key] for key in fields if origin.get(key, "--set") != "--set")
    return f"{', '.join(files)}: {mistake}" if files else mistake


def read_mapping(path: Path) -> dict[str, Any]:
    """A file of one YAML mapping.

    Raises:
        UserError: it cannot be read, or is none.
    """
    like = "name a YAML file such as scaled/configs/tiny.yaml"
    try:
        if not path.exists():
            raise UserError(f"--config {path}: No such file or directory; {like}")
        if not path.is_file() or path.stat().st_size > LARGEST_FILE:  # a pipe or device may never end
            raise UserError(f"--config {path}: no regular file of at most {LARGEST_FILE} bytes; {like}")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"--config {path}: {error.strerror}; {like}") from None
    values = read_yaml(text, str(path))
    if not isinstance(values, Mapping):
        raise UserError(f"{path}: must be a mapping of keys to values, such as 'method: dpo'")
    return dict(values)


def read_yaml(text: str, name: str) -> Any:
    """What a text in YAML says.

    Args:
        text: without aliases, and with each key once.
        name: whose it is, for messages.

    Raises:
        UserError: it says nothing that can be read.
    """
    import yaml

    class Strict(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
        """Refuses keys given twice, of which the last would win, and aliases, which can unfold without end."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                mark = self.peek_event().start_mark
                raise yaml.composer.ComposerError(None, None, "aliases are not read: write the value again", mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002  # yaml's signature
            seen: set[str] = set()
            for key, _ in node.value:
                if str(key.value) in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
                seen.add(str(key.value))
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Strict)  # noqa: S506  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or one_line(error)
        raise UserError(f"{name}: not valid YAML{place} ({what})") from None
    except RecursionError:
        raise UserError(f"{name}: nested too deeply; keys are flat") from None
    except (ValueError, OverflowError) as error:  # a date that is none, a number of thousands of digits
        raise UserError(f"{name}: not valid YAML ({one_line(error)})") from None


@dataclass(frozen=True)
class CommandLine:
    """What the command line says: the configuration, and whether only to describe it."""

    config: TrainConfig
    dry_run: bool


def parse(arguments: Sequence[str] | None = None) -> CommandLine:
    """Read the command line.

    Raises:
        UserError: an unknown option, or as :func:`load`.
    """
    parser = OneLineParser(
        prog="deepspeed scaled/train.py",
        description=str(TrainConfig.__doc__).splitlines()[0],
        epilog="keys of the configuration:\n" + "\n".join(_help_lines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_configuration(parser, "scaled/configs/tiny.yaml")
    parser.add_argument("--dry-run", action="store_true", help="describe the run, without training")
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)  # the deepspeed launcher adds it
    options = parser.parse_args(arguments)
    return CommandLine(load(options.config, options.set), options.dry_run)


def add_configuration(parser: argparse.ArgumentParser, example: str, *, required: bool = False) -> None:
    """Declare ``--config`` and ``--set``, which both may be repeated."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        action="append",
        default=[],
        required=required,
        help=f"YAML file, such as {example}; may be repeated, later files override earlier ones key by key",
    )
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="override a key of all files; may be repeated"
    )


def _help_lines() -> list[str]:
    lines = []
    for group in GROUPS:
        lines += ["", f"{group.__doc__}".rstrip(".").lower()]
        for name, field in group.model_fields.items():
            choices = _choices(field.annotation)
            among = f" ({', '.join(choices)})" if choices else ""
            text = f"{name}: {field.description}{among} [{_as_yaml(field.default)}]"
            lines += textwrap.wrap(text, HELP_WIDTH, initial_indent="  ", subsequent_indent="      ")
    return [line.replace("%", "%%") for line in lines]


def _as_yaml(default: Any) -> str:
    value = default.value if isinstance(default, Enum) else default
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _choices(annotation: Any) -> list[str]:
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(member.value) for member in annotation]
    return [part for part in get_args(annotation) if isinstance(part, str)]

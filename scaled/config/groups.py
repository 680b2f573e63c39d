"""The other groups of keys: the model, the objective, updates, how they are computed, what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field, StrictBool, model_validator

from inspo.command_line import UserError
from inspo.conditioning import Conditioning, ReferenceContext
from inspo.losses import METHODS
from inspo.preference_loss import PreferenceLoss
from inspo.sequences import LengthPolicy
from scaled.config.kinds import Count, Number, Options, Seed, Share, Text, as_names

RANDOM = "random"
"""``model: random`` trains random weights of ``architecture``, with a tokenizer trained on the data."""


class ModelOptions(Options):
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


class AdapterOptions(Options):
    """Which weights are trained."""

    lora_rank: Annotated[Count, Field(ge=1, le=16384)] | None = Field(
        None, description="train a LoRA adapter of this rank; null trains all weights"
    )
    lora_alpha: Annotated[Number, Field(ge=0)] | None = Field(None, description="LoRA's alpha; null for twice the rank")
    lora_dropout: Share = Field(0.0, lt=1.0, description="dropout of the adapter")
    lora_target_modules: Annotated[tuple[Text, ...], BeforeValidator(as_names), Field(min_length=1)] = Field(
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


class SequenceOptions(Options):
    """How a pair's tokens are laid out."""

    separator: Text = Field("none", description='between context and target: none, turn, or "token:T"')
    max_length: Annotated[Count, Field(ge=2)] | None = Field(
        4096, description="maximum tokens of prompt + context + response"
    )
    over_length: Annotated[tuple[LengthPolicy, ...], BeforeValidator(as_names)] = Field(
        ("cut_prompt", "drop"),
        description="what happens to longer pairs, in this order: cut_prompt (the first half of the last question, "
        "no header and no other turn), cut_responses, drop",
    )
    draft_cap: Share | None = Field(0.4, description="a context has at most this share of max_length tokens")
    over_cap: Literal["cut", "drop"] = Field("cut", description="what happens to a longer context, or its pair")


def _method(value: Any) -> Any:
    if not isinstance(value, str) or value not in METHODS:
        raise UserError(f"method = {value!r} must be one of {', '.join(METHODS)}")
    return value


class LossOptions(Options):
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


class UpdateOptions(Options):
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


class OptimizerOptions(Options):
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


class ComputeOptions(Options):
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


class OutputOptions(Options):
    """What is measured and kept."""

    out: Text = Field("results/run", description="folder of the run; an interrupted run goes on when started again")
    validate_every: Annotated[Count, Field(ge=1)] | None = Field(
        None, description="updates between validations; null for once per epoch"
    )
    save_every: Annotated[Count, Field(ge=1)] | None = Field(
        None, description="updates between checkpoints; null for at every validation"
    )
    keep_checkpoints: Count = Field(2, ge=1, description="complete checkpoints that are kept, beside the best")
    trackers: Annotated[tuple[Text, ...], BeforeValidator(as_names)] = Field(
        (),
        description="where metrics are logged beside metrics.jsonl, by accelerate: tensorboard, wandb, mlflow, "
        "trackio, ..., each a package to install; the project is inspo",
    )
    sample_kl: Annotated[Count, Field(ge=2)] | None = Field(
        None, description="validation prompts to sample responses to at every validation, for KL(pi || pi_ref)"
    )
    sample_tokens: Count = Field(256, ge=1, description="maximum tokens of a sampled response; the KL is over so many")
    callbacks: Annotated[tuple[Text, ...], BeforeValidator(as_names)] = Field(
        (), description="functions of your own that the run calls, module:function; see scaled/training/callbacks.py"
    )
    push_to_hub: Text | None = Field(
        None, description="repository on the hub, owner/name, that the result is pushed to; made before the training"
    )
    hub_private: StrictBool = Field(True, description="whether a repository that push_to_hub makes is private")

"""What runs an update on the hardware: Accelerate's wrapping (DDP, DeepSpeed ZeRO), AdamW, and DeepSpeed's options."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DeepSpeedPlugin, ProjectConfiguration
from torch import nn
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from transformers.trainer_pt_utils import get_parameter_names

from scaled.config import EngineOptions, OptimizerOptions
from scaled.device import uses_gpu
from scaled.workarounds import forget_accelerator

WITHOUT_DECAY = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]
"""Parameters that are not decayed, by a part of their name: those that transformers' Trainer leaves out."""


def make_accelerator(
    options: EngineOptions, accumulation: int, out: Path, trackers: tuple[str, ...] = (), *, other_ranks: bool = False
) -> Accelerator:
    """Accelerate, for rows of its own making: it wraps, scales by the accumulation, clips and tracks.

    Args:
        options: precision, ZeRO stage, device, and for DeepSpeed the largest gradient norm.
        accumulation: micro-steps per update.
        out: the run's folder.
        trackers: by accelerate's names.
        other_ranks: whether a checkpoint of another number of ranks will be loaded.
    """
    forget_accelerator()
    gpu, plugin = uses_gpu(options), None
    if options.zero_stage:
        config = deepspeed_config(options, accumulation) | {"checkpoint": {"load_universal": other_ranks}}
        plugin = DeepSpeedPlugin(hf_ds_config=config, zero3_init_flag=False)
        if not gpu:
            os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    accelerator = Accelerator(
        cpu=not gpu and plugin is None,  # or accelerate would take DDP instead of DeepSpeed
        mixed_precision="bf16" if options.precision == "bf16" else "no",
        gradient_accumulation_steps=accumulation,
        deepspeed_plugin=plugin,
        log_with=list(trackers) or None,
        project_config=ProjectConfiguration(project_dir=str(out), logging_dir=str(out / "tensorboard")),
    )
    if plugin is not None:
        # Or transformers would partition every model that is loaded from here on, the reference too.
        unset_hf_deepspeed_config()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    return accelerator


def make_optimizer(model: nn.Module, options: OptimizerOptions) -> torch.optim.Optimizer:
    """AdamW over the weights that are trained, decaying all but biases and norms."""
    decayed = set(get_parameter_names(model, [nn.LayerNorm], WITHOUT_DECAY))  # type: ignore[no-untyped-call]  # untyped there
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    return _adamw(options, model)(
        [
            {"params": [w for name, w in trained if name in decayed], "weight_decay": options.weight_decay},
            {"params": [w for name, w in trained if name not in decayed], "weight_decay": 0.0},
        ],
        lr=options.learning_rate,
        betas=(options.adam_beta1, options.adam_beta2),
        eps=options.adam_epsilon,
    )


def _adamw(options: OptimizerOptions, model: nn.Module) -> Callable[..., torch.optim.Optimizer]:
    """The class that ``optim`` names, by transformers' names. Moments of embeddings stay in 32 bits, as there."""
    if options.optim == "adamw_torch":
        return torch.optim.AdamW
    bnb: Any = import_module("bitsandbytes.optim")
    manager = bnb.GlobalOptimManager.get_instance()
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            manager.register_module_override(module, "weight", {"optim_bits": 32})
    classes: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adamw_8bit": bnb.AdamW8bit,
        "paged_adamw_32bit": bnb.PagedAdamW32bit,
        "paged_adamw_8bit": bnb.PagedAdamW8bit,
    }
    return classes[options.optim]


def deepspeed_config(options: EngineOptions, accumulation: int) -> dict[str, Any]:
    """DeepSpeed's configuration."""
    zero: dict[str, Any] = {"stage": options.zero_stage, "overlap_comm": False, "contiguous_gradients": True}
    if options.zero_stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    if options.offload == "cpu":
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    return {
        "zero_optimization": zero,
        "bf16": {"enabled": options.precision == "bf16"},
        # Summed in bf16, the gradients of many micro-steps would lose the small ones.
        "data_types": {"grad_accum_dtype": "fp32"},
        "gradient_clipping": options.max_grad_norm,
        "gradient_accumulation_steps": accumulation,
        "train_micro_batch_size_per_gpu": 1,  # one row
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 2**31,
    }

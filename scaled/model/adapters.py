"""Low-rank adapters: which matrices get one, and how it begins. Every one begins by adding zero to the policy."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedConfig

from inspo.command_line import UserError
from scaled.config import AdapterOptions

ALL_LINEAR = ("all-linear",)
"""``lora_target_modules`` for every linear layer but the output layer."""


def lora(adapter: AdapterOptions) -> Any:
    """PEFT's configuration of the adapter."""
    from peft import LoraConfig

    width = cast("int", adapter.lora_rank)
    targets = adapter.lora_target_modules
    return LoraConfig(
        r=width,
        lora_alpha=cast("Any", 2 * width if adapter.lora_alpha is None else adapter.lora_alpha),
        lora_dropout=adapter.lora_dropout,
        target_modules="all-linear" if targets == ALL_LINEAR else list(targets),
        use_rslora=adapter.use_rslora,
        use_dora=adapter.use_dora,
        init_lora_weights=cast("Any", True if adapter.init_lora_weights == "default" else adapter.init_lora_weights),
        task_type="CAUSAL_LM",
    )


def check_targets(architecture: PreTrainedConfig, adapter: AdapterOptions) -> None:
    """Raise where a name of ``lora_target_modules`` is that of no linear layer of the model, before it is loaded.

    Raises:
        UserError: naming the target, and the names there are.
    """
    if adapter.lora_rank is None or adapter.lora_target_modules == ALL_LINEAR:
        return
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(architecture)  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    output = model.get_output_embeddings()
    layers = {name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not output}
    for target in adapter.lora_target_modules:
        if not any(f".{name}".endswith(f".{target}") for name in layers):
            known = ", ".join(sorted({name.rpartition(".")[2] for name in layers}))
            raise UserError(
                f"lora_target_modules: {target!r} is no linear layer of {architecture.model_type} below the output "
                f"layer; there are {known}, and all-linear for all of them"
            )

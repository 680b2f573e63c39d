"""Everything that training goes on from: weights, the optimizer's moments, random numbers. Files of one checkpoint.

model*.safetensors   the weights as transformers saves them (adapter_model.safetensors for LoRA)
optimizer.pt         AdamW's state; under DeepSpeed instead the folder zero/, partitioned as it is in memory
random-R.pt          random number generators of rank R
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from transformers.utils import logging

from scaled.distributed import barrier, rank
from scaled.workarounds import readable_by_all

ZERO = "zero"


def save(folder: Path, accelerator: Accelerator, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write a checkpoint's files; all ranks must call."""
    if rank() == 0:
        folder.mkdir(parents=True)
    barrier()
    save_weights(folder, accelerator, model)
    save_optimizer(folder, accelerator, model, optimizer)
    save_random_state(folder)


def save_weights(folder: Path, accelerator: Accelerator, model: nn.Module) -> None:
    """Gather the weights and write them, or the adapter's, as transformers does."""
    weights = accelerator.get_state_dict(model)
    if rank() == 0:
        bare: Any = accelerator.unwrap_model(model)
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # training has one on the screen
        try:
            bare.save_pretrained(folder, state_dict=weights)
            readable_by_all(folder)
        finally:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped


def save_optimizer(folder: Path, accelerator: Accelerator, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write the optimizer's state."""
    if (engine := _deepspeed_engine(accelerator, model)) is not None:
        engine.save_checkpoint(str(folder), tag=ZERO, exclude_frozen_parameters=_is_adapted(accelerator, model))
    elif rank() == 0:
        torch.save(optimizer.state_dict(), folder / "optimizer.pt")


def save_random_state(folder: Path) -> None:
    """Write this rank's random number generators."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    torch.save(states, folder / f"random-{rank()}.pt")


def load(folder: Path, accelerator: Accelerator, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Restore optimizer and random numbers; under DeepSpeed the weights too, which else were loaded from the folder."""
    if (engine := _deepspeed_engine(accelerator, model)) is not None:
        engine.load_checkpoint(
            str(folder),
            tag=ZERO,
            load_module_strict=not _is_adapted(accelerator, model),
            load_lr_scheduler_states=False,
        )
    else:
        optimizer.load_state_dict(torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True))
    states = torch.load(folder / f"random-{rank()}.pt", weights_only=True)
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _deepspeed_engine(accelerator: Accelerator, model: nn.Module) -> Any:
    return model if accelerator.state.deepspeed_plugin is not None else None


def _is_adapted(accelerator: Accelerator, model: nn.Module) -> bool:
    return hasattr(accelerator.unwrap_model(model), "peft_config")

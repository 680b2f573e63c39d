"""Everything that training goes on from: weights, the optimizer's moments, random numbers. Files of one checkpoint.

model*.safetensors   the weights as transformers saves them (adapter_model.safetensors for LoRA)
optimizer.pt         AdamW's state; under DeepSpeed instead the folder zero/, partitioned as it is in memory
random-R.pt          random number generators of rank R

On another number of ranks than a checkpoint was made on, DeepSpeed's partitions are put together first.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
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


@contextmanager
def put_together(folder: Path, into: Path, accelerator: Accelerator) -> Iterator[Path | None]:
    """DeepSpeed's partitions as one (its "universal checkpoint"), for as long as another number of ranks loads them.

    Args:
        folder: the checkpoint, which is left as it is.
        into: a folder that is made, with room for weights and moments in float32, and removed.
        accelerator: the run's; without DeepSpeed nothing is partitioned.
    """
    if accelerator.state.deepspeed_plugin is None:
        yield None
        return
    if rank() == 0:
        shutil.rmtree(into, ignore_errors=True)
        _universal(folder / ZERO, into / ZERO)
    barrier()
    yield into
    barrier()
    if rank() == 0:
        shutil.rmtree(into)


def _universal(partitions: Path, into: Path) -> None:
    from deepspeed.checkpoint.ds_to_universal import main

    options = {"num_extract_workers": 1, "num_merge_workers": 1, "keep_temp_folder": False, "strict": True}
    folders = {"input_folder": str(partitions), "output_folder": str(into)}
    with redirect_stdout(StringIO()):
        main(SimpleNamespace(**folders, **options, inject_missing_state=True))


def load(
    folder: Path,
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    whole: Path | None = None,
) -> None:
    """Restore optimizer and random numbers; under DeepSpeed the weights too, which else were loaded from the folder.

    Args:
        folder: the checkpoint.
        accelerator: that wrapped model and optimizer.
        model: as it was wrapped.
        optimizer: likewise.
        whole: where its partitions are one, see :func:`put_together`; the engine must expect that.
    """
    decay = [group["weight_decay"] for group in optimizer.param_groups]
    if (engine := _deepspeed_engine(accelerator, model)) is not None:
        engine.load_checkpoint(
            str(whole or folder),
            tag=ZERO,
            load_module_strict=not _is_adapted(accelerator, model),
            load_lr_scheduler_states=False,
        )
    else:
        optimizer.load_state_dict(torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True))
    if whole is not None:
        # With ZeRO-3, DeepSpeed 0.19 then gives all groups the first one's options, and all weights one step counter.
        for group, value in zip(optimizer.param_groups, decay, strict=True):
            group["weight_decay"] = value
        for moments in optimizer.state.values():
            if torch.is_tensor(moments.get("step")):
                moments["step"] = moments["step"].clone()
    made_by = len(list(folder.glob("random-*.pt")))
    states = torch.load(folder / f"random-{rank() % made_by}.pt", weights_only=True)
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _deepspeed_engine(accelerator: Accelerator, model: nn.Module) -> Any:
    return model if accelerator.state.deepspeed_plugin is not None else None


def _is_adapted(accelerator: Accelerator, model: nn.Module) -> bool:
    return hasattr(accelerator.unwrap_model(model), "peft_config")

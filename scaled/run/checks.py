"""Whether the machine has what a run needs: its device, packages, disk."""

from __future__ import annotations

import logging
import shutil
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import PreTrainedConfig

from inspo.command_line import UserError
from scaled.config import OutputOptions, TrainConfig
from scaled.device import slow_precision, unused_mps, uses_gpu
from scaled.model.sizes import count_weights, disk_bytes
from scaled.run.prepare import Prepared
from scaled.training import checkpoints
from scaled.training.schedule import due

logger = logging.getLogger(__name__)


def check_machine(config: TrainConfig) -> None:
    """Raise where the machine lacks what the configuration asks for, warn where it will be slow at it.

    Raises:
        UserError: naming what is missing.
    """
    gpu = uses_gpu(config)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UserError("device = cuda, but there is no GPU here: set device=cpu, or start on a machine with one")
    if config.attention in ("flex", "varlen") and not gpu:
        raise UserError(f"attention = {config.attention} needs a GPU, and this run is on the CPU: set attention=auto")
    if config.optim.startswith("paged") and not gpu:
        raise UserError(f"optim = {config.optim} pages a GPU's memory and there is no GPU here: set optim=adamw_torch")
    _check_packages(config)
    if config.trackers:
        _check_trackers(config.trackers)
    if slow := slow_precision(config):
        logger.warning(slow)
    if unused := unused_mps(config):
        logger.warning(unused)


def _check_packages(config: TrainConfig) -> None:
    """What only some configurations need."""
    if config.qlora and not _installed("bitsandbytes"):
        raise UserError("qlora needs bitsandbytes: pip install bitsandbytes")
    if config.optim != "adamw_torch" and not _installed("bitsandbytes"):
        raise UserError(
            f"optim = {config.optim} needs bitsandbytes: pip install bitsandbytes, or set optim=adamw_torch"
        )
    if config.zero_stage and not _installed("deepspeed"):
        raise UserError("zero_stage needs deepspeed: pip install deepspeed, or set zero_stage=0")
    if config.lora_rank and not _installed("peft"):
        raise UserError("lora_rank needs peft: pip install peft")


def _check_trackers(wanted: tuple[str, ...]) -> None:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    installed = [str(tracker) for tracker in get_available_trackers()]
    for tracker in wanted:
        if tracker not in LOGGER_TYPE_TO_CLASS:
            raise UserError(f"trackers = {tracker} must be among {', '.join(LOGGER_TYPE_TO_CLASS)}, or [] for none")
        if tracker not in installed:
            raise UserError(f"trackers: {tracker} is not installed: pip install {tracker}, or set trackers=[]")


def check_disk(config: TrainConfig, architecture: PreTrainedConfig, saves: int) -> None:
    """Raise where the disk cannot hold the checkpoints that there will be at once, and the result.

    Args:
        config: the run's configuration.
        architecture: of the model.
        saves: checkpoints of the whole run.

    Raises:
        UserError: naming how much is missing.
    """
    disk = disk_bytes(count_weights(architecture, config), config)
    out = Path(config.out)
    more = max(1, min(kept_checkpoints(config), saves) - len(checkpoints.existing(out)))
    needed = more * disk.checkpoint + disk.result
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UserError(
            f"the disk of {config.out} has {free / 2**30:.1f} GiB left, {more} more checkpoints and the result need "
            f"{needed / 2**30:.1f}: free some, lower keep_checkpoints, or set another out"
        )


def kept_checkpoints(output: OutputOptions) -> int:
    """How many checkpoints can be on the disk at once: those kept, the best, and the one that is written."""
    return output.keep_checkpoints + 2


def _installed(package: str) -> bool:
    return find_spec(package) is not None


def saves(config: TrainConfig, ready: Prepared) -> int:
    """Checkpoints of the whole run."""
    validates = bool(ready.validation.pairs)
    updates = range(1, len(ready.plan.updates) + 1)
    return sum(due(config, ready.plan, update, validates=validates)[1] for update in updates)

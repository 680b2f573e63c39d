"""The machine: whether it has what a run needs, and the launcher's processes on it."""

from __future__ import annotations

import logging
import os
import shutil
import socket
from datetime import timedelta
from pathlib import Path

import torch
from transformers import PreTrainedConfig

from scaled import checkpoints
from scaled.config import ConfigError, TrainConfig
from scaled.estimate import count_weights, disk_bytes, kept_checkpoints
from scaled.lifecycle import rank, ranks
from scaled.throughput import uses_gpu


def check_machine(config: TrainConfig) -> None:
    """Raise where the machine lacks what the configuration asks for."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device = cuda, but there is no GPU here: set device=cpu, or start on a machine with one")
    if config.qlora and not uses_gpu(config):
        raise ConfigError("qlora quantizes on a GPU and there is none here: set qlora=false")
    if config.attention in ("flex", "varlen") and not uses_gpu(config):
        raise ConfigError(f"attention = {config.attention} needs a GPU, and this run is on the CPU: set attention=auto")
    if config.qlora and not _installed("bitsandbytes"):
        raise ConfigError("qlora needs bitsandbytes: pip install bitsandbytes")
    if config.zero_stage and not _installed("deepspeed"):
        raise ConfigError("zero_stage needs deepspeed: pip install -e '.[train]', or set zero_stage=0")
    if config.lora_rank and not _installed("peft"):
        raise ConfigError("lora_rank needs peft: pip install -e '.[train]'")
    if config.tensorboard and not _installed("tensorboard"):
        raise ConfigError("tensorboard is not installed: pip install -e '.[train]', or set tensorboard=false")


def check_disk(config: TrainConfig, architecture: PreTrainedConfig, saves: int) -> None:
    """Raise where the disk cannot hold the checkpoints that there will be at once, and the result.

    Args:
        config: the run's configuration.
        architecture: the model's numbers.
        saves: checkpoints of the whole run.
    """
    disk = disk_bytes(config, count_weights(config, architecture))
    out = Path(config.out)
    more = max(1, kept_checkpoints(config, saves) - len(checkpoints.existing(out)))
    needed = more * disk.checkpoint + disk.result
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise ConfigError(
            f"the disk of {config.out} has {free / 2**30:.1f} GiB left, {more} more checkpoints and the result need "
            f"{needed / 2**30:.1f}: free some, lower keep_checkpoints, or set another out"
        )


def join_ranks(config: TrainConfig) -> None:
    """Connect the launcher's processes; without a launcher, be a world of one."""
    if "RANK" not in os.environ and config.zero_stage:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    use_cuda = uses_gpu(config)
    if use_cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    else:
        cores = os.cpu_count() or 1
        local = int(os.environ.get("LOCAL_SIZE", "1"))
        torch.set_num_threads(config.threads or max(1, cores // local))
        os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))  # or accelerate sets its own
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    if not torch.distributed.is_initialized() and (ranks() > 1 or config.zero_stage):
        torch.distributed.init_process_group("nccl" if use_cuda else "gloo", timeout=timedelta(hours=2))
    if rank() != 0:  # what ranks warn of, all find alike
        logging.getLogger("scaled").setLevel(logging.ERROR)
    if config.zero_stage:
        import deepspeed

        if not use_cuda:
            # DeepSpeed's own shared-memory collectives need a C++ compiler and a minute to build, and
            # wait forever for a rank that died; gloo's fail at once.
            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        deepspeed.init_distributed("nccl" if use_cuda else "gloo", auto_mpi_discovery=False, verbose=False)


def _installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None

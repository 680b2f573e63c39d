"""The processes of a run: this one's rank, how many there are, and how they meet and exchange.

Launched by ``deepspeed``, ``torchrun`` or ``accelerate launch``, or by plain ``python``, which is a world of one.
"""

from __future__ import annotations

import logging
import os
import socket
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch

T = TypeVar("T")

STORE_PATIENCE = timedelta(seconds=10)
"""How long a rank that fails asks the others whether its message has been reported."""

COLLECTIVE_PATIENCE = timedelta(hours=2)
"""How long a rank waits for the others: for one that validates or saves while they wait."""


def rank() -> int:
    """This process's number."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """This process's number on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    """Number of processes of the run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_distributed() -> bool:
    """Whether there is more than one rank, and they can talk."""
    return torch.distributed.is_available() and torch.distributed.is_initialized() and world_size() > 1


def join(*, gpu: bool, always: bool, threads: int | None) -> None:
    """Connect the launcher's processes; without a launcher, be a world of one.

    Args:
        gpu: whether ranks compute on GPUs.
        always: connect even a world of one, as DeepSpeed wants it.
        threads: CPU threads of this rank, see :func:`threads_of_rank`.
    """
    if "RANK" not in os.environ and always:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    if gpu:
        torch.cuda.set_device(local_rank())
    else:
        torch.set_num_threads(threads_of_rank(threads))
        os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())  # or accelerate sets its own
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    if not torch.distributed.is_initialized() and (world_size() > 1 or always):
        torch.distributed.init_process_group("nccl" if gpu else "gloo", timeout=COLLECTIVE_PATIENCE)
    if rank() != 0:  # what ranks warn of, all find alike
        logging.getLogger("scaled").setLevel(logging.ERROR)


def leave() -> None:
    """Part from the other processes at the end, all at a time.

    A rank that just ends may be ended by its own threads (torch 2.13, gloo: "terminate called without an active
    exception", seen once, after everything was written).
    """
    if torch.distributed.is_initialized():
        barrier()
        torch.distributed.destroy_process_group()


def threads_of_rank(wanted: int | None) -> int:
    """CPU threads of this rank.

    Args:
        wanted: the configuration's; None for ``OMP_NUM_THREADS``, or where it is not set an equal share of the cores
            that this process may use.
    """
    if wanted is None and (given := os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()).isdigit():
        wanted = int(given)
    # deepspeed calls it LOCAL_SIZE, torchrun and accelerate LOCAL_WORLD_SIZE.
    local = int(os.environ.get("LOCAL_SIZE", os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return wanted or max(1, usable_cores() // local)


def usable_cores() -> int:
    """Cores that this process may use: fewer than the machine has under ``taskset`` or in a container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")  # microseconds of CPU per period; "max" for no limit
    with suppress(OSError, ValueError):
        allowed, period = quota.read_text().split()
        return max(1, min(cores, round(int(allowed) / int(period))))
    return cores


def barrier() -> None:
    """Wait for all ranks."""
    if is_distributed():
        torch.distributed.barrier()


def from_first(value: T) -> T:
    """Rank 0's value, on every rank."""
    if not is_distributed():
        return value
    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


def gathered(value: T) -> list[T]:
    """Every rank's value, on every rank."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def any_rank(condition: bool) -> bool:  # noqa: FBT001  # a condition, not an option
    """Whether it holds on some rank; the same answer on all ranks, which all must ask."""
    found = torch.tensor([condition], dtype=torch.int32)
    if is_distributed():
        backend = torch.distributed.get_backend()
        found = found.cuda() if "nccl" in backend and "gloo" not in backend else found
        torch.distributed.all_reduce(found, op=torch.distributed.ReduceOp.MAX)
    return bool(found.item())


def tell_once(message: str, *, aftermath: bool) -> tuple[bool, bool]:
    """Note a message in the store of the process group, which needs no other rank's cooperation.

    Args:
        message: what is to be reported.
        aftermath: whether it is of another rank's failure.

    Returns:
        Whether some rank has a failure of its own noted, and whether this message is new.
    """
    try:
        store = torch.distributed.distributed_c10d._get_default_store()  # noqa: SLF001  # the only way to it
        store.set_timeout(STORE_PATIENCE)
        own = 0 if aftermath else 1
        said = store.add("errors reported", own) > own
        return said, store.add(f"error reported: {message}", 1) == 1
    except RuntimeError:
        # Rank 0 is gone and the store with it. It printed what it knew, unless it was killed.
        return False, aftermath

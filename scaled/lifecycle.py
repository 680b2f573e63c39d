"""How a run ends before its end: signals, a lost launcher, a lost rank, numbers that are not finite."""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Self, TypeVar

import torch

from inspo.pairs import PreferencePair

T = TypeVar("T")

_LOST_RANK = (
    "closed by peer",
    "reset by peer",
    "broken pipe",
    "connection refused",
    "remote process exited",
    "timed out",
)


STORE_PATIENCE = timedelta(seconds=10)
"""How long a rank that fails asks the others whether its message has been told."""


class NonFiniteError(RuntimeError):
    """A loss or gradient that is NaN or infinite. The message is one line and names the saved records."""


class SaveError(RuntimeError):
    """A checkpoint that could not be written. The message is one line and names the last complete one."""


class StopWatch:
    """Notices that the run should end: SIGTERM, SIGINT, or a launcher that is gone.

    A signal to the ``deepspeed`` command kills only that command, so ranks look for their parent and
    its parent. Nothing happens in the handler but taking note; the run ends after the update at hand.

    Attributes:
        reason: why the run should end, or None.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._launchers = _launchers()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Take note of SIGTERM and SIGINT from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave signals as they were."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # signal's signature
        self.reason = signal.Signals(number).name

    def should_stop(self) -> bool:
        """Whether some rank was told to stop; the same answer on all ranks, which all must ask."""
        if self.reason is None and _launchers()[: len(self._launchers)] != self._launchers:
            self.reason = "the launcher is gone"
        stop = torch.tensor([self.reason is not None], dtype=torch.int32)
        if distributed():
            backend = torch.distributed.get_backend()
            stop = stop.cuda() if "nccl" in backend and "gloo" not in backend else stop
            torch.distributed.all_reduce(stop, op=torch.distributed.ReduceOp.MAX)
        if stop.item() and self.reason is None:
            self.reason = "another rank was told to stop"
        return bool(stop.item())


def distributed() -> bool:
    """Whether there is more than one rank, and they can talk."""
    return torch.distributed.is_available() and torch.distributed.is_initialized() and ranks() > 1


def ranks() -> int:
    """Processes of the run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process's number."""
    return int(os.environ.get("RANK", "0"))


def barrier() -> None:
    """Wait for all ranks."""
    if distributed():
        torch.distributed.barrier()


def from_first(value: T) -> T:
    """Rank 0's value, on every rank."""
    if not distributed():
        return value
    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


def gathered(value: T) -> list[T]:
    """Every rank's value, on every rank."""
    if not distributed():
        return [value]
    values: list[Any] = [None] * ranks()
    torch.distributed.all_gather_object(values, value)
    return values


def is_lost_rank(error: BaseException) -> bool:
    """Whether an error says that another rank is gone."""
    return ranks() > 1 and isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _LOST_RANK)


def tell(message: str, *, aftermath: bool = False) -> None:
    """Say on stderr what ended the run: from whichever rank knows it, but once.

    Ranks that fail alike say the same; the first one prints. They agree through the store of the
    process group, which needs no other rank's cooperation and lives on rank 0.

    Args:
        message: one line.
        aftermath: this rank only saw another one go: be silent where that one has told why.
    """
    told, first = _told(message, aftermath=aftermath)
    if first and not (aftermath and told):
        who = f"rank {rank()}: " if distributed() else ""
        print(f"\nerror: {who}{message}", file=sys.stderr, flush=True)  # noqa: T201  # below the progress bar


def _told(message: str, *, aftermath: bool) -> tuple[bool, bool]:
    """Whether any rank has told anything, and whether this message is new."""
    if not distributed():  # before ranks have met, all of a machine see the same
        return False, os.environ.get("LOCAL_RANK", "0") == "0"
    try:
        store = torch.distributed.distributed_c10d._get_default_store()  # noqa: SLF001  # the only way to it
        store.set_timeout(STORE_PATIENCE)
        told = store.add("errors told", 0 if aftermath else 1) > (0 if aftermath else 1)
        return told, store.add(f"error told: {message}", 1) == 1
    except RuntimeError:
        # Rank 0 is gone and the store with it. It printed what it knew, unless it was killed.
        return False, aftermath


def _launchers() -> list[int]:
    """The launcher's processes above this one, nearest first; none where it was started without one."""
    import psutil

    found = []
    try:
        for process in psutil.Process().parents()[:2]:
            if "deepspeed" not in " ".join(process.cmdline()):
                break
            found.append(process.pid)
    except psutil.Error:
        pass
    return found


def save_offenders(
    folder: Path, update: int, what: str, pairs: list[PreferencePair], numbers: dict[str, list[float]]
) -> Path:
    """Write the pairs whose numbers are not finite, with their tokens and numbers.

    Args:
        folder: the run's.
        update: during which update, from 1.
        what: what is not finite.
        pairs: the offending pairs.
        numbers: name to one number per pair.

    Returns:
        The file.
    """
    path = folder / f"nonfinite-update-{update}-rank-{rank()}.json"
    records = [
        {
            "record": pair.record,
            "prompt": pair.prompt,
            "chosen": pair.chosen,
            "rejected": pair.rejected,
            **{name: repr(values[index]) for name, values in numbers.items()},
        }
        for index, pair in enumerate(pairs)
    ]
    path.write_text(json.dumps({"update": update, "what": what, "records": records}, indent=1) + "\n")
    return path

"""How a run learns that it should end before its end: signals, or a launcher that is gone."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, Self

from scaled.distributed import any_rank

LAUNCHERS = ("deepspeed", "torchrun", "torch.distributed.run", "accelerate")
"""What the command line of a launcher's process holds."""


class StopWatch:
    """Notices that the run should end: SIGTERM, SIGHUP, SIGINT, or a launcher that is gone.

    A signal to the ``deepspeed`` command kills only that command, so ranks look for their parent and
    its parent. Nothing happens in the handler but taking note; the run ends after the update at hand.

    Attributes:
        reason: why the run should end, or None.
        training: whether updates are made; before, an interrupt ends the run at once.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.training = False
        self._launchers = _launchers()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Take note of signals from now on; of SIGHUP unless ``nohup`` has it ignored."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave signals as they were."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # signal's signature
        if number == signal.SIGINT and not self.training:
            raise KeyboardInterrupt
        self.reason = signal.Signals(number).name

    def should_stop(self) -> bool:
        """Whether some rank was told to stop; the same answer on all ranks, which all must ask."""
        if self.reason is None and _launchers()[: len(self._launchers)] != self._launchers:
            self.reason = "the launcher is gone"
        stop = any_rank(self.reason is not None)
        if stop and self.reason is None:
            self.reason = "another rank was told to stop"
        return stop


def _launchers() -> list[int]:
    """The launcher's processes above this one, nearest first; none where it was started without one."""
    import psutil

    found = []
    try:
        for process in psutil.Process().parents()[:2]:
            if not any(name in " ".join(process.cmdline()) for name in LAUNCHERS):
                break
            found.append(process.pid)
    except psutil.Error:
        pass
    return found

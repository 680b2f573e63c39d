"""What ends a run before its end, and how it is reported: one line, from whichever rank knows it, once."""

from __future__ import annotations

import sys

from scaled.distributed import is_distributed, local_rank, rank, tell_once

LONGEST_MESSAGE = 1000
"""Characters of a message that are shown."""


class NonFiniteError(RuntimeError):
    """A loss or gradient that is NaN or infinite. The message is one line and names the saved records."""


class SaveError(RuntimeError):
    """A checkpoint that could not be written. The message is one line and names the last complete one."""


def report_error(message: str, *, aftermath: bool = False) -> None:
    """Print what ended the run on stderr: from whichever rank knows it, but once.

    Args:
        message: one line; ranks that fail alike say the same, and the first one prints.
        aftermath: this rank only saw another one go: be silent where that one has said why.
    """
    message = " ".join(message.split())
    if len(message) > LONGEST_MESSAGE:  # of a value that was given; what to do comes last
        message = f"{message[: LONGEST_MESSAGE // 2]} ... {message[-LONGEST_MESSAGE // 2 :]}"
    # Before ranks have met, all of a machine see the same.
    said, first = tell_once(message, aftermath=aftermath) if is_distributed() else (False, local_rank() == 0)
    if first and not (aftermath and said):
        who = f"rank {rank()}: " if is_distributed() else ""
        print(f"\nerror: {who}{message}", file=sys.stderr, flush=True)  # noqa: T201  # below the progress bar

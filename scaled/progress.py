"""Progress on stderr: a bar on a terminal, and a line now and then in a file or a pipe."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from tqdm import tqdm

from scaled.distributed import rank

SECONDS_PER_LINE = 20.0
"""Between two lines where there is no terminal to draw a bar on."""


class _Lines:
    """A stream of whole lines for a bar that draws itself over and over."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        if line := text.strip():
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        self._stream.flush()


def progress(total: int | None, what: str, unit: str, done: int = 0) -> Any:
    """A tqdm bar, drawn by rank 0 alone.

    Args:
        total: how many there are, None where that is not known.
        what: is done to them, in a word.
        unit: one of them.
        done: how many are done already.
    """
    kept: dict[str, Any] = {"total": total, "initial": done, "desc": what, "unit": unit, "disable": rank() != 0}
    if sys.stderr.isatty():
        return tqdm(**kept)
    return tqdm(**kept, file=_Lines(sys.stderr), mininterval=SECONDS_PER_LINE, miniters=1, ncols=100, ascii=True)

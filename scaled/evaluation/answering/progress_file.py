"""What has been generated so far, one line of JSON each, appended as it comes: a kill loses nothing of it.

A line is a completion, ``{key, prompt, tokens, ended}`` with a digest of its prompt, or a choice, ``{key, scores}``.
A last line that was cut off while it was written is dropped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from inspo.command_line import UserError, one_line
from scaled.files import json_lines
from scaled.generation.interface import Completion, Request
from scaled.generation.ways import Asked, Chooser


class ProgressFile:
    """The completions and choices of one run over one benchmark, for one process at a time.

    Raises:
        UserError: another process has it, it cannot be written, or a line of it is not as it was written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._completions: dict[tuple[str, str], Completion] = {}
        self._scores: dict[str, list[float]] = {}
        self._lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self._file = self._opened()
        except Timeout:
            raise UserError(f"{path}: another process is generating into it; wait for its end") from None
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({one_line(error)}); name another folder with --out") from None

    def _opened(self) -> int:
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        whole = 0
        for number, (_, whole, line) in enumerate(json_lines(self.path), 1):  # noqa: B007  # the last one's end is used
            try:
                self._take(line)
            except (LookupError, TypeError):
                raise UserError(f"{self.path}: line {number} is not as it was written; remove that line") from None
        os.truncate(self.path, whole)
        return file

    def _take(self, line: dict[str, Any]) -> None:
        if "scores" in line:
            self._scores[line["key"]] = line["scores"]
        else:
            completion = Completion(tuple(line["tokens"]), line["ended"])
            self._completions[line["key"], line["prompt"]] = completion

    def __len__(self) -> int:
        return len(self._completions)

    def known(self, request: Request) -> Completion | None:
        """The completion of a request, where it is there."""
        return self._completions.get((request.key, _digest(request.prompt)))

    def note(self, request: Request, completion: Completion) -> None:
        """Append a completion; it is with the operating system when this returns."""
        line = {"key": request.key, "prompt": _digest(request.prompt)}
        self._append(line | {"tokens": completion.tokens, "ended": completion.ended})

    def remembered(self, chooser: Chooser) -> Chooser:
        """The same chooser, which gives the scores that are there already."""

        def scores(asked: Asked, found: Sequence[Completion]) -> Sequence[float]:
            if asked.key not in self._scores:
                self._append({"key": asked.key, "scores": list(chooser(asked, found))})
            return self._scores[asked.key]

        return scores

    def _append(self, line: dict[str, Any]) -> None:
        try:
            os.write(self._file, f"{json.dumps(line)}\n".encode())
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({one_line(error)}); free space and start again") from None
        self._take(json.loads(json.dumps(line)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)
        self._lock.release()

    def remove(self) -> None:
        """All is written elsewhere."""
        self.path.unlink()


def _digest(prompt: Sequence[int]) -> str:
    return hashlib.sha256(json.dumps(list(prompt)).encode()).hexdigest()[:16]

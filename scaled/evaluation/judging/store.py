"""What a judge was asked and answered, one line of JSON each, appended as answers come.

A line holds key, question, model, part, judge, endpoint, date, prompt_hash, request and answer. What is in the file
is not asked again of the same endpoint: another one may serve another model by the same name. A last line that was
cut off while it was written is dropped when the file is opened; once all is answered, `settle` puts lines in an order
that does not depend on which answer came first.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import NoneType, TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from inspo.command_line import UserError, one_line
from scaled.evaluation.benchmarks.base import JudgeRequest, Judgment
from scaled.files import json_lines

FollowUp = Callable[[JudgeRequest, Judgment], JudgeRequest | None]
"""What is asked after an answer, such as Arena-Hard's second attempt; None for nothing more."""
Place = tuple[str, int, str, str, str, str]
"""Of a line in a settled file: by model, question (numbers as numbers), part, key and endpoint."""
Known = tuple[str, str]
"""What an answer is kept under: a request's key, and the endpoint that was asked."""


class Store:
    """The answers of one judge about one benchmark, for one process at a time.

    Attributes:
        path: the file.
        prompt_tokens: of all answers so far.
        completion_tokens: of all answers so far.

    Raises:
        UserError: another process has it, a line is not as it was written, or the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.prompt_tokens = self.completion_tokens = 0
        self._places: dict[Known, tuple[Place, int]] = {}  # place and offset in the file
        self._lock = FileLock(path.with_name(f"{path.name}.lock"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self._open()
        except Timeout:
            raise UserError(f"{path}: another process is judging into it; wait for its end") from None
        except OSError as error:
            self._lock.release()
            raise self._broken(error) from None
        except UserError:
            self._lock.release()
            raise

    def _open(self) -> None:
        """Index the file, and cut off what is behind its last line break."""
        end = 0
        if self.path.exists():
            for begin, end, line in _lines(self.path):  # noqa: B007  # the last one's end is used
                self._note(line, begin)
            os.truncate(self.path, end)
        self._end = end
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)

    def __contains__(self, known: Known) -> bool:
        return known in self._places

    def __len__(self) -> int:
        return len(self._places)

    def judgment(self, known: Known) -> Judgment:
        """What was answered, where it is in the store."""
        with self.path.open("rb") as file:
            file.seek(self._places[known][1])
            return judgment(json.loads(file.readline()))

    def add(self, request: JudgeRequest, judge: str, found: Judgment) -> None:
        """Append an answer; it is with the operating system when this returns.

        Raises:
            ValueError: the request is answered already by that endpoint.
            UserError: the file cannot be written.
        """
        key = request.key(judge)
        if (key, found.endpoint) in self:
            raise ValueError(f"{request.question}, {request.part}: is in the store already")
        line = {
            "key": key,
            "question": request.question,
            "model": request.model,
            "part": request.part,
            "judge": judge,
            "endpoint": found.endpoint,
            "date": found.date,
            "prompt_hash": request.prompt_hash(),
            "request": {"messages": [dict(each) for each in request.messages], "options": dict(request.options)},
            "answer": {
                "text": found.text,
                "logprobs": None if found.logprobs is None else dict(found.logprobs),
                "finish": found.finish,
                "prompt_tokens": found.prompt_tokens,
                "completion_tokens": found.completion_tokens,
            },
        }
        data = (json.dumps(line) + "\n").encode()
        try:
            written = os.write(self._file, data)
            if written < len(data):
                raise OSError("the disk is full")  # noqa: TRY301  # reported as an error of writing
        except OSError as error:
            os.ftruncate(self._file, self._end)
            raise self._broken(error) from None
        self._note(line, self._end)
        self._end += len(data)

    def settle(self) -> None:
        """Put the lines in order, each as it is.

        Raises:
            UserError: the file cannot be written.
        """
        offsets = [offset for _, offset in sorted(self._places.values())]
        if offsets == sorted(offsets):
            return
        draft = self.path.with_name(f"{self.path.name}.part")
        try:
            with self.path.open("rb") as old, draft.open("wb") as new:
                for offset in offsets:
                    old.seek(offset)
                    new.write(old.readline())
                new.flush()
                os.fsync(new.fileno())
            draft.replace(self.path)
            os.close(self._file)
            self._places.clear()
            self.prompt_tokens = self.completion_tokens = 0
            self._open()
        except OSError as error:
            raise self._broken(error) from None

    def close(self) -> None:
        """Close the file and let others have it."""
        os.close(self._file)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _note(self, line: Mapping[str, Any], offset: int) -> None:
        known, question = (line["key"], line["endpoint"]), line["question"]
        if known in self._places:
            raise UserError(
                f"{self.path}: question {question}, {line['part']} is in it twice; take one of the lines out"
            )
        self._places[known] = (line["model"], len(question), question, line["part"], *known), offset
        self.prompt_tokens += line["answer"]["prompt_tokens"]
        self.completion_tokens += line["answer"]["completion_tokens"]

    def _broken(self, error: OSError) -> UserError:
        return UserError(f"{self.path}: cannot be written ({error.strerror or one_line(error)}); what was is kept")


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a store, without one that was cut off at the end.

    Raises:
        UserError: the file cannot be read, or a line is not as it was written.
    """
    try:
        yield from (line for _, _, line in _lines(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def judgment(line: Mapping[str, Any]) -> Judgment:
    """What a line says that a judge said."""
    return Judgment(**line["answer"], date=line["date"], endpoint=line["endpoint"])


_TEXTS = ("key", "question", "model", "part", "judge", "endpoint", "date", "prompt_hash")
_ANSWER = {"text", "logprobs", "finish", "prompt_tokens", "completion_tokens"}


def _lines(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Where each line that was written to its end begins and ends, and its content."""
    for number, (begin, end, line) in enumerate(json_lines(path), 1):
        if not _is_sound(line):
            raise UserError(f"{path}: line {number} is not as it was written; put the file back, or take it out")
        yield begin, end, line


def _is_sound(line: Any) -> bool:
    if not isinstance(line, dict) or not all(isinstance(line.get(name), str) for name in _TEXTS):
        return False
    answer = line.get("answer")
    if not isinstance(answer, dict) or set(answer) != _ANSWER or not isinstance(answer["text"], str):
        return False
    counts = all(type(answer[name]) is int for name in ("prompt_tokens", "completion_tokens"))
    return counts and isinstance(answer["logprobs"], (dict, NoneType))

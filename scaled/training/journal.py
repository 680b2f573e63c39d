"""``metrics.jsonl``: one line per update and one per validation; trackers get the same numbers.

Lines of a resumed run follow those of its checkpoint without a gap or a repetition: what was written
after the checkpoint is cut off.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from inspo.command_line import UserError
from scaled.files import json_lines, write_atomically

TIMES = ("seconds", "tokens_per_second", "pairs_per_second", "peak_share", "memory_gib")
"""What differs between two runs of the same numbers."""


KINDS = ("update", "validation")
"""What a line can be about."""

NEEDED = ("seconds", "tokens_per_second")
"""What ``run.json`` sums up of the updates."""


class Journal:
    """Where a run's numbers are written; on one rank only.

    Args:
        out: the run's folder.
        update: the update that the run goes on after, 0 for a new run.
        track: also gets every number, by ``kind/name``, and the update.

    Raises:
        UserError: lines that are not as they were written, or not all updates that the run has behind it.
    """

    def __init__(
        self, out: Path, update: int = 0, track: Callable[[Mapping[str, float], int], object] | None = None
    ) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.path = out / "metrics.jsonl"
        kept = [line for line in read(self.path) if line["update"] <= update] if update and self.path.exists() else []
        if [line["update"] for line in kept if line["kind"] == "update"] != list(range(1, update + 1)):
            raise UserError(
                f"{self.path} lacks lines of the {update} updates so far: put the file back, or set another out"
            )
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = self.path.open("a")
        self._track = track

    def write(self, kind: str, update: int, numbers: Mapping[str, Any]) -> None:
        """Add one line.

        Args:
            kind: "update" for the batch of an update, "validation" for the validation pairs after it.
            update: from 1.
            numbers: name to value; None where it is not known.
        """
        self._file.write(json.dumps({"update": update, "kind": kind, **numbers}) + "\n")
        self._file.flush()
        if self._track is not None:
            known = {name: value for name, value in numbers.items() if isinstance(value, (int, float))}
            self._track({f"{kind}/{name}": value for name, value in known.items()}, update)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal; a last one that was cut off while it was written is left out.

    Raises:
        UserError: a line that :meth:`Journal.write` did not write so.
    """
    lines = []
    for number, (_, _, line) in enumerate(json_lines(path), 1):
        if not _is_sound(line):
            raise UserError(f"{path}: line {number} is not as it was written: put the file back, or set another out")
        lines.append(line)
    return lines


def _is_sound(line: Any) -> bool:
    """Whether a line is of an update or a validation, with numbers."""
    if not isinstance(line, dict) or line.get("kind") not in KINDS or type(line.get("update")) is not int:
        return False
    numbers = [value for name, value in line.items() if name != "kind"]
    timed = line["kind"] != "update" or all(isinstance(line.get(name), (int, float)) for name in NEEDED)
    return timed and all(value is None or isinstance(value, (int, float)) for value in numbers)

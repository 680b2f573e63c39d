"""``metrics.jsonl``: one line per update and one per validation; trackers get the same numbers.

Lines of a resumed run follow those of its checkpoint without a gap or a repetition: what was written
after the checkpoint is cut off.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scaled.training.checkpoints import write_atomically

TIMES = ("seconds", "tokens_per_second", "pairs_per_second", "peak_share", "memory_gib")
"""What differs between two runs of the same numbers."""


class Journal:
    """Where a run's numbers are written; on one rank only.

    Args:
        out: the run's folder.
        update: the update that the run goes on after, 0 for a new run.
        track: also gets every number, by ``kind/name``, and the update.
    """

    def __init__(
        self, out: Path, update: int = 0, track: Callable[[Mapping[str, float], int], object] | None = None
    ) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.path = out / "metrics.jsonl"
        kept = [line for line in read(self.path) if line["update"] <= update] if self.path.exists() else []
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
    """The lines of a journal; one that was cut off while it was written is left out."""
    lines = []
    for text in path.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines

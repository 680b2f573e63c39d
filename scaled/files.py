"""Files that are written whole or not at all, and lines of JSON of which a last one may have been cut off."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's content; a reader, or a crash, sees the old or the new, never a part.

    Raises:
        OSError: it cannot be written.
    """
    staged = path.with_name(f".{path.name}.new")
    with staged.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)


def json_lines(path: Path) -> Iterator[tuple[int, int, Any]]:
    """What each line that was written to its end holds: where it begins and ends, in bytes, and its content.

    The content is None where it is no JSON. Behind the last line break is what was cut off.

    Raises:
        OSError: the file cannot be read.
    """
    end = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            begin, end = end, end + len(line)
            yield begin, end, _parsed(line)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None

"""Where a number comes from, and the collection of everything that the page shows."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Source:
    """What a number rests on.

    Attributes:
        file: relative to the checkout.
        command: that makes the file.
        seeds: that decide it; "none" where nothing is random.
        date: on which it was made or, where the file does not say, committed.
        parts: files that it was computed from, where there are several.
    """

    file: str
    command: str
    seeds: str
    date: str
    parts: tuple[str, ...] = ()


@dataclass
class Collection:
    """What the page is made of.

    Attributes:
        sources: by name.
        numbers: of the prose, by key: each with its text, its value and the name of its source.
        notes: what is missing or foreign, by the place on the page where it would stand.
        parts: everything else, by section.
    """

    sources: dict[str, Source] = field(default_factory=dict)
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)

    def source(self, name: str, source: Source) -> str:
        """Keep a source; gives its name back."""
        self.sources[name] = source
        return name

    def number(self, key: str, value: float | str, text: str, source: str) -> None:
        """Keep a number of the prose.

        Raises:
            KeyError: its source is not known.
        """
        if source not in self.sources:
            raise KeyError(f"{key} rests on {source}, which is no source")
        self.numbers[key] = {"text": text, "value": value, "source": source}

    def note(self, place: str, text: str) -> None:
        """Say at a place of the page what is missing there."""
        self.notes.setdefault(place, []).append(text)

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        found = asdict(self)
        return {**found.pop("parts"), **found}


def dated(path: Path) -> str:
    """The day on which a file was last committed; of one that never was, on which it was written."""
    command = ["git", "log", "-1", "--format=%cs", "--", str(path)]
    try:
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        said = ""
    return said or datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()


def relative(path: Path) -> str:
    """A file's name as the page has it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def shown(values: Sequence[Any]) -> str:
    """A few values in words: ``0, 1 and 2``."""
    texts = [str(value) for value in values]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}" if texts else "none"


def dates(abouts: Sequence[Mapping[str, Any]]) -> str:
    """The days of several results: one, or the first and the last."""
    days = sorted({str(about["date"]) for about in abouts})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"

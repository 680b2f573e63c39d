"""What every script hands back, and a table's Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple


class Item(NamedTuple):
    """One figure or table.

    Attributes:
        write: writes its files into a folder and returns their paths.
        ours: how much of it is ours, such as "0 of 150 cells".
        contradictions: what does not fit together in the paper's own numbers, one sentence each.
    """

    write: Callable[[Path], list[Path]]
    ours: str
    contradictions: Sequence[str] = ()


def grid(head: Sequence[str], align: str, rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells as GitHub's Markdown; `align` has "l", "c" or "r" for each column."""
    rules = [{"l": ":--", "c": ":-:", "r": "--:"}[side] for side in align]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rules, *rows))


def table(number: int, title: str, parts: Sequence[str], *, ours: str, against: Sequence[str] = ()) -> Item:
    """A table's Markdown: its title, its parts (grids and notes), and what contradicts what in the paper."""
    texts = [f"**Table {number}.** {title}", *parts]
    if against:
        texts.append("Where the paper's numbers contradict its text or each other, computed from its cells:")
        texts.append("\n".join(f"{index}. {sentence}" for index, sentence in enumerate(against, start=1)))

    def write(folder: Path) -> list[Path]:
        path = folder / f"table_{number}.md"
        path.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
        return [path]

    return Item(write, ours, against)

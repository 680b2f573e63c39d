"""What every script of a figure or table hands back."""

from __future__ import annotations

from dataclasses import dataclass

from paper_figures import as_picture, as_text
from paper_figures.drawing import files
from paper_figures.table import Table


@dataclass(frozen=True)
class Item:
    """One figure or table, made.

    Attributes:
        name: its name on the command line.
        title: what it is.
        files: file name to content.
        ours: how much of it is ours, such as "0 of 140 cells".
        contradictions: what does not fit together in the paper's own numbers.
    """

    name: str
    title: str
    files: dict[str, bytes]
    ours: str
    contradictions: tuple[str, ...] = ()


def table_item(table: Table, ours: str, contradictions: list[str]) -> Item:
    """A table in all formats."""
    made = {
        f"{table.name}.md": as_text.markdown(table).encode(),
        f"{table.name}.tex": as_text.latex(table).encode(),
        **files(as_picture.draw(table), table.name),
    }
    return Item(table.name, f"{table.label}. {table.title}", made, ours, tuple(contradictions))

"""One table, independent of how it is set: Markdown, LaTeX or a picture.

Texts are plain, with `$mathematics$` and `` `code` `` inside. No other markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what it says.
        small: what stands behind it in smaller type: an arrow, a standard error.
        strong: set in bold.
        quiet: set in grey italics: what is not there, or not from the paper.
        span: how many columns it covers.
    """

    text: str = ""
    small: str = ""
    strong: bool = False
    quiet: bool = False
    span: int = 1


@dataclass(frozen=True)
class Row:
    """One row; `rule` draws a line above it, `shaded` a grey ground behind it."""

    cells: tuple[Cell, ...]
    shaded: bool = False
    rule: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        label: such as "Table 2", as the paper numbers it.
        title: one line above it.
        align: "l", "c" or "r" for each column.
        head: rows of column names; a cell that spans columns is their group.
        body: the rows.
        notes: paragraphs below it.

    Raises:
        ValueError: a row whose cells do not cover the columns.
    """

    label: str
    title: str
    align: str
    head: tuple[Row, ...]
    body: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """File name without ending: ``table_2``."""
        return self.label.lower().replace(" ", "_")

    def __post_init__(self) -> None:
        for row in (*self.head, *self.body):
            if (covered := sum(cell.span for cell in row.cells)) != len(self.align):
                raise ValueError(f"{self.name}: a row covers {covered} of {len(self.align)} columns: {row.cells}")


def segments(text: str) -> Iterator[tuple[str, str]]:
    """Split a text into ("plain" | "math" | "code", content without its marks).

    >>> list(segments("a `b` $c$"))
    [('plain', 'a '), ('code', 'b'), ('plain', ' '), ('math', 'c')]
    """
    for part in re.split(r"(\$[^$]+\$|`[^`]+`)", text):
        if part.startswith("$"):
            yield "math", part[1:-1]
        elif part.startswith("`"):
            yield "code", part[1:-1]
        elif part:
            yield "plain", part

"""A table as a picture, set like a printed one: horizontal rules only, columns as wide as what is in them.

All lengths are in points.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paper_figures.drawing import plt
from paper_figures.table import Cell, Row, Table, segments

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE, SMALL, NOTE = 10.0, 7.5, 8.5
GAP = 15.0  # between columns
PAD = 5.2  # above and below what a row holds
LINE = 11.5  # height of a note's line
NARROWEST = 420.0  # so that notes have room below a small table
MARGIN = 7.0
BETWEEN = 0.45  # space between notes, in lines
SLACK = 1.03  # hinted letters are a little wider than their outlines


@dataclass(frozen=True)
class _Columns:
    """Left edges, widths, and how much of each width the numbers take, without what is small behind them."""

    lefts: list[float]
    widths: list[float]
    main: list[float]

    @property
    def total(self) -> float:
        return self.lefts[-1] + self.widths[-1]


def draw(table: Table) -> Figure:
    """Set a table."""
    columns = _columns(table)
    width = max(columns.total, NARROWEST)
    notes = [_wrapped(note, width, NOTE) for note in table.notes]
    heights = [max(_height(cell) for cell in row.cells) + PAD for row in (*table.head, *table.body)]
    below = LINE * sum(len(lines) + BETWEEN for lines in notes)
    total = 24 + sum(heights) + 10 + below
    figure: Figure = plt().figure(figsize=((width + 2 * MARGIN) / 72, (total + 2 * MARGIN) / 72))
    page = _Page(figure)
    page.text(0, total - 8, f"{table.label}. {plain(table.title)}", SIZE + 0.5, bold=True)
    top = total - 20
    page.rule(top, 0, columns.total, 1.1)
    for index, (row, height) in enumerate(zip((*table.head, *table.body), heights, strict=True)):
        in_head, first = index < len(table.head), index == len(table.head)
        if row.shaded:
            page.shade(top - height, height, columns.total)
        if first or row.rule:
            page.rule(top, 0, columns.total, 0.7 if first else 0.35)
        _set_row(page, row, columns, table.align, top - height / 2)
        top -= height
        if in_head:
            _set_group_rules(page, row, columns, top)
    page.rule(top, 0, columns.total, 1.1)
    top -= 15
    for lines in notes:
        for line in lines:
            page.text(0, top, line, NOTE, colour="0.2")
            top -= LINE
        top -= LINE * BETWEEN
    return figure


class _Page:
    """A figure on which one writes in points from the lower left corner within its margin."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self.width, self.height = 72 * figure.get_size_inches()

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return (x + MARGIN) / self.width, (y + MARGIN) / self.height

    def text(self, x: float, y: float, text: str, size: float, **options: Any) -> None:
        self.figure.text(
            *self._at(x, y),
            text,
            fontsize=size,
            va="center" if r"\frac" in text else "center_baseline",
            ha=options.get("align", "left"),
            color=options.get("colour", "black"),
            weight="bold" if options.get("bold") else "normal",
            style="italic" if options.get("italic") else "normal",
        )

    def rule(self, y: float, left: float, right: float, width: float) -> None:
        (x0, y0), (x1, y1) = self._at(left, y), self._at(right, y)
        self.figure.add_artist(plt().Line2D([x0, x1], [y0, y1], color="black", lw=width))

    def shade(self, y: float, height: float, width: float) -> None:
        box = plt().Rectangle(self._at(0, y), width / self.width, height / self.height, color="0.93", lw=0)
        self.figure.add_artist(box)


def _set_row(page: _Page, row: Row, columns: _Columns, align: str, y: float) -> None:
    column = 0
    for cell in row.cells:
        left = columns.lefts[column]
        last = column + cell.span - 1
        right = columns.lefts[last] + columns.widths[last]
        main = left + columns.main[column]
        where = align[column] if cell.span == 1 else ("l" if column == 0 else "c")
        x, anchor = {"l": (left, "left"), "c": ((left + right) / 2, "center"), "r": (main, "right")}[where]
        options = {"bold": cell.strong, "italic": cell.quiet, "colour": "0.35" if cell.quiet else "black"}
        page.text(x, y, plain(cell.text), _size(cell), align=anchor, **options)
        if cell.small:
            behind = main if where == "r" else left + _measure(plain(cell.text), SIZE, bold=cell.strong)[0]
            page.text(behind + 3, y, plain(cell.small), SMALL, colour="0.2")
        column += cell.span


def _set_group_rules(page: _Page, row: Row, columns: _Columns, y: float) -> None:
    column = 0
    for cell in row.cells:
        last = column + cell.span - 1
        if cell.span > 1 and cell.text:
            page.rule(y, columns.lefts[column], columns.lefts[last] + columns.widths[last], 0.5)
        column += cell.span


def _columns(table: Table) -> _Columns:
    count = len(table.align)
    main, small = [0.0] * count, [0.0] * count
    rows = (*table.head, *table.body)
    for row in rows:
        column = 0
        for cell in row.cells:
            if cell.span == 1:
                main[column] = max(main[column], _width(cell))
                small[column] = max(small[column], _measure(plain(cell.small), SMALL)[0] + 3 if cell.small else 0)
            column += cell.span
    widths = [text + behind for text, behind in zip(main, small, strict=True)]
    for row in rows:
        column = 0
        for cell in row.cells:
            there = sum(widths[column : column + cell.span]) + GAP * (cell.span - 1)
            lacking = max(0.0, _width(cell) - there) / cell.span
            for index in range(column, column + cell.span) if cell.span > 1 else ():
                widths[index] += lacking
                main[index] += lacking
            column += cell.span
    lefts = [sum(widths[:index]) + GAP * index for index in range(count)]
    return _Columns(lefts, widths, main)


def _size(cell: Cell) -> float:
    return SIZE - 1.5 if cell.quiet else SIZE


def _width(cell: Cell) -> float:
    return _measure(plain(cell.text), _size(cell), bold=cell.strong)[0]


def _height(cell: Cell) -> float:
    return max(10.0, _measure(plain(cell.text), _size(cell))[1])


def plain(text: str) -> str:
    """A text as Matplotlib takes it: mathematics kept, the marks of code left out."""
    return "".join(f"${part}$" if kind == "math" else part for kind, part in segments(text))


@functools.cache
def _measure(text: str, size: float, *, bold: bool = False) -> tuple[float, float]:
    """Width and height."""
    if not text:
        return 0.0, 0.0
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    plt()  # sets the fonts
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    width, height, _ = TextToPath().get_text_width_height_descent(text, font, ismath=_is_math(text))
    return SLACK * float(width), float(height)


def _is_math(text: str) -> bool:
    return "$" in text


def _wrapped(note: str, width: float, size: float) -> list[str]:
    """Break a note into lines of at most `width`; mathematics stays in one piece."""
    words = [
        word
        for kind, part in segments(note)
        for word in ([f"${part}$"] if kind == "math" else part.replace(" ", " \0").split("\0"))
    ]
    lines, line = [], ""
    for word in words:
        if line.strip() and _measure((line + word).rstrip(), size)[0] > width:
            lines.append(line.rstrip())
            line = ""
        line += word
    return [*lines, line.rstrip()]

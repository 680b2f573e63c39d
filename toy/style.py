"""How every toy plot looks: color-blind safe, readable in gray and in print.

Colors follow Okabe and Ito; lines that must differ without color too have another dash or marker.
The same thing has the same color in every plot. Symbols are mathtext (:mod:`toy.words`).
"""

from __future__ import annotations

import importlib
import logging
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from toy.words import Caption, plain, spaced, wrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F4F24", "#888888")
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK, BROWN, GRAY = COLORS
DPO, INS, ANCHORED = BLUE, VERMILLION, PURPLE

# What every loss is called in a plot, and its color there.
METHOD_NAMES = {
    "dpo": "DPO",
    "ipo": "IPO",
    "orpo": "ORPO",
    "simpo": "SimPO",
    "r-dpo": "R-DPO",
    "rrhf": "RRHF",
    "slic": "SLiC",
    "cpo": "CPO",
    "kto": "KTO",
}
METHOD_COLORS = dict(zip(METHOD_NAMES, COLORS, strict=True))

FORMATS = ("png", "svg", "pdf")
_METADATA: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
_SETTINGS: dict[Any, Any] = {
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "figure.dpi": 110,
    "svg.hashsalt": "inspo",
    "svg.fonttype": "path",  # a browser without the fonts lets words run into each other, and shows a prime as 0
    "pdf.fonttype": 42,
}


def plt(letters: float = 9.5) -> Any:
    """Matplotlib's pyplot with this style; imported on first use, without a display.

    Args:
        letters: their size, in points.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcdefaults()  # another style may have been set in this process, such as that of the paper's figures
    mpl.rcParams.update(_SETTINGS | {"font.size": letters, "axes.titlesize": letters + 0.5})
    return importlib.import_module("matplotlib.pyplot")


@dataclass(frozen=True)
class Page:
    """What figures are drawn for.

    Attributes:
        width: of a figure, in inches: 3.5 is a column of a paper, 7 its page.
        bare: axes alone, exactly as wide as the page; the captions are in report.md.
    """

    width: float = 11.0
    bare: bool = False

    @property
    def letters(self) -> float:
        """Size of the letters, in points."""
        return 9.5 if self.width >= 9 else 8.0 if self.width >= 5 else 7.5

    def characters(self, inches: float | None = None) -> int:
        """How many letters fit into so many inches, or across the page."""
        return int((self.width if inches is None else inches) * 72 / (0.56 * self.letters))


@dataclass(frozen=True)
class Sheet:
    """A figure of panels that makes room by itself for what is written on and around them."""

    figure: Figure
    axes: list[Axes]
    page: Page
    columns: int

    def title(self, axis: Any, text: str) -> None:
        """A panel's title, wrapped to its width."""
        axis.set_title(wrap(text, self.page.characters(0.86 * self.page.width / self.columns)), loc="left")

    def legend(self, handles: Sequence[Any]) -> None:
        """A legend above all panels, in as many columns as fit."""
        longest = max(len(plain(handle.get_label())) for handle in handles) + 7
        columns = max(1, min(len(handles), self.page.characters() // longest))
        cast("Any", self.figure).legend(handles=list(handles), loc="outside upper left", ncols=columns)


def sheet(
    page: Page,
    panels: int,
    *,
    across: int = 4,
    least: float = 2.2,
    aspect: float = 0.85,
    row: float | None = None,
    ratios: Sequence[float] | None = None,
    **options: Any,
) -> Sheet:
    """A figure of panels, as many side by side as the page has room for.

    Args:
        page: what for.
        panels: how many.
        across: side by side at most.
        least: width of a panel in inches, at least, unless the page is narrower.
        aspect: height of a panel divided by its width.
        row: height of a row in inches, instead.
        ratios: widths of the panels if all are side by side.
        options: as in Figure.subplots.
    """
    columns = max(1, min(panels, across, int(page.width / least)))
    rows = -(-panels // columns)
    height = row or min(max(aspect * page.width / columns, 2.3), 5.0)
    figure = plt(page.letters).figure(figsize=(page.width, rows * height + 0.35), layout="constrained")
    if ratios and columns == panels:
        options["width_ratios"] = list(ratios)
    grid = figure.subplots(rows, columns, squeeze=False, **options).ravel().tolist()
    for axis in grid[panels:]:
        axis.set_visible(False)
    return Sheet(figure, grid[:panels], page, columns)


def line(label: str, **look: Any) -> Any:
    """A legend's entry."""
    return plt_line()([], [], label=label, **look)


def plt_line() -> Any:
    """Matplotlib's Line2D."""
    from matplotlib.lines import Line2D

    return Line2D


def patch(label: str, color: str) -> Any:
    """A legend's entry for an area."""
    from matplotlib.patches import Patch

    return Patch(color=color, label=label)


def save(figure: Figure, words: Caption, folder: Path, name: str, page: Page = Page()) -> None:
    """Write a figure in all :data:`FORMATS`, the same bytes for the same figure, and close it.

    A process that is killed meanwhile leaves no file half-written, and none of the last format unless all are there.
    """
    import matplotlib as mpl
    from PIL import Image

    unfinished = folder / f".{name}.drawing"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    # Laid out once, for all formats, at the PNG's resolution: mathtext is kept as it was read, for one resolution each.
    resolution = 300 if page.bare else 160
    figure.set_dpi(resolution)
    # A caption then makes the page larger, whose corner is not the legend's.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for legend in figure.legends:
        legend.set_bbox_to_anchor((0, 0, 1, 1), figure.transFigure)
    logging.getLogger("fontTools").setLevel(logging.ERROR)  # it warns of the time stamps in matplotlib's own fonts
    if not page.bare:
        _write_caption(figure, words, page)
    # Measured once: a format that looks for the corners itself draws everything twice.
    corners = None if page.bare else cast("Any", figure).get_tightbbox().padded(mpl.rcParams["savefig.pad_inches"])
    pixels = BytesIO()
    figure.savefig(pixels, format="png", dpi=resolution, bbox_inches=corners)  # by default the figure's first one
    # A plot has few colors: a palette makes the file a third as large, without visible loss.
    palette = Image.open(pixels).convert("RGB").quantize(192, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette.save(unfinished / f"{name}.png", optimize=True)
    for kind in FORMATS[1:]:
        figure.savefig(unfinished / f"{name}.{kind}", metadata=_METADATA[kind], bbox_inches=corners)
    plt().close(figure)
    for kind in FORMATS:
        (unfinished / f"{name}.{kind}").replace(folder / f"{name}.{kind}")
    unfinished.rmdir()


def is_saved(folder: Path, name: str) -> bool:
    """Whether :func:`save` has finished."""
    return (folder / f"{name}.{FORMATS[-1]}").exists()


def _write_caption(figure: Figure, words: Caption, page: Page) -> None:
    """The finding above the plot; below it the explanation, the number and the key, wrapped to its width."""
    size, width = page.letters, page.characters()
    headline = wrap(drawable(words.headline), int(width * 0.82))
    figure.text(0.0, 1.0, headline + "\n", ha="left", va="bottom", size=size + 2.5, weight="bold", linespacing=1.2)
    down = -0.12 / figure.get_figheight()
    parts = [
        (words.text, {"color": "0.25"}),
        (f"Remember: {words.number}", {"color": "0.1", "weight": "bold"}),
        (f"Key. {words.key}", {"color": "0.35"}),
    ]
    for text, look in parts:
        wrapped = wrap(drawable(text), int(width * (0.98 if "weight" in look else 1.08)))
        figure.text(0.0, down, wrapped, ha="left", va="top", linespacing=1.35, **cast("Any", look))
        lines = wrapped.count("\n") + 1.3
        down -= lines * size * 1.35 * 1.17 / 72 / figure.get_figheight()


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib import font_manager, ft2font

    return frozenset(ft2font.FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap())


def drawable(text: str) -> str:
    """The text with a box for each letter that the pictures' font lacks; report.md has it as it is."""
    return "".join(letter if letter == "\n" or ord(letter) in _glyphs() else "\N{WHITE SQUARE}" for letter in text)


def heading(problem: str, source: str, width: int = 58) -> str:
    """A table's name and where it is from, in at most `width` characters."""
    import textwrap

    return textwrap.shorten(f"{spaced(problem)}: {source}", width, placeholder=" ...")


def handles_of(axes: Iterable[Any]) -> list[Any]:
    """The legend's entries of several axes, each label once."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values())

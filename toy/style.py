"""How every toy plot looks: color-blind safe, readable in gray and in print.

Colors follow Okabe and Ito; lines that must differ without color too have another dash or marker.
The same thing has the same color in every plot.
"""

from __future__ import annotations

import importlib
import textwrap
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F4F24", "#888888")
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK, BROWN, GRAY = COLORS
DPO, INS = BLUE, VERMILLION

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

_SETTINGS: dict[Any, Any] = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "figure.dpi": 110,
    "savefig.bbox": "tight",
    "svg.hashsalt": "inspo",
    "svg.fonttype": "none",
}


class Caption(NamedTuple):
    """What a plot says: the finding, how to read it, and the one number to remember."""

    headline: str
    text: str
    number: str


def plt() -> Any:
    """Matplotlib's pyplot with this style; imported on first use, without a display."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcdefaults()  # another style may have been set in this process, such as that of the paper's figures
    mpl.rcParams.update(_SETTINGS)
    return importlib.import_module("matplotlib.pyplot")


def subplots(
    rows: int, columns: int, size: tuple[float, float], *, margins: dict[str, float], **options: Any
) -> tuple[Figure, Any]:
    """A figure and its grid of axes.

    Args:
        rows: of the grid.
        columns: of the grid.
        size: (width, height) in inches.
        margins: as in Figure.subplots_adjust.
        options: as in pyplot.subplots.
    """
    figure, axes = plt().subplots(rows, columns, figsize=size, **options)
    figure.subplots_adjust(**{"right": 0.985} | margins)
    return figure, axes


def spaced(name: str) -> str:
    """A table's name as it is written in a text."""
    return name.replace("_", " ")


def heading(problem: str, source: str, width: int = 58) -> str:
    """A table's name and where it is from, in at most `width` characters."""
    name = spaced(problem)
    return name if source in ("", problem) else textwrap.shorten(f"{name}: {source}", width, placeholder=" ...")


def save(figure: Figure, words: Caption, folder: Path, name: str) -> None:
    """Write a figure with its caption as PNG and SVG, the same bytes for the same figure, and close it."""
    from PIL import Image

    _write_caption(figure, words)
    pixels = BytesIO()
    figure.savefig(pixels, format="png", dpi=160)
    # A plot has few colors: a palette makes the file a third as large, without visible loss.
    palette = Image.open(pixels).convert("RGB").quantize(192, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette.save(folder / f"{name}.png", optimize=True)
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    plt().close(figure)


def _write_caption(figure: Figure, words: Caption) -> None:
    """The finding above the plot, and below it the explanation and the number, wrapped to its width."""
    width = figure.get_figwidth()
    figure.suptitle(
        textwrap.fill(words.headline, int(width * 10.5)), x=0.01, y=0.99, ha="left", va="bottom", size=12, weight="bold"
    )
    below = textwrap.fill(words.text, int(width * 14)), textwrap.fill(f"Remember: {words.number}", int(width * 13.2))
    style: dict[str, Any] = {"ha": "left", "va": "top", "linespacing": 1.35}
    figure.text(0.01, 0.0, below[0], color="0.25", **style)
    lines = below[0].count("\n") + 1.25
    down = lines * 9.5 * 1.35 * 1.17 / 72 / figure.get_figheight()
    figure.text(0.01, -down, below[1], color="0.1", weight="bold", **style)

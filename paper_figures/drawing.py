"""How the figures look: the toy's colors and style, set for print. All imports from the toy stand here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from paper_figures.table import Item
from toy import style
from toy.style import COLORS, METHOD_COLORS, METHOD_NAMES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLORS", "METHOD_COLORS", "METHOD_NAMES", "figure_item", "plt"]

# Letters as outlines, so that a figure looks the same without the fonts; STIX as in printed mathematics.
_SETTINGS: dict[Any, Any] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "font.size": 10,
    "axes.titleweight": "normal",
    "savefig.bbox": "standard",  # every figure is laid out to its edges
}
_METADATA = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def plt() -> Any:
    """Matplotlib's pyplot with this style, without a display."""
    pyplot = style.plt()
    pyplot.rcParams.update(_SETTINGS)
    return pyplot


def figure_item(figure: Figure, name: str, ours: str) -> Item:
    """A figure, to be written in every format, the same bytes for the same figure."""

    def write(folder: Path) -> list[Path]:
        for suffix, metadata in _METADATA.items():
            figure.savefig(folder / f"{name}.{suffix}", dpi=200, metadata=metadata)
        plt().close(figure)
        return [folder / f"{name}.{suffix}" for suffix in _METADATA]

    return Item(write, ours)

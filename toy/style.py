"""How every toy plot looks: colour-blind safe, readable in grey and in print.

Colours follow Okabe and Ito; where two lines must be told apart without colour they also differ in
dash or marker.
"""

from __future__ import annotations

import importlib
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

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


def plt() -> Any:
    """Matplotlib's pyplot with this style; imported on first use, without a display."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update(_SETTINGS)
    return importlib.import_module("matplotlib.pyplot")


def caption(figure: Figure, headline: str, text: str) -> None:
    """Write what the plot shows above it and the sentences that explain it below, wrapped to its width."""
    width = figure.get_figwidth()
    figure.suptitle(
        textwrap.fill(headline, int(width * 10.5)), x=0.01, y=0.99, ha="left", va="bottom", fontsize=12, weight="bold"
    )
    figure.text(0.01, 0.0, textwrap.fill(text, int(width * 14)), ha="left", va="top", fontsize=9.5, color="0.25")


def save_space(axis: Any) -> None:
    """Strip an axis of ticks, grid and frame in y."""
    axis.set_yticks([])
    axis.grid(visible=False)
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(False)


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and SVG, the same bytes for the same figure.

    Returns:
        The two paths.
    """
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    figure.savefig(paths[0], dpi=160, metadata={"Software": None})
    figure.savefig(paths[1], metadata={"Date": None})
    plt().close(figure)
    return paths

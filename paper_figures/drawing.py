"""How the pictures look and how they become files: the toy's colours and print style, one font, fixed bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from toy import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = style.COLORS
FORMATS = ("pdf", "png", "svg")

# Letters as outlines, so that a picture looks the same without the fonts; STIX as in printed mathematics.
_SETTINGS: dict[Any, Any] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "font.size": 10,
    "axes.titleweight": "normal",
    "savefig.bbox": "standard",  # every picture is laid out to its edges
}
_METADATA = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}


def plt() -> Any:
    """Matplotlib's pyplot with this style, without a display."""
    pyplot = style.plt()
    pyplot.rcParams.update(_SETTINGS)
    return pyplot


def files(figure: Figure, name: str) -> dict[str, bytes]:
    """A figure in every format, the same bytes for the same figure; closes it.

    Returns:
        File name to content.
    """
    made = {}
    for suffix in FORMATS:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, dpi=200, metadata=_METADATA[suffix])
        made[f"{name}.{suffix}"] = buffer.getvalue()
    plt().close(figure)
    return made

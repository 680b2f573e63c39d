"""``python -m docs.draw_walk``: the walk of one pair, walked and drawn to docs/img/walk.png."""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from PIL import Image, PngImagePlugin

from docs.walk import STATIONS, UPDATE, Station, Walk, walk
from toy.style import BLUE, GREEN, ORANGE, PURPLE, VERMILLION, plt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURE = Path(__file__).resolve().parent / "img" / "walk.png"
WIDTH, HEIGHT, GAP = 2.34, 2.72, 0.2  # of a card, and between cards, in inches
COLUMNS = 5
ROOMS = {  # the room that a file is in -> color of its cards
    "scaled/data": BLUE,
    "scaled/reference": GREEN,
    "scaled/training": VERMILLION,
    "inspo/hf": PURPLE,
}
X, W, L, HERE = "0.72", BLUE, ORANGE, VERMILLION  # prompt, chosen, rejected; the pair that is followed


def draw(found: Walk) -> Figure:
    """Ten cards, in two lines of five."""
    lines = len(STATIONS) // COLUMNS
    width, height = COLUMNS * (WIDTH + GAP) + GAP, lines * (HEIGHT + 2 * GAP) + GAP
    figure: Figure = plt().figure(figsize=(width, height))
    sheet = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    sheet.axis("off")
    for number, (station, content) in enumerate(zip(STATIONS, CONTENTS, strict=True)):
        line, column = divmod(number, COLUMNS)
        left, bottom = GAP + column * (WIDTH + GAP), height - (line + 1) * (HEIGHT + 2 * GAP) + GAP
        _card(sheet, left, bottom, number + 1, station)
        if column:
            _arrow(sheet, (left - GAP, bottom + HEIGHT / 2), (left, bottom + HEIGHT / 2))
        elif line:  # from the end of the line above, between the two
            between, right = bottom + HEIGHT + GAP, left + COLUMNS * (WIDTH + GAP) - GAP - WIDTH / 2
            corners = np.array([[right, between + GAP], [right, between], [left + WIDTH / 2, between]]).T
            sheet.plot(*corners, color="0.35", lw=1.1, solid_joinstyle="round")
            _arrow(sheet, (left + WIDTH / 2, between), (left + WIDTH / 2, bottom + HEIGHT))
        inner = (left + 0.12) / width, (bottom + 0.55) / height, (WIDTH - 0.24) / width, (HEIGHT - 0.98) / height
        axis = figure.add_axes(inner, xlim=(0, 1), ylim=(0, 1), autoscale_on=False)
        axis.axis("off")
        content(axis, found)
    return figure


def _card(sheet: Axes, left: float, bottom: float, number: int, station: Station) -> None:
    color = next(color for room, color in ROOMS.items() if station.file.startswith(room))
    sheet.add_patch(
        FancyBboxPatch((left, bottom), WIDTH, HEIGHT, "round,pad=0,rounding_size=.06", fc="white", ec="0.75", lw=0.9)
    )
    top = bottom + HEIGHT - 0.21
    sheet.text(left + 0.12, top, f"{number}", color=color, size=12, weight="bold", va="center")
    sheet.text(left + 0.4, top, station.name, size=11, weight="bold", va="center")
    sheet.plot([left + 0.12, left + WIDTH - 0.12], [bottom + 0.46] * 2, color="0.88", lw=0.8)
    style: dict[str, Any] = {"family": "DejaVu Sans Mono", "size": 8, "va": "center"}
    sheet.text(left + 0.12, bottom + 0.31, station.file, color="0.4", **style)
    sheet.text(left + 0.12, bottom + 0.14, f"{station.function}()", color=color, **style)


def _arrow(sheet: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    sheet.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color="0.35", lw=1.1, shrinkA=1))


def _text(axis: Axes, y: float, text: str, width: int | None = 31, **style: Any) -> None:
    """Text at a height of the card, 0 to 1, wrapped to so many characters."""
    look: dict[str, Any] = {"size": 8.6, "va": "top", "linespacing": 1.35, "color": "0.15"}
    axis.text(0, y, text if width is None else textwrap.fill(text, width), **look | style)


def _bar(axis: Axes, left: float, bottom: float, width: float, color: str, label: str = "", alpha: float = 1) -> None:
    axis.add_patch(Rectangle((left, bottom), width, 0.15, fc=color, ec="white", lw=0.8, alpha=alpha))
    if label:
        axis.text(left + width / 2, bottom + 0.07, label, size=8.5, color="white", ha="center", va="center")


def _file(axis: Axes, found: Walk) -> None:
    _text(axis, 1, found.line, 27, family="DejaVu Sans Mono", size=7.8)


def _record(axis: Axes, found: Walk) -> None:
    (turn,) = found.record["prompt"]
    lines = (
        ("prompt", f"{turn['role']}: {turn['content']}"),
        ("chosen", found.record["chosen"][0]["content"]),
        ("rejected", found.record["rejected"][0]["content"]),
        ("preference", f"{found.record['preference']:g}, a hard label"),
    )
    y = 1.0
    for name, text in lines:
        wrapped = textwrap.wrap(f"{name}: {text}", 34)
        _text(axis, y, "\n".join(wrapped), None)
        y -= 0.115 * len(wrapped) + 0.04


def _split(axis: Axes, found: Walk) -> None:
    left_out = sum(count for steps in found.left_out.values() for count in steps.values())
    _text(axis, 1, f"{len(found.kept) + left_out} records read, {left_out} of them unusable")
    share = len(found.examples) / len(found.kept)
    _bar(axis, 0, 0.5, share, BLUE, f"{len(found.examples)}")
    _bar(axis, share, 0.5, 1 - share, "0.55", f"{len(found.validation)}")
    for x, side, name in ((0, "left", "to train on"), (1, "right", "to validate on")):
        axis.text(x, 0.42, name, size=8.6, ha=side, color="0.15")
    _text(axis, 0.22, "whole prompts, drawn with the seed")


def _pair(axis: Axes, found: Walk) -> None:
    pair = found.examples.pairs[found.index]
    _text(axis, 1, "token ids, template included")
    parts = (("prompt $x$", pair.prompt, X), ("chosen $y_w$", pair.chosen, W), (r"rejected $y_\ell$", pair.rejected, L))
    longest = max(len(ids) for _, ids, _ in parts)
    for line, (name, ids, color) in enumerate(parts):
        bottom = 0.58 - 0.29 * line
        _bar(axis, 0, bottom, len(ids) / longest, color, str(len(ids)))
        axis.text(0, bottom + 0.17, name, size=8.6, color="0.15", va="bottom")


def _tree(axis: Axes, found: Walk) -> None:
    """To scale: the prompt once, and each response after the other one."""
    tree, pair = found.examples.tree(found.index), found.examples.pairs[found.index]
    _text(axis, 1, f"its prefix tree: {len(tree)} tokens score both responses in view of the other")
    x, w, ell = len(pair.prompt), len(pair.chosen), len(pair.rejected)
    scale = 1 / (x + w + ell)
    for bottom, (first, second) in ((0.4, ((ell, L), (w, W))), (0.14, ((w, W), (ell, L)))):
        _bar(axis, x * scale, bottom, first[0] * scale, first[1], alpha=0.35)
        _bar(axis, (x + first[0]) * scale, bottom, second[0] * scale, second[1])
    _bar(axis, 0, 0.4, x * scale, X, "$x$")
    axis.plot([x * scale * 0.6] * 2 + [x * scale], [0.4, 0.215, 0.215], color="0.3", lw=1)
    for bottom, names, widths in ((0.475, (r"$y_\ell$", "$y_w$"), (ell, w)), (0.215, ("$y_w$", r"$y_\ell$"), (w, ell))):
        middles = x + widths[0] / 2, x + widths[0] + widths[1] / 2
        for middle, name, color in zip(middles, names, ("0.15", "white"), strict=True):
            axis.text(middle * scale, bottom, name, size=8.5, color=color, ha="center", va="center")


def _rows(axis: Axes, found: Walk) -> None:
    """To scale: the first update's rows, those of rank 0 and of rank 1 in turns."""
    plan, lengths = found.plan, found.examples.lengths
    rows = plan.updates[UPDATE - 1]
    _text(axis, 1, f"update {UPDATE}: exactly {plan.batch_size} pairs, dealt evenly into {len(rows)} rows")
    fullest = max(sum(lengths[pair] for pair in slot.pairs) for slot in rows)
    step = 0.68 / len(rows)
    for number, slot in enumerate(rows):
        left, bottom = 0.3, 0.68 - step * (number + 1)
        axis.text(0, bottom + 0.075, f"rank {number % plan.world_size}", size=8.6, va="center", color="0.15")
        for pair in slot.pairs:
            width = lengths[pair] / fullest * 0.7
            _bar(axis, left, bottom, width, HERE if pair == found.index else "0.6")
            left += width


def _reference(axis: Axes, found: Walk) -> None:
    _text(axis, 1, "the policy before training scores every pair once; kept on disk")
    chosen, rejected = (float(logps[found.index]) for logps in found.examples.reference.values())
    _text(axis, 0.5, rf"$\log\pi_\mathrm{{ref}}(y_w\mid x)={chosen:.2f}$", None, size=10)
    _text(axis, 0.24, rf"$\log\pi_\mathrm{{ref}}(y_\ell\mid x)={rejected:.2f}$", None, size=10)


def _batch(axis: Axes, found: Walk) -> None:
    """The row's attention, the pair's own tree in color."""
    row = found.batch.row
    _text(axis, 1, f"{len(found.batch.pairs)} trees in one row of {len(row)} tokens; who sees whom:")
    index = np.arange(len(row))
    sees = (index[None, :] <= index[:, None]) & (index[:, None] < row.subtree_ends[None, :])
    own = index < len(found.examples.tree(found.index))
    picture = np.ones((*sees.shape, 3))
    picture[sees] = 0.55
    picture[sees & own[:, None] & own[None, :]] = [int(HERE[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    inset = axis.inset_axes((0.14, -0.03, 0.72, 0.74))
    inset.imshow(picture, interpolation="antialiased")
    inset.set(xticks=[], yticks=[])
    inset.spines[:].set(visible=True, color="0.7", linewidth=0.7)


def _model(axis: Axes, found: Walk) -> None:
    _text(axis, 1, "one forward pass over the row scores all of it")
    chosen, rejected = (float(logps[0]) for logps in found.policy.values())
    _text(axis, 0.5, rf"$\log\pi(y_w\mid x,y_\ell)={chosen:.2f}$", None, size=10)
    _text(axis, 0.24, rf"$\log\pi(y_\ell\mid x,y_w)={rejected:.2f}$", None, size=10)


def _loss(axis: Axes, found: Walk) -> None:
    """The margin, and every pair's loss."""
    policy, reference = ([float(logps[0]) for logps in side.values()] for side in (found.policy, found.batch.reference))
    margin = (policy[0] - reference[0]) - (policy[1] - reference[1])
    _text(axis, 1, "INS-DPO, Eq. (10), $\\beta=0.1$:", None)
    _text(axis, 0.84, rf"margin ${margin:+.2f}$, loss ${float(found.losses[0]):.3f}$", None, size=10)
    _text(axis, 0.6, f"({len(found.losses)},) losses, unreduced:")
    step = 1 / len(found.losses)
    for number, loss in enumerate(found.losses.tolist()):
        color = HERE if number == 0 else "0.6"
        axis.add_patch(Rectangle((number * step, 0), step * 0.75, 0.42 * loss / float(found.losses.max()), fc=color))


CONTENTS: tuple[Callable[[Axes, Walk], None], ...] = (
    *(_file, _record, _split, _pair, _tree),
    *(_rows, _reference, _batch, _model, _loss),
)


def save(figure: Figure, path: Path) -> None:
    """Write the picture, with its stations in its description, in few colors: a third of the size."""
    pixels = BytesIO()
    with plt().rc_context({"savefig.bbox": None}):  # it is laid out to its edges
        figure.savefig(pixels, format="png", dpi=150)
    description = PngImagePlugin.PngInfo()
    description.add_text("Description", "\n".join(" ".join(station) for station in STATIONS))
    picture = Image.open(pixels).convert("RGB").quantize(192, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    picture.save(path, optimize=True, pnginfo=description)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        save(draw(walk(Path(folder))), PICTURE)

"""Figure 1, ours: plain DPO's rows, symmetric cross-conditioning as rows, and as one prefix tree.

All to scale; the token counts are those of the rows that ``inspo.prefix_tree.build_row`` lays out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from inspo.conditioning import Conditioning
from inspo.pairs import PreferencePair
from inspo.prefix_tree import PackedRow, build_row
from inspo.sequences import scored_sequence
from paper_figures.drawing import COLOURS, files, plt
from paper_figures.item import Item

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LENGTHS = {"x": 100, "w": 200, "l": 150}  # an example, in tokens
NAMES = {"x": "$x$", "w": "$y_w$", "l": r"$y_\ell$"}
FILL = {"x": "0.80", "w": COLOURS[0], "l": COLOURS[1]}
PALE = {"w": "#CFE3F1", "l": "#F8DCC8"}
TITLE = "Figure 1. One pair under plain DPO, and under InSPO as two rows and as one prefix tree"


@dataclass(frozen=True)
class Block:
    """A run of tokens of one part of a pair: where it starts, in which line, whether it is scored."""

    part: str
    start: int
    line: int
    scored: bool = False
    label: str = ""


def example() -> PreferencePair:
    """A pair of the example's lengths; no two tokens are alike, so that only the prompt is shared."""
    x, w, total = LENGTHS["x"], LENGTHS["w"], sum(LENGTHS.values())
    return PreferencePair(range(x), range(x, x + w), range(x + w, total))


def padded_tokens(conditioning: Conditioning) -> int:
    """Tokens of a pair as separate rows, one for each log-prob, padded to the longest."""
    lengths = [len(scored_sequence(example(), request)) for request in conditioning.requests()]
    return len(lengths) * max(lengths)


def tree_tokens(conditioning: Conditioning) -> int:
    """Tokens of the same as one prefix tree."""
    return len(build_row([example()], conditioning))


def make() -> Item:
    """The figure in all formats."""
    return Item("figure_1", TITLE, files(draw(), "figure_1"), "drawn from inspo.prefix_tree")


def draw() -> Figure:
    """Three panels of blocks over token positions, and the tree's attention."""
    figure: Figure = plt().figure(figsize=(10.6, 5.0))
    grid = figure.add_gridspec(3, 2, width_ratios=(1.55, 1), left=0.01, right=0.985, top=0.9, bottom=0.17, hspace=0.5)
    plain, sym, avg = Conditioning.NONE, Conditioning.SYMMETRIC, Conditioning.AVERAGED
    _panel(
        figure.add_subplot(grid[0, 0]),
        f"(a) plain DPO: two rows, {padded_tokens(plain)} tokens with padding",
        [
            *_line(0, ("x", ""), ("w", r"$\log\pi(y_w\mid x)$")),
            *_line(1, ("x", ""), ("l", r"$\log\pi(y_\ell\mid x)$")),
        ],
        padded_to=LENGTHS["x"] + LENGTHS["w"],
    )
    _panel(
        figure.add_subplot(grid[1, 0]),
        f"(b) symmetric cross-conditioning, Eq. (10): two rows, {padded_tokens(sym)} tokens",
        [
            *_line(0, ("x", ""), ("l", ""), ("w", r"$\log\pi(y_w\mid x,y_\ell)$")),
            *_line(1, ("x", ""), ("w", ""), ("l", r"$\log\pi(y_\ell\mid x,y_w)$")),
        ],
    )
    tree = figure.add_subplot(grid[2, 0])
    _panel(
        tree,
        f"(c) the same as a prefix tree: one row, {tree_tokens(sym)} tokens",
        [
            Block("x", 0, 0),
            *_line(
                0, ("l", r"also $\log\pi(y_\ell\mid x)$"), ("w", r"$\log\pi(y_w\mid x,y_\ell)$"), start=LENGTHS["x"]
            ),
            *_line(1, ("w", r"also $\log\pi(y_w\mid x)$"), ("l", r"$\log\pi(y_\ell\mid x,y_w)$"), start=LENGTHS["x"]),
        ],
    )
    tree.plot([LENGTHS["x"] * 0.6] * 2 + [LENGTHS["x"]], [-0.62, -1.31, -1.31], color="0.25", lw=1)
    tree.set_xlabel("position in the sequence, tokens", labelpad=2)
    tree.set_xticks([0, 100, 200, 300, 400])
    tree.tick_params(axis="x", length=2.5, pad=1.5)
    tree.spines["bottom"].set_visible(True)
    _mask(figure.add_subplot(grid[:, 1]), build_row([example()], sym))
    figure.suptitle(TITLE, x=0.01, y=0.985, ha="left", va="top", fontsize=12.5)
    figure.text(0.01, 0.005, _caption(avg), fontsize=9.5, color="0.2", va="bottom", linespacing=1.35)
    return figure


def _caption(averaged: Conditioning) -> str:
    lengths = f"$|x|={LENGTHS['x']}$, $|y_w|={LENGTHS['w']}$, $|y_\\ell|={LENGTHS['l']}$ tokens"
    return (
        f"Example with {lengths}. Full colour: scored; pale and hatched: read only. A tree leaves out the last token of"
        " each leaf, which predicts nothing.\nThe context copy of a response stands where plain DPO scores it, so the"
        f" averaged objective takes {tree_tokens(averaged)} tokens as a tree and {padded_tokens(averaged)} as four"
        " padded rows."
    )


def _line(line: int, *parts: tuple[str, str], start: int = 0) -> list[Block]:
    """Blocks one after another; one with a label is scored."""
    blocks = []
    for part, label in parts:
        blocks.append(Block(part, start, line, bool(label) and not label.startswith("also"), label))
        start += LENGTHS[part]
    return blocks


def _panel(axis: Any, title: str, blocks: list[Block], padded_to: int = 0) -> None:
    axis.set_title(title, loc="left", fontsize=10.5, pad=4)
    axis.set_xlim(-2, sum(LENGTHS.values()) + 2)
    axis.set_ylim(-1.7, 0.08)
    axis.grid(visible=False)
    axis.set_yticks([])
    axis.set_xticks([])
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(False)
    for block in blocks:
        _draw_block(axis, block)
    for line in {block.line for block in blocks} if padded_to else ():
        end = max(block.start + LENGTHS[block.part] for block in blocks if block.line == line)
        if end < padded_to:
            box = plt().Rectangle(
                (end, -line - 0.62), padded_to - end, 0.62, fill=False, ec="0.5", ls=(0, (2, 2)), lw=0.8
            )
            axis.add_patch(box)
            axis.text((end + padded_to) / 2, -line - 0.31, "padding", ha="center", va="center", fontsize=8, color="0.4")


def _draw_block(axis: Any, block: Block) -> None:
    width = LENGTHS[block.part]
    context = block.part != "x" and not block.scored
    box = plt().Rectangle(
        (block.start, -block.line - 0.62),
        width,
        0.62,
        facecolor=PALE[block.part] if context else FILL[block.part],
        edgecolor=FILL[block.part] if context else "white",
        hatch="////" if context else None,
        lw=0.0 if context else 0.8,
    )
    axis.add_patch(box)
    text = NAMES[block.part] + (f"   {block.label}" if block.label else "")
    axis.text(
        block.start + width / 2,
        -block.line - 0.32,
        text,
        ha="center",
        va="center",
        fontsize=10,
        color="white" if block.scored else "black",
        bbox={"facecolor": PALE[block.part], "edgecolor": "none", "pad": 1.2} if context else None,
    )


def _mask(axis: Any, row: PackedRow) -> None:
    """Which row of the tree sees which, by the rule that the kernels use."""
    rows = np.arange(len(row))
    seen = (rows[None, :] <= rows[:, None]) & (rows[:, None] < row.subtree_ends[None, :])
    axis.imshow(seen, cmap=plt().matplotlib.colors.ListedColormap(["white", "0.55"]), interpolation="nearest")
    axis.grid(visible=False)
    parts = ("x", "l", "w", "w", "l")
    x, w, l_ = LENGTHS["x"], LENGTHS["w"], LENGTHS["l"]
    branch = row.paths[0][-1][1]  # where the first branch, y_l y_w, ends
    edges = [0, x, x + l_, branch, branch + w, len(row)]
    middles = [(start + end) / 2 for start, end in pairwise(edges)]
    for edge in edges[1:-1]:
        axis.axhline(edge - 0.5, color="black", lw=0.6)
        axis.axvline(edge - 0.5, color="black", lw=0.6)
    for ticks in (axis.set_xticks, axis.set_yticks):
        ticks(middles, [NAMES[part] for part in parts], fontsize=11)
    axis.tick_params(length=0)
    for side in ("left", "bottom", "top", "right"):
        axis.spines[side].set_visible(True)
    axis.set_title(
        r"(d) the tree's attention: $q$ sees $k$ iff $k\leq q<\mathrm{end}(k)$", loc="left", fontsize=10.5, pad=4
    )
    axis.set_xlabel("$k$, token that is seen", labelpad=2)
    axis.set_ylabel("$q$, token that looks", labelpad=7)

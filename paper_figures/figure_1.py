"""Figure 1, ours: plain DPO's rows, symmetric cross-conditioning as rows, and as one prefix tree.

All to scale; the token counts are those of the rows that ``inspo.prefix_tree.build_row`` lays out.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from inspo.conditioning import Conditioning
from inspo.pairs import PreferencePair
from inspo.prefix_tree import PackedRow, build_row
from inspo.sequences import scored_sequence
from paper_figures.drawing import COLORS, figure_item, plt
from paper_figures.table import Item

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Prompt, chosen and rejected response of an example: tokens, symbol, color where scored and where context.
LENGTHS = {"x": 100, "w": 200, "l": 150}
SYMBOLS = {"x": "x", "w": "y_w", "l": r"y_\ell"}
FILL = {"x": "0.80", "w": COLORS[0], "l": COLORS[1]}
PALE = {"w": "#CFE3F1", "l": "#F8DCC8"}
TITLE = "Figure 1. One pair under plain DPO, and under InSPO as two rows and as one prefix tree"


class Block(NamedTuple):
    """A run of tokens of one part of a pair; `given` is the context under which it can be scored."""

    part: str
    given: str = ""
    scored: bool = False

    @property
    def text(self) -> str:
        """Its symbol, and what is computed there."""
        if not self.given:
            return f"${SYMBOLS[self.part]}$"
        logp = rf"$\log\pi({SYMBOLS[self.part]}\mid {','.join(SYMBOLS[part] for part in self.given)})$"
        return f"${SYMBOLS[self.part]}$   {'' if self.scored else 'also '}{logp}"


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
    return figure_item(draw(), "figure_1", "drawn from inspo.prefix_tree")


def draw() -> Figure:
    """Three panels of blocks over token positions, and the tree's attention."""
    figure: Figure = plt().figure(figsize=(10.6, 5.0))
    grid = figure.add_gridspec(3, 2, width_ratios=(1.55, 1), left=0.01, right=0.985, top=0.9, bottom=0.17, hspace=0.5)
    padded = {conditioning: padded_tokens(conditioning) for conditioning in Conditioning}
    tree = {conditioning: tree_tokens(conditioning) for conditioning in Conditioning}
    x, w_after_l, l_after_w = Block("x"), Block("w", "xl", scored=True), Block("l", "xw", scored=True)
    panels = {
        f"(a) plain DPO: two rows, {padded[Conditioning.NONE]} tokens with padding": (
            (x, Block("w", "x", scored=True)),
            (x, Block("l", "x", scored=True)),
        ),
        f"(b) symmetric cross-conditioning, Eq. (10): two rows, {padded[Conditioning.SYMMETRIC]} tokens": (
            (x, Block("l"), w_after_l),
            (x, Block("w"), l_after_w),
        ),
        f"(c) the same as a prefix tree: one row, {tree[Conditioning.SYMMETRIC]} tokens": (
            (x, Block("l", "x"), w_after_l),
            (Block("w", "x"), l_after_w),
        ),
    }
    axes = [figure.add_subplot(grid[row, 0]) for row in range(len(panels))]
    for axis, (title, lines) in zip(axes, panels.items(), strict=True):
        _panel(axis, title, lines)
    _padding(axes[0])
    _branch_and_scale(axes[2])
    _attention(figure.add_subplot(grid[:, 1]), build_row([example()], Conditioning.SYMMETRIC))
    lengths = ", ".join(f"$|{SYMBOLS[part]}|={length}$" for part, length in LENGTHS.items())
    averaged = f"{tree[Conditioning.AVERAGED]} tokens as a tree and {padded[Conditioning.AVERAGED]} as four padded rows"
    caption = (
        f"Example with {lengths} tokens. Full color: scored; pale and hatched: context. A tree leaves out the last"
        " token of each leaf, which predicts nothing.\nThe context copy of a response stands where plain DPO scores it,"
        f" so the averaged objective takes {averaged}."
    )
    figure.suptitle(TITLE, x=0.01, y=0.985, ha="left", va="top", fontsize=12.5)
    figure.text(0.01, 0.005, caption, fontsize=9.5, color="0.2", va="bottom", linespacing=1.35)
    return figure


def _padding(axis: Any) -> None:
    """Behind the shorter of plain DPO's rows."""
    start, width = LENGTHS["x"] + LENGTHS["l"], LENGTHS["w"] - LENGTHS["l"]
    _box(axis, start, width, 1, fill=False, ec="0.5", ls=(0, (2, 2)), lw=0.8)
    axis.text(start + width / 2, -1.31, "padding", ha="center", va="center", fontsize=8, color="0.4")


def _branch_and_scale(axis: Any) -> None:
    """From the tree's prompt to its second branch; token positions below."""
    axis.plot([LENGTHS["x"] * 0.6] * 2 + [LENGTHS["x"]], [-0.62, -1.31, -1.31], color="0.25", lw=1)
    axis.set_xlabel("position in the sequence, tokens", labelpad=2)
    axis.set_xticks([0, 100, 200, 300, 400])
    axis.tick_params(axis="x", length=2.5, pad=1.5)
    axis.spines["bottom"].set_visible(True)


def _box(axis: Any, start: float, width: float, line: int, **options: Any) -> None:
    axis.add_patch(plt().Rectangle((start, -line - 0.62), width, 0.62, **options))


def _panel(axis: Any, title: str, lines: tuple[tuple[Block, ...], ...]) -> None:
    """Lines of blocks over token positions; a line without the prompt continues it."""
    axis.set_title(title, loc="left", fontsize=10.5, pad=4)
    axis.set_xlim(-2, sum(LENGTHS.values()) + 2)
    axis.set_ylim(-1.7, 0.08)
    axis.set(xticks=[], yticks=[])
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(False)
    axis.grid(visible=False)
    for line, blocks in enumerate(lines):
        start = 0 if blocks[0].part == "x" else LENGTHS["x"]
        for block in blocks:
            part, width = block.part, LENGTHS[block.part]
            style: dict[str, Any] = {"facecolor": FILL[part], "edgecolor": "white", "lw": 0.8}
            behind = None
            if part != "x" and not block.scored:
                style = {"facecolor": PALE[part], "edgecolor": FILL[part], "lw": 0, "hatch": "////"}
                behind = {"facecolor": PALE[part], "edgecolor": "none", "pad": 1.2}
            _box(axis, start, width, line, **style)
            color, place = "white" if block.scored else "black", (start + width / 2, -line - 0.32)
            axis.text(*place, block.text, ha="center", va="center", fontsize=10, color=color, bbox=behind)
            start += width


def _attention(axis: Any, row: PackedRow) -> None:
    """Which token of the tree sees which, by the rule that the kernels use."""
    rows = np.arange(len(row))
    seen = (rows[None, :] <= rows[:, None]) & (rows[:, None] < row.subtree_ends[None, :])
    axis.imshow(seen, cmap=plt().matplotlib.colors.ListedColormap(["white", "0.55"]), interpolation="nearest")
    axis.grid(visible=False)
    branch = row.paths[0][-1][1]  # where the first branch, y_l y_w, ends
    edges = [0, LENGTHS["x"], LENGTHS["x"] + LENGTHS["l"], branch, branch + LENGTHS["w"], len(row)]
    for edge in edges[1:-1]:
        axis.axhline(edge - 0.5, color="black", lw=0.6)
        axis.axvline(edge - 0.5, color="black", lw=0.6)
    middles = [(start + end) / 2 for start, end in pairwise(edges)]
    for ticks in (axis.set_xticks, axis.set_yticks):
        ticks(middles, [f"${SYMBOLS[part]}$" for part in "xlwwl"], fontsize=11)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(True)
    title = r"(d) the tree's attention: $q$ sees $k$ iff $k\leq q<\mathrm{end}(k)$"
    axis.set_title(title, loc="left", fontsize=10.5, pad=4)
    axis.set_xlabel("$k$, position of the key", labelpad=2)
    axis.set_ylabel("$q$, position of the query", labelpad=7)

"""Prop. 3.1's counterexample, completed over the preference that the paper leaves out.

The paper gives four win rates, of y1 and y2 against the reference's two responses a and b, and says
which of y1 and y2 the restricted optimum pi_bar picks. It does not give p = P(a > b), without which
the scores of a and b are unknown; and pi_bar may pick those too.
"""

from __future__ import annotations

import textwrap
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from scipy.optimize import brentq

from inspo.objectives import scores
from inspo.preferences import Array, PreferenceTable
from toy import simplex
from toy.config import ToyConfig
from toy.estimates import Floats
from toy.problems import witness
from toy.style import COLORS, Caption, heading, plt, spaced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = ("y1", "y2", "a", "b")
DASHES = {"y1": "-", "y2": "-.", "a": (0, (5, 1.5)), "b": ":"}
# (title, psi, reference over y1, y2, a, b, the response that the paper says pi_bar picks)
SETTINGS = (
    ("identity, reference (1/2, 1/2)", "identity", (0.0, 0.0, 0.5, 0.5), 1),
    ("log-odds, reference (1/2, 1/2)", "log_odds", (0.0, 0.0, 0.5, 0.5), 0),
    ("identity, reference (9/10, 1/10)", "identity", (0.0, 0.0, 0.9, 0.1), 0),
)
GRID = np.linspace(0.005, 0.995, 397)
LISTED = 7  # up to here pi*'s answers are listed one by one


def preferences(p: float) -> Array:
    """The paper's table with P(a > b) = p; P(y1 > y2) is free (1/2), as neither is a comparator.

    Args:
        p: P(a > b).

    Returns:
        (4, 4) preference matrix of y1, y2, a, b.
    """
    P = np.full((4, 4), 0.5)
    P[0, 2], P[0, 3], P[1, 2], P[1, 3], P[2, 3] = 0.9, 0.2, 0.56, 0.56, p
    for i, j in ((0, 2), (0, 3), (1, 2), (1, 3), (2, 3)):
        P[j, i] = 1 - P[i, j]
    return P


def compute(config: ToyConfig, user: PreferenceTable | None) -> dict[str, Any]:
    """The paper's counterexample over p, and pi_bar's pick over the references of one table.

    For a user's table the first part is left out: it is about the paper's own example.
    """
    rng = np.random.default_rng([config.seed, 3])
    table = witness() if user is None else user
    example = {"p": GRID.tolist(), "labels": list(LABELS), "settings": settings()} if user is None else None
    return {"example": example, "simplex": simplex.compute(table, rng)}


def settings() -> list[dict[str, Any]]:
    """Scores S_psi over p, and the exact range of p where the paper's claim holds.

    Returns:
        For each setting: psi, reference, claimed response, scores (4 by grid), winner over the
        grid, and the interval [low, high] of p on which pi_bar picks the claimed response.
    """
    return [_setting(*setting) for setting in SETTINGS]


def _setting(title: str, psi: str, mu: tuple[float, ...], claimed: int) -> dict[str, Any]:
    def lead(p: float) -> float:
        score = scores(preferences(p), mu, psi)
        return float(score[claimed] - np.delete(score, claimed).max())

    table = np.stack([scores(preferences(p), mu, psi) for p in GRID], axis=1)
    holds = np.flatnonzero(table[claimed] > np.delete(table, claimed, axis=0).max(axis=0))
    first, last = holds[0], holds[-1]
    low = 0.0 if first == 0 else float(brentq(lead, GRID[first - 1], GRID[first], xtol=1e-15))
    high = 1.0 if last == len(GRID) - 1 else float(brentq(lead, GRID[last], GRID[last + 1], xtol=1e-15))
    return {
        "title": title,
        "psi": psi,
        "reference": list(mu),
        "claimed": LABELS[claimed],
        "claim_holds_for_p_between": [low, high],
        "scores": table.tolist(),
        "winner": [LABELS[i] for i in table.argmax(axis=0)],
    }


def describe(results: dict[str, Any]) -> Caption:
    """The finding, how to read it, and the number."""
    shown = results["simplex"]
    first = shown["panels"][0]
    numbers = "of all references, " + ", ".join(
        f"{share:.0%} make pi_bar pick {label}" for label, share in first["shares"].items()
    )
    if shown["disagree"] is not None:
        numbers += f" (psi = identity); log-odds pick another response on {shown['disagree']:.0%}"
    above, problem = "Left: ", spaced(shown["problem"])
    if results["example"]:
        low, high = results["example"]["settings"][0]["claim_holds_for_p_between"]
        above = (
            "Above: score S(y) = expected psi(P(y > y')) over the reference's a and b, for every p = P(a > b), which "
            "the paper leaves out; gray where its statement about y1 and y2 is true, outside it a or b wins. Below: "
        )
        numbers += f"; the paper's first claim needs {low:.2f} < p < {high:.2f}"
    return Caption(
        "Prop. 3.1 completed: pi_bar's pick depends on psi, on the reference, and on a preference the paper leaves out"
        if results["example"]
        else f"pi_bar's pick on {problem} over the references, and pi*, which depends on none",
        f"{above}{_spanned(shown)} {heading(shown['problem'], shown['source'], 200)}; dot: uniform; "
        "right: pi*'s best answer to each comparator.",
        f"{numbers}.",
    )


def _spanned(shown: dict[str, Any]) -> str:
    """Which references the triangles hold: all, or those on three of more responses."""
    if len(shown["labels"]) == len(shown["corners"]):
        return "the simplex of all references on"
    corners = ", ".join(shown["corners"])
    return f"references on three responses alone ({corners}; the shares are over references on all) of"


def draw(results: dict[str, Any]) -> Figure:
    """Above the four scores over p and which response pi_bar picks, below the simplices."""
    example = results["example"]
    figure: Figure = plt().figure(figsize=(11.5, 8.2 if example else 3.9))
    if not example:
        _draw_simplex(figure, results["simplex"])
    else:
        upper, lower = cast("Any", figure).subfigures(2, 1, height_ratios=[4.6, 3.6])
        _draw_example(upper, example)
        _draw_simplex(lower, results["simplex"])
    return figure


def _draw_example(figure: Any, example: dict[str, Any]) -> None:
    colors = dict(zip(LABELS, COLORS, strict=False))
    axes = figure.subplots(2, 3, sharex=True, gridspec_kw={"height_ratios": [8, 1], "hspace": 0.08, "wspace": 0.24})
    figure.subplots_adjust(left=0.06, right=0.99, top=0.85, bottom=0.13)
    p = np.array(example["p"])
    for (top, strip), setting in zip(axes.T, example["settings"], strict=True):
        low, high = setting["claim_holds_for_p_between"]
        top.axvspan(low, high, color="0.92", zorder=0)
        for label, line in zip(example["labels"], setting["scores"], strict=True):
            top.plot(p, line, color=colors[label], lw=2, ls=DASHES[label], label=label)
        top.set_title(setting["title"])
        top.text(
            (low + high) / 2,
            0.985,
            f"paper's claim ({setting['claimed']})\nholds: {low:.3f} < p < {high:.3f}",
            ha="center",
            va="top",
            fontsize=8.5,
            transform=top.get_xaxis_transform(),
        )
        top.set_ylabel("score, nats" if setting["psi"] == "log_odds" else "score, probability")
        _draw_winners(strip, p, setting["winner"], colors)
    axes[0, 1].set_ylim(-1.6, 2.2)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(0.05, 1.0), ncols=4)


def _draw_winners(strip: Any, p: Array, winners: list[str], colors: dict[str, str]) -> None:
    edges = [0, *[i for i in range(1, len(winners)) if winners[i] != winners[i - 1]], len(winners)]
    for start, end in pairwise(edges):
        left, right = (0.0 if start == 0 else p[start]), (1.0 if end == len(winners) else p[end])
        strip.axvspan(left, right, color=colors[winners[start]])
        strip.text((left + right) / 2, 0.5, winners[start], ha="center", va="center", color="white", fontweight="bold")
    strip.set(xlim=(0, 1), yticks=[], xlabel="p = P(a > b), and pi_bar's pick")
    strip.grid(visible=False)
    for side in ("left", "bottom"):
        strip.spines[side].set_visible(False)


def _draw_simplex(figure: Any, results: dict[str, Any]) -> None:
    """A simplex for each psi, and beside them pi*, which no reference changes."""
    axes = figure.subplots(1, len(results["panels"]) + 1)
    figure.subplots_adjust(left=0.04, right=0.99, top=0.86, bottom=0.06, wspace=0.1)
    place = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    flat = simplex.triangles() @ place
    picked = sorted({i for panel in results["panels"] for i in panel["picks"]})
    colors = {i: COLORS[position % len(COLORS)] for position, i in enumerate(picked)}
    for axis, panel in zip(axes, results["panels"], strict=False):
        picks = np.array(panel["picks"])
        for i in np.unique(picks):
            chosen = flat[picks == i]
            collection = _polygons(chosen, colors[int(i)])
            axis.add_collection(collection)
            label = results["labels"][int(i)]
            middle = chosen.mean(axis=(0, 1))
            if np.hypot(*(middle - place.mean(axis=0))) < 0.1:
                middle += (0, 0.12)  # off the uniform reference's dot
            axis.text(
                *middle,
                f"{label}\n{panel['shares'][label]:.0%}",
                ha="center",
                va="center",
                color="white",
                weight="bold",
                # So that it can be read where its patch is narrower than the name.
                path_effects=[_halo(colors[int(i)])],
            )
        for corner, label, offset in zip(place, results["corners"], ((0, -0.07), (0, -0.07), (0, 0.03)), strict=True):
            axis.text(*(corner + offset), f"all on {label}", ha="center", size=8.5)
        axis.plot(*place.mean(axis=0), "o", color="white", mec="black", ms=6)
        axis.set(xlim=(-0.12, 1.12), ylim=(-0.12, 0.98), aspect="equal")
        axis.set_axis_off()
        psi = panel["psi"].replace("_", "-")
        axis.set_title(f"pi_bar over references, psi = {psi}")
    _draw_pi_star(axes[-1], results)


def _halo(color: str) -> Any:
    from matplotlib.patheffects import withStroke

    return withStroke(linewidth=3, foreground=color)


def _polygons(triangles: Floats, color: str) -> Any:
    """The small triangles as one collection, without seams."""
    from matplotlib.collections import PolyCollection

    # Thousands of them: pixels in the SVG, where shapes would make it megabytes.
    return PolyCollection(list(triangles), facecolors=color, edgecolors=color, linewidths=0.6, rasterized=True)


def _by_answer(pi_star: dict[str, list[str]]) -> list[tuple[str, str]]:
    """The responses that each answer is best to, in a few lines, for a table of many."""
    grouped: dict[str, list[str]] = {}
    for label, answers in pi_star.items():
        grouped.setdefault(" or ".join(answers), []).append(label)
    return [(textwrap.fill(f"best answer to {', '.join(to)}:", 30), answer) for answer, to in grouped.items()]


def _draw_pi_star(axis: Any, results: dict[str, Any]) -> None:
    axis.set_axis_off()
    axis.set_title("pi*, for every psi and reference")
    lines = [(f"best answer to {label}:", " or ".join(answers)) for label, answers in results["pi_star"].items()]
    if len(lines) > LISTED:
        lines = _by_answer(results["pi_star"])
    rows = sum(1 + left.count("\n") for left, _ in lines)
    top, step = 0.54 + min(0.08 * rows, 0.36), min(0.16, 0.72 / rows)
    for left, answer in lines:
        here = 1 + left.count("\n")
        height, top = top - step * here / 2, top - step * here
        small = {"va": "center", "transform": axis.transAxes, "size": 8.5 if rows > LISTED else 9.5}
        axis.text(0.5, height, left, ha="right", **small)
        axis.text(0.54, height, answer, weight="bold", **small)
    if kept := results["pi_r"]:
        shares = ", ".join(
            f"{share:.0%} at beta = {beta:g}" for beta, share in zip(kept["betas"], kept["shares"], strict=True)
        )
        note = f"Eq. (7)'s optimum with r = L/2 picks the same for\n{shares}\nof references"
        axis.text(0.5, -0.02, note, ha="center", va="bottom", size=8.5, transform=axis.transAxes)

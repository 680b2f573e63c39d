"""Plot (a): Prop. 3.1's counterexample, completed over the preference that the paper leaves out.

The paper gives four win rates, of y1 and y2 against the reference's two responses a and b, and says
which of y1 and y2 the restricted optimum pi_bar picks. It does not give p = P(a > b), without which
the scores of a and b are unknown; and pi_bar may pick those too.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import brentq

from inspo.objectives import scores
from inspo.preferences import Array
from toy.style import COLOURS, caption, plt, save_space

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


def compute() -> dict[str, Any]:
    """Scores S_psi over p, and the exact range of p where the paper's claim holds.

    Returns:
        For each setting: psi, reference, claimed response, scores (4 by grid), winner over the
        grid, and the interval [low, high] of p on which pi_bar picks the claimed response.
    """
    settings = []
    for title, psi, mu, claimed in SETTINGS:

        def all_scores(p: float, psi: str = psi, mu: tuple[float, ...] = mu) -> Array:
            return scores(preferences(p), mu, psi)

        def lead(p: float, claimed: int = claimed, all_scores: Callable[[float], Array] = all_scores) -> float:
            s = all_scores(p)
            return float(s[claimed] - np.delete(s, claimed).max())

        table = np.stack([all_scores(p) for p in GRID], axis=1)
        holds = [lead(p) > 0 for p in GRID]
        first, last = holds.index(True), len(holds) - 1 - holds[::-1].index(True)
        low = 0.0 if first == 0 else float(brentq(lead, GRID[first - 1], GRID[first], xtol=1e-15))
        high = 1.0 if last == len(GRID) - 1 else float(brentq(lead, GRID[last], GRID[last + 1], xtol=1e-15))
        settings.append(
            {
                "title": title,
                "psi": psi,
                "reference": list(mu),
                "claimed": LABELS[claimed],
                "claim_holds_for_p_between": [low, high],
                "scores": table.tolist(),
                "winner": [LABELS[i] for i in table.argmax(axis=0)],
            }
        )
    return {"p": GRID.tolist(), "labels": list(LABELS), "settings": settings}


def draw(results: dict[str, Any]) -> Figure:
    """One panel per setting: the four scores over p, and below which response pi_bar picks."""
    colours = dict(zip(LABELS, COLOURS, strict=False))
    figure: Figure
    figure, axes = plt().subplots(
        2, 3, figsize=(11.5, 4.9), sharex=True, gridspec_kw={"height_ratios": [8, 1], "hspace": 0.08, "wspace": 0.24}
    )
    figure.subplots_adjust(left=0.06, right=0.99, top=0.83, bottom=0.13)
    p = np.array(results["p"])
    for (top, strip), setting in zip(axes.T, results["settings"], strict=True):
        low, high = setting["claim_holds_for_p_between"]
        top.axvspan(low, high, color="0.92", zorder=0)
        for label, line in zip(results["labels"], setting["scores"], strict=True):
            top.plot(p, line, color=colours[label], lw=2, ls=DASHES[label], label=label)
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
        _draw_winners(strip, p, setting["winner"], colours)
    axes[0, 1].set_ylim(-1.6, 2.2)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(0.05, 0.98), ncols=4)
    caption(
        figure,
        "Prop. 3.1 completed: pi_bar's pick depends on psi, on the reference, and on a preference the paper leaves out",
        "Score S(y) = expected psi(P(y > y')) over the reference's a and b, for every p = P(a > b). Grey: where the "
        "paper's statement about y1 and y2 is true. Outside it, a or b wins.",
    )
    return figure


def _draw_winners(strip: Any, p: Array, winners: list[str], colours: dict[str, str]) -> None:
    edges = [0, *[i for i in range(1, len(winners)) if winners[i] != winners[i - 1]], len(winners)]
    for start, end in pairwise(edges):
        left, right = (0.0 if start == 0 else p[start]), (1.0 if end == len(winners) else p[end])
        strip.axvspan(left, right, color=colours[winners[start]])
        strip.text((left + right) / 2, 0.5, winners[start], ha="center", va="center", color="white", fontweight="bold")
    save_space(strip)
    strip.set_xlim(0, 1)
    strip.set_xlabel("p = P(a > b), and pi_bar's pick")

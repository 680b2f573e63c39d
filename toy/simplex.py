"""pi_bar's pick over the simplex of references, for the lower half of plot (a); and whether pi_r keeps pi*'s."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logit

from inspo.objectives import apply_psi, best_responses
from inspo.preferences import PreferenceTable
from toy.baselines import TIE, optima
from toy.problems import NotApplicableError
from toy.style import COLORS
from toy.training import Floats

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

SIDE = 72
DRAWS = 4000
SHARE_DRAWS = 100_000
BETAS = (1.0, 0.1, 0.01)
LISTED = 7  # up to here pi*'s answers are listed one by one


def compute(table: PreferenceTable, rng: np.random.Generator) -> dict[str, Any]:
    """Which response pi_bar picks for every reference over three responses, for both psi.

    Three responses span the simplex: those that pi_bar picks most often over Dirichlet(1) references
    on all of them. The pick may be any response of the table.

    Raises:
        NotApplicableError: fewer than three responses.
    """
    if len(table.P) < 3:
        raise NotApplicableError("with two responses no reference and no psi changes pi_bar's pick (audit, row 1)")
    corners = _corners(table.P, rng)
    triangles = _triangles()
    references = rng.dirichlet(np.ones(3), SHARE_DRAWS)
    panels, everywhere = [], []
    for psi in ("identity", "log_odds"):
        if psi == "log_odds" and not ((table.P > 0) & (table.P < 1)).all():
            continue
        scores = np.stack([apply_psi(table.P, psi)[:, corner] for corner in corners], axis=1)
        picks = optima(triangles.mean(axis=1) @ scores.T).argmax(axis=1)
        drawn = optima(references @ scores.T)
        everywhere.append(drawn)
        shares = {table.labels[i]: float(drawn[:, i].mean()) for i in np.unique(picks)}
        panels.append({"psi": psi, "picks": picks.tolist(), "shares": shares})
    best = best_responses(table.P, atol=TIE)
    answers = {table.labels[j]: [table.labels[i] for i in np.flatnonzero(best[:, j])] for j in range(len(table.labels))}
    return {
        "problem": table.name,
        "source": table.source,
        "labels": list(table.labels),
        "corners": [table.labels[i] for i in corners],
        "panels": panels,
        "disagree": float((everywhere[0] != everywhere[1]).any(axis=1).mean()) if len(panels) > 1 else None,
        "pi_star": answers,
        "pi_r": _kept(table.P, rng.dirichlet(np.ones(len(table.P)), DRAWS)),
    }


def _kept(P: Floats, references: Floats) -> dict[str, Any] | None:
    """Share of references, by beta, for which pi_r still picks pi*'s answer to every response."""
    if not ((P > 0) & (P < 1)).all():
        return None
    limits = largest_beta(P, references)
    return {"betas": list(BETAS), "shares": [float((limits > beta).mean()) for beta in BETAS]}


def largest_beta(P: Floats, references: Floats) -> Floats:
    """Below which beta every most probable answer of pi_r is a best response (audit, row 7).

    pi_r is Eq. (7)'s optimum at r = logit(P) / 2, which Thm 4.1 says that Eq. (9) recovers:
    pi_r(i | j) is proportional to mu_i exp(logit(P[i, j]) / (2 beta)), so the reference outweighs
    the preference once beta is large.

    Args:
        P: (K, K) in (0, 1).
        references: (N, K), positive.

    Returns:
        (N,); inf where no beta is too large.
    """
    L, best, log_mu = logit(P), best_responses(P, atol=TIE), np.log(references)
    worst = np.full(len(references), np.inf)
    for j in range(len(P)):
        others = ~best[:, j]
        kept = np.full(len(references), -np.inf)
        for i in np.flatnonzero(best[:, j]):
            push = np.maximum(log_mu[:, others] - log_mu[:, [i]], 0)
            with np.errstate(divide="ignore"):
                limits = (L[i, j] - L[others, j]) / (2 * push)
            kept = np.maximum(kept, limits.min(axis=1, initial=np.inf))
        worst = np.minimum(worst, kept)
    return worst


def _corners(P: Floats, rng: np.random.Generator) -> list[int]:
    if len(P) == 3:
        return [0, 1, 2]
    picks = optima(rng.dirichlet(np.ones(len(P)), DRAWS) @ P.T).argmax(axis=1)
    often = np.bincount(picks, minlength=len(P)) + P.mean(axis=1) / len(P)
    return sorted(np.argsort(-often)[:3].tolist())


def _triangles() -> Floats:
    """(SIDE^2, 3, 3) small triangles tiling the simplex, each with three corners of three coordinates."""
    found = []
    for a in range(SIDE):
        for b in range(SIDE - a):
            found.append([(a, b), (a + 1, b), (a, b + 1)])
            if a + b < SIDE - 1:
                found.append([(a + 1, b), (a + 1, b + 1), (a, b + 1)])
    corners = np.array(found, dtype=np.float64) / SIDE
    return np.concatenate([corners, 1 - corners.sum(axis=-1, keepdims=True)], axis=-1)


def draw(figure: SubFigure | Any, results: dict[str, Any]) -> None:
    """A simplex for each psi, and beside them pi*, which no reference changes."""
    axes = figure.subplots(1, len(results["panels"]) + 1)
    figure.subplots_adjust(left=0.04, right=0.99, top=0.86, bottom=0.06, wspace=0.1)
    place = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    flat = _triangles() @ place
    picked = sorted({i for panel in results["panels"] for i in panel["picks"]})
    colors = {i: COLORS[position % len(COLORS)] for position, i in enumerate(picked)}
    for axis, panel in zip(axes, results["panels"], strict=False):
        picks = np.array(panel["picks"])
        for i in np.unique(picks):
            chosen = flat[picks == i]
            collection = _polygons(chosen, colors[int(i)])
            axis.add_collection(collection)
            label = results["labels"][int(i)]
            axis.text(
                *chosen.mean(axis=(0, 1)),
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

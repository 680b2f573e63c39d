"""Prop. 3.1's counterexample, completed over the preference that the paper leaves out.

The paper gives four win rates, of y1 and y2 against the reference's two responses a and b, and says
which of y1 and y2 the restricted optimum pi_bar picks. It does not give p = P(a > b), without which
the scores of a and b are unknown; and pi_bar may pick those too.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import brentq

from inspo.objectives import scores
from inspo.preferences import Array, PreferenceTable
from toy import simplex
from toy.config import ToyConfig
from toy.estimates import Floats
from toy.problems import witness
from toy.style import COLORS, Page, Sheet, drawable, handles_of, sheet
from toy.words import PI_BAR, PI_STAR, PSI, Caption, codes, key, literal, spaced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = ("y1", "y2", "a", "b")
DASHES = {"y1": "-", "y2": "-.", "a": (0, (5, 1.5)), "b": ":"}
# (psi, reference over y1, y2, a, b, the response that the paper says pi_bar picks)
SETTINGS = (
    ("identity", (0.0, 0.0, 0.5, 0.5), 1),
    ("log_odds", (0.0, 0.0, 0.5, 0.5), 0),
    ("identity", (0.0, 0.0, 0.9, 0.1), 0),
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


def _setting(psi: str, mu: tuple[float, ...], claimed: int) -> dict[str, Any]:
    def lead(p: float) -> float:
        score = scores(preferences(p), mu, psi)
        return float(score[claimed] - np.delete(score, claimed).max())

    table = np.stack([scores(preferences(p), mu, psi) for p in GRID], axis=1)
    holds = np.flatnonzero(table[claimed] > np.delete(table, claimed, axis=0).max(axis=0))
    first, last = holds[0], holds[-1]
    low = 0.0 if first == 0 else float(brentq(lead, GRID[first - 1], GRID[first], xtol=1e-15))
    high = 1.0 if last == len(GRID) - 1 else float(brentq(lead, GRID[last], GRID[last + 1], xtol=1e-15))
    return {
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
    names, items = codes(shown["labels"])
    called = dict(zip(shown["labels"], names, strict=True))
    problem, k = spaced(shown["problem"]), len(names)
    above = ""
    if results["example"]:
        low, high = results["example"]["settings"][0]["claim_holds_for_p_between"]
        above = (
            rf"Above: score $S(y)$ = expected $\psi(P(y\succ y'))$ over the reference's a and b, for every "
            rf"$p=P(a\succ b)$, which the paper leaves out; gray where its statement about y1 and y2 is true, "
            rf"outside it "
            f"a or b wins; the strip is {PI_BAR}'s pick. Below: "
        )
    three = (
        "" if k == 3 else f" alone, those that it picks most often ({', '.join(called[c] for c in shown['corners'])})"
    )
    mine = "" if shown["source"] == shown["problem"] else f" ({literal(shown['source'])})"
    note = ""
    if kept := shown["pi_r"]:
        shares = ", ".join(
            rf"{share:.0%} at $\beta={beta:g}$" for beta, share in zip(kept["betas"], kept["shares"], strict=True)
        )
        note = f" Eq. (7)'s optimum with $r=L/2$ picks the same in {shares} of references."
    numbers = f"of references drawn evenly from all on the {k} responses, " + _shares(shown["panels"][0], called)
    if shown["disagree"] is not None:
        numbers += rf" ($\psi$ = identity); log-odds pick another response on {shown['disagree']:.0%}"
    if results["example"]:
        numbers += f"; the paper's first claim needs ${low:.2f} < p < {high:.2f}$"
    return Caption(
        f"Prop. 3.1 completed: {PI_BAR}'s pick depends on {PSI}, on the reference, and on a preference the "
        f"paper leaves out"
        if results["example"]
        else f"{PI_BAR}'s pick on {problem} over the references, and {PI_STAR}, which depends on none",
        f"{above}{PI_BAR}'s pick on {problem}{mine} for references on three responses{three}; dot: uniform. "
        f"{PI_STAR} answers, whatever {PSI} and the reference: {_answers(shown['pi_star'], called)}.{note}",
        f"{numbers}.",
        key("pi_bar", "pi_star", "psi", *(["L"] if note else []), *(["W"] if results["example"] else []), items=items),
    )


def _shares(panel: dict[str, Any], called: dict[str, str]) -> str:
    """How often each response is picked; those below half a percent together."""
    often = {label: share for label, share in panel["shares"].items() if share >= 0.005}
    rest = sum(panel["shares"].values()) - sum(often.values())
    ordered = sorted(often.items(), key=lambda item: -item[1])
    picked = [
        f"{share:.{0 if share < 0.995 or share == 1 else 1}%} make {PI_BAR} pick {called[label]}"
        for label, share in ordered
    ]
    return ", ".join(picked) + (f", {rest:.1%} others" if rest >= 5e-4 else "")


def _answers(pi_star: dict[str, list[str]], called: dict[str, str]) -> str:
    """What pi* answers to which comparators, in a line."""
    grouped: dict[str, list[str]] = {}
    for label, answers in pi_star.items():
        grouped.setdefault(" or ".join(called[answer] for answer in answers), []).append(called[label])
    return "; ".join(f"{answer} to {', '.join(to)}" for answer, to in grouped.items())


def draw(results: dict[str, Any], page: Page) -> Figure:
    """First the four scores over p and which response pi_bar picks, then a simplex for each psi."""
    example, shown = results["example"], results["simplex"]
    settings_ = example["settings"] if example else []
    panels = sheet(page, len(settings_) + len(shown["panels"]), across=3 if example else 2, aspect=0.92)
    for axis, setting in zip(panels.axes, settings_, strict=False):
        _draw_setting(panels, axis, example, setting)
    names, _ = codes(shown["labels"])
    picked = sorted({i for panel in shown["panels"] for i in panel["picks"]})
    colors = {i: COLORS[position % len(COLORS)] for position, i in enumerate(picked)}
    for axis, panel in zip(panels.axes[len(settings_) :], shown["panels"], strict=True):
        _draw_simplex(axis, panel, shown, [drawable(name) for name in names], colors)
        axis.set_title(f"{PI_BAR} over references, {PSI} = {panel['psi'].replace('_', '-')}")
    if example:
        panels.legend(handles_of(panels.axes[:1]))
    return panels.figure


def _draw_setting(panels: Sheet, axis: Any, example: dict[str, Any], setting: dict[str, Any]) -> None:
    colors, p = dict(zip(LABELS, COLORS, strict=False)), np.array(example["p"])
    low, high = setting["claim_holds_for_p_between"]
    axis.axvspan(low, high, color="0.92", zorder=0)
    for label, scored in zip(example["labels"], setting["scores"], strict=True):
        axis.plot(p, scored, color=colors[label], lw=2, ls=DASHES[label], label=label)
    mu = ",".join({0.5: "1/2", 0.9: "9/10", 0.1: "1/10"}[weight] for weight in setting["reference"][2:])
    psi = {"identity": "q", "log_odds": r"\log\,q/(1-q)"}[setting["psi"]]
    panels.title(axis, rf"$\psi(q)={psi}$, $\mu=({mu})$")
    bottom, top = (-1.9, 2.2) if setting["psi"] == "log_odds" else (-0.03, 1.0)
    axis.set(xlim=(0, 1), ylim=(bottom, top), xlabel=rf"$p=P(a\succ b)$, and {PI_BAR}'s pick")
    axis.set_ylabel("score, nats" if setting["psi"] == "log_odds" else "score, probability")
    axis.text(
        (low + high) / 2,
        0.985,
        f"the paper's claim ({setting['claimed']})\nholds: ${low:.3f} < p < {high:.3f}$",
        ha="center",
        va="top",
        size=panels.page.letters - 1,
        transform=axis.get_xaxis_transform(),
    )
    winners = setting["winner"]
    edges = [0, *[i for i in range(1, len(winners)) if winners[i] != winners[i - 1]], len(winners)]
    for start, end in pairwise(edges):
        left, right = (0.0 if start == 0 else p[start]), (1.0 if end == len(winners) else p[end])
        axis.axvspan(left, right, ymax=0.085, color=colors[winners[start]], lw=0, zorder=3)
        look = {"ha": "center", "va": "center", "weight": "bold", "path_effects": [_halo("white")], "zorder": 4}
        axis.text((left + right) / 2, 0.0425, winners[start], transform=axis.get_xaxis_transform(), **look)


def _draw_simplex(
    axis: Any, panel: dict[str, Any], shown: dict[str, Any], names: list[str], colors: dict[int, str]
) -> None:
    """Which response pi_bar picks over the references on three."""
    place = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    flat, picks = simplex.triangles() @ place, np.array(panel["picks"])
    for i in np.unique(picks):
        chosen = flat[picks == i]
        axis.add_collection(_polygons(chosen, colors[int(i)]))
        middle = chosen.mean(axis=(0, 1))
        if np.hypot(*(middle - place.mean(axis=0))) < 0.1:
            middle += (0, 0.12)  # off the uniform reference's dot
        share = f"\n{panel['shares'].get(shown['labels'][int(i)], 0):.0%}" if len(names) == 3 else ""
        look = {"color": "white", "weight": "bold", "path_effects": [_halo(colors[int(i)])]}
        # With a halo, so that it can be read where its patch is narrower than the name.
        axis.text(*middle, f"{names[int(i)]}{share}", ha="center", va="center", **look)
    for corner, label, up in zip(place, shown["corners"], (False, False, True), strict=True):
        name = names[shown["labels"].index(label)]
        axis.text(
            corner[0], corner[1] + (0.03 if up else -0.03), f"all on {name}", ha="center", va="bottom" if up else "top"
        )
    axis.plot(*place.mean(axis=0), "o", color="white", mec="black", ms=6)
    axis.set(xlim=(-0.12, 1.12), ylim=(-0.12, 0.98), aspect="equal")
    axis.set_axis_off()


def _halo(color: str) -> Any:
    from matplotlib.patheffects import withStroke

    return withStroke(linewidth=3, foreground=color)


def _polygons(triangles: Floats, color: str) -> Any:
    """The small triangles as one collection, without seams."""
    from matplotlib.collections import PolyCollection

    # Thousands of them: pixels in the SVG, where shapes would make it megabytes.
    return PolyCollection(list(triangles), facecolors=color, edgecolors=color, linewidths=0.6, rasterized=True)

"""DPO orders responses by Borda's score, not by the log-odds that it is said to maximize.

DPO's optimum solves sum_j nu_j sigma(c_i - c_j) = sum_j nu_j P[i, j], and the left side increases with
c_i: so its order is that of S_id under the pair sampling nu, whatever pi_ref is and whether or not a
reward explains the preferences. Only under Bradley-Terry is that also the order of S_log-odds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inspo.objectives import scores
from inspo.preferences import PreferenceTable
from toy.baselines import TIE, bradley_terry_reward, optima, rlhf
from toy.config import ToyConfig
from toy.estimates import Floats, estimate
from toy.problems import random_problems, require_interior, witness
from toy.style import BLACK, DPO, INS, Page, drawable, sheet
from toy.words import PI_BAR, PSI, Caption, codes, key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

K = 5
SCALE = 2.0
PLOTTED = 150
NAMED = 4  # up to so many responses every dot has its pair's name
SHARES = tuple(np.linspace(0.1, 0.9, 41).round(4).tolist())


def compute(config: ToyConfig, user: PreferenceTable | None) -> dict[str, Any]:
    """Differences of DPO's reward and of both scores for every pair, and the witness under other sampling."""
    require_interior(user)
    rng = np.random.default_rng([config.seed, 7])
    P = random_problems(config.problems, K, rng, SCALE) if user is None else user.P[None]
    k = P.shape[-1]
    mu = np.full(P.shape[:2], 1 / k)
    i, j = np.triu_indices(k, 1)
    quantities = {
        "reward": bradley_terry_reward(P, mu),
        "identity": scores(P, mu),
        "log_odds": scores(P, mu, "log_odds"),
    }
    differences = {name: (score[:, i] - score[:, j]) for name, score in quantities.items()}
    order = {name: _order(difference) for name, difference in differences.items()}
    wrong = {name: order[name] != order["reward"] for name in ("identity", "log_odds")}
    top = {name: optima(score) for name, score in quantities.items()}
    return {
        "problems": len(P),
        "responses": k,
        "pairs": int(wrong["identity"].size),
        "labels": None if user is None else list(user.labels),
        "out_of_order": {name: _share(flags) for name, flags in wrong.items()},
        "other_pick": {name: _share((top[name] != top["reward"]).any(axis=-1, keepdims=True)) for name in wrong},
        # Rounded, but finer than TIE, so that the picture shows the same pairs out of order as are counted.
        "differences": {name: table[:PLOTTED].ravel().round(11).tolist() for name, table in differences.items()},
        "sampling": None if user is not None else _sampling(),
    }


def _order(difference: Floats) -> Floats:
    """1 where the first is ahead, -1 where the second is, 0 where they are tied but for rounding."""
    return np.where(np.abs(difference) <= TIE, 0.0, np.sign(difference))


def _share(flags: Any) -> dict[str, Any]:
    """Count of (problems, pairs) flags, and their share over problems."""
    return {"count": int(flags.sum()), **estimate(flags.mean(axis=-1))}


def _sampling() -> dict[str, Any]:
    """The witness: lead of y1 over y2 as pairs are drawn with a growing share of y3."""
    P = witness().P
    nu = np.array([[(1 - share) / 2, (1 - share) / 2, share] for share in SHARES])
    tables = np.broadcast_to(P, (len(nu), 3, 3))
    reward, borda = bradley_terry_reward(tables, nu), scores(tables, nu)
    uniform = np.full(3, 1 / 3)

    def lead(score: Floats) -> list[float]:
        return [float(x) for x in score[:, 0] - score[:, 1]]

    return {
        "share_of_y3": list(SHARES),
        "dpo_lead": lead(reward),
        "borda_lead": lead(borda),
        "uniform_reward": bradley_terry_reward(P, uniform).tolist(),
        "uniform_policy": rlhf(P, uniform, 1.0).tolist(),
        "uniform_log_odds": scores(P, uniform, "log_odds").tolist(),
    }


def describe(results: dict[str, Any]) -> Caption:
    """The finding, how to read it, and the number."""
    borda, log_odds = (results["out_of_order"][name] for name in ("identity", "log_odds"))
    other = results["other_pick"]["log_odds"]
    kind = (
        "your table"
        if results["problems"] == 1
        else f"{results['problems']} random problems, $K={results['responses']}$"
    )
    sampling = (
        " Third: the witness W, with y3 in more and more of the pairs: DPO changes its favorite exactly where "
        "Borda's score does, although preferences and log-odds stay as they are."
        if results["sampling"]
        else ""
    )
    labels = results["labels"]
    items = codes(labels)[1] if labels and len(labels) <= NAMED else ""
    return Caption(
        _headline(results["pairs"], borda["count"], log_odds["count"]),
        f"A dot per pair of responses of {kind}: DPO's reward difference against that of the expected preference "
        "(first) and of the expected log-odds (second); in the shaded part the "
        f"two disagree.{sampling}",
        f"{borda['mean']:.0%} of pairs out of Borda's order, {log_odds['mean']:.1%} out of log-odds' order"
        + (
            f"; {PI_BAR} for log-odds picks another response than DPO in {other['mean']:.1%} of problems."
            if results["problems"] > 1
            else "."
        ),
        key("Borda", "psi", "pi_bar", *(["W"] if sampling else []), items=items),
    )


def _headline(pairs: int, not_bordas: int, not_log_odds: int) -> str:
    if not_bordas:
        return f"Of {pairs} pairs DPO orders {pairs - not_bordas} as Borda does, {pairs - not_log_odds} as log-odds do"
    if not_log_odds:
        return f"DPO's order is Borda's, in all of {pairs} pairs: it maximizes {PSI} = identity, not log-odds"
    return f"DPO's order is Borda's, in all of {pairs} pairs; here expected log-odds order them alike"


def draw(results: dict[str, Any], page: Page) -> Figure:
    """Two scatters of score against reward, and the witness under other pair sampling."""
    panels = sheet(page, 3 if results["sampling"] else 2, aspect=0.95)
    reward = np.array(results["differences"]["reward"])
    for axis, name, title, label in zip(
        panels.axes,
        ("identity", "log_odds"),
        ("identity", "log-odds"),
        ("Borda: $S$, probability", "$S$ for log-odds, nats"),
        strict=False,
    ):
        score = np.array(results["differences"][name])
        # Orient every pair so that DPO prefers the first: those the other way round are then below zero.
        direction = _order(reward)
        x, y = np.abs(reward), np.where(direction == 0, -np.abs(score), score * direction)
        wrong = _order(score) != direction
        reach = max(float(np.abs(y).max()), 1e-3)
        bottom = min(-0.08 * reach, 1.4 * y.min())
        axis.axhspan(bottom, 0, color="0.9", zorder=0)
        axis.plot(x[~wrong], y[~wrong], ".", color=DPO, ms=6 if len(x) > 100 else 12, alpha=0.5)
        axis.plot(x[wrong], y[wrong], "x", color=INS, ms=6, mew=1.3)
        axis.axhline(0, color=BLACK, lw=1)
        axis.set_ylim(bottom, 1.08 * max(y.max(), 0.08 * reach))
        axis.set_xlim(-0.04 * x.max(), 1.1 * x.max() if x.max() else 1)
        axis.set(xlabel="DPO's reward: winner - loser, nats", ylabel=label + ": winner - loser")
        if results["labels"] and len(results["labels"]) <= NAMED:
            _name_pairs(axis, x, y, direction, results["labels"])
        panels.title(axis, f"{title}: {results['out_of_order'][name]['mean']:.1%} out of order")
    if results["sampling"]:
        _draw_sampling(panels.axes[-1], results["sampling"])
        panels.title(panels.axes[-1], "W: sampling decides")
    return panels.figure


def _name_pairs(axis: Any, x: Floats, y: Floats, direction: Floats, labels: list[str]) -> None:
    """Each dot's pair, winner first; those that lie on each other side by side."""
    names, _ = codes(labels)
    pairs = zip(*np.triu_indices(len(labels), 1), strict=True)
    here: dict[tuple[float, float], list[str]] = {}
    for (i, j), at, height, sign in zip(pairs, x, y, direction, strict=True):
        first, second = (i, j) if sign >= 0 else (j, i)
        point = float(round(at, 3)), float(round(height, 3))
        here.setdefault(point, []).append(rf"{drawable(names[first])} $\succ$ {drawable(names[second])}")
    for point, found in here.items():
        axis.annotate("\n".join(found), point, (-7, 3), textcoords="offset points", ha="right", va="bottom")
    axis.set_xlim(-0.35 * x.max(), 1.1 * x.max() if x.max() else 1)


def _draw_sampling(axis: Any, sampling: dict[str, Any]) -> None:
    share = np.array(sampling["share_of_y3"])
    dpo, borda = np.array(sampling["dpo_lead"]), np.array(sampling["borda_lead"])
    axis.plot(share, dpo, color=DPO, lw=2.2, label="DPO's reward, nats")
    axis.plot(share, borda, color=BLACK, lw=2, ls=(0, (5, 1.5)), label="Borda's score, probability")
    axis.axhline(0, color=BLACK, lw=1)
    crossing = float(np.interp(0, borda, share))
    axis.axvline(crossing, color="0.5", lw=1, ls=":")
    axis.annotate(f"both at {crossing:.2f}", (crossing, 0), xytext=(8, -16), textcoords="offset points")
    axis.set(xlabel="share of y3 among sampled responses", ylabel="lead of y1 over y2")
    axis.legend(loc="lower right")

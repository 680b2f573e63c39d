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
from toy.style import BLACK, DPO, INS, Caption, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

K = 5
SCALE = 2.0
PLOTTED = 150
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
        else f"{results['problems']} random problems, K = {results['responses']}"
    )
    sampling = (
        " Right: the witness W, with y3 in more and more of the pairs: DPO changes its favorite exactly where "
        "Borda's score does, although preferences and log-odds stay as they are."
        if results["sampling"]
        else ""
    )
    return Caption(
        _headline(results["pairs"], borda["count"], log_odds["count"]),
        f"A dot per pair of responses of {kind}: DPO's reward difference against that of the expected preference "
        f"(left) and of the expected log-odds ({'middle' if sampling else 'right'}); in the shaded part the "
        f"two disagree.{sampling}",
        f"{borda['mean']:.0%} of pairs out of Borda's order, {log_odds['mean']:.1%} out of log-odds' order"
        + (
            f"; pi_bar for log-odds picks another response than DPO in {other['mean']:.1%} of problems."
            if results["problems"] > 1
            else "."
        ),
    )


def _headline(pairs: int, not_bordas: int, not_log_odds: int) -> str:
    if not_bordas:
        return f"Of {pairs} pairs DPO orders {pairs - not_bordas} as Borda does, {pairs - not_log_odds} as log-odds do"
    if not_log_odds:
        return f"DPO's order is Borda's, in all of {pairs} pairs: it maximizes psi = identity, not log-odds"
    return f"DPO's order is Borda's, in all of {pairs} pairs; here expected log-odds order them alike"


def draw(results: dict[str, Any]) -> Figure:
    """Two scatters of score against reward, and the witness under other pair sampling."""
    panels = 3 if results["sampling"] else 2
    margins = {"left": 0.2 / panels, "top": 0.92, "bottom": 0.12, "wspace": 0.28}
    figure, axes = subplots(1, panels, (4.2 * panels, 4.4), margins=margins)
    reward = np.array(results["differences"]["reward"])
    for axis, name, title, label in zip(
        axes,
        ("identity", "log_odds"),
        ("identity", "log-odds"),
        ("Borda: S, probability", "S for log-odds, nats"),
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
        axis.plot(x[~wrong], y[~wrong], ".", color=DPO, ms=4 if len(x) > 100 else 9, alpha=0.5)
        axis.plot(x[wrong], y[wrong], "x", color=INS, ms=5, mew=1.2)
        axis.axhline(0, color=BLACK, lw=1)
        axis.set_ylim(bottom, 1.05 * max(y.max(), 0.08 * reach))
        axis.set(xlabel="DPO's reward: winner - loser, nats", ylabel=label + ": winner - loser")
        out = results["out_of_order"][name]
        axis.set_title(f"{title}: {out['mean']:.1%} out of order", loc="left")
    if results["sampling"]:
        _draw_sampling(axes[-1], results["sampling"])
    return figure


def _draw_sampling(axis: Any, sampling: dict[str, Any]) -> None:
    share = np.array(sampling["share_of_y3"])
    dpo, borda = np.array(sampling["dpo_lead"]), np.array(sampling["borda_lead"])
    axis.plot(share, dpo, color=DPO, lw=2.2, label="DPO's reward, nats")
    axis.plot(share, borda, color=BLACK, lw=2, ls=(0, (5, 1.5)), label="Borda's score, probability")
    axis.axhline(0, color=BLACK, lw=1)
    crossing = float(np.interp(0, borda, share))
    axis.axvline(crossing, color="0.5", lw=1, ls=":")
    axis.annotate(f"both at {crossing:.2f}", (crossing, 0), xytext=(8, -16), textcoords="offset points", size=9)
    axis.set(xlabel="share of y3 among sampled responses", ylabel="lead of y1 over y2")
    axis.set_title("W: sampling decides", loc="left")
    axis.legend(loc="lower right")

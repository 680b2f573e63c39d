"""How far Eq. (6) is from being able to represent preferences, on two readings of it.

With h = r - beta log Z, Eq. (6) says P = sigma(2 h), and Z's definition says that
E_{y ~ mu} exp(h(y, y') / beta) is 1 for every y'.

Strictly, Eq. (6) holds for y = y' too. Then exp(L / (2 beta)) has to have all these means equal to 1; and
as h is antisymmetric, E cosh(h / beta) = 1, so h = 0 and P = 1/2. How far a table is from that can be
measured: by the means, and by the distance to the nearest realizable model, 1/2.

Generously, Eq. (6) is asked of two different responses only. Then h(y', y') is free, and makes up for what
the others leave: possible exactly where sum_{y != y'} mu(y) exp(L(y, y') / (2 beta)) < 1 for every y'.
That holds for large beta alone; and, times mu(y') and summed over y', it says that
sum_{y != y'} mu(y) mu(y') (cosh(L / (2 beta)) - 1) is below sum_y mu(y)^2, the chance that two draws from
the reference coincide: next to nothing for a language model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logit, rel_entr

from inspo.preferences import PreferenceTable
from toy.config import ToyConfig
from toy.estimates import Floats
from toy.problems import cyclic, human_tables, is_interior, reference, require_interior, separable, witness
from toy.style import BLACK, COLORS, GREEN, INS, Caption, plt, spaced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BETAS = tuple(np.unique(np.append(np.logspace(-1.2, 1, 34).round(5), [0.1, 0.5, 1.0])).tolist())
# The betas that the paper tries with DPO (Appendix D.1).
TRIED = (0.1, 0.5)
DASHES = ("-", (0, (5, 1.5)), "-.", ":")


def column_sums(P: Floats, mu: Floats, beta: float) -> Floats:
    """(K,) E_{y ~ mu} exp(L(y, y') / (2 beta)) for each comparator y'; all 1 if Eq. (6) can hold, also at y = y'."""
    return np.asarray(mu @ np.exp(logit(P) / (2 * beta)))


def sums_without_self(P: Floats, mu: Floats, beta: float) -> Floats:
    """(K,) the same without y = y'; all below 1 exactly if Eq. (6) can hold for different responses."""
    return np.asarray(column_sums(P, mu, beta) - mu)


def smallest_beta(P: Floats, mu: Floats) -> float | None:
    """The beta above which, and only above which, Eq. (6) can hold for different responses.

    A sum over y != y' is convex in 1 / beta and below 1 where that is 0, so it reaches 1 once or never.

    Returns:
        0 where every beta will do (P = 1/2), None where none will (a certain preference).
    """
    from scipy.optimize import brentq

    if not is_interior(P):
        return None

    def excess(inverse: float, j: int) -> float:
        return float(np.log(sums_without_self(P, mu, 1 / inverse)[j]))

    largest = np.inf
    for j, column in enumerate(logit(P).T):
        wins = column > 0
        if wins.any():
            # Where a single term reaches 1.
            enough = float((-2 * np.log(mu[wins]) / column[wins]).min())
            largest = min(largest, float(brentq(excess, 1e-9 * enough, 1.01 * enough, args=(j,), xtol=1e-12 * enough)))
    return float(1 / largest)


def distance(P: Floats, mu: Floats) -> dict[str, float]:
    """Total variation and KL over mu x mu from P to 1/2, all that Eq. (6) can represent if it holds at y = y' too."""
    weights = np.outer(mu, mu)
    kl = rel_entr(P, 0.5) + rel_entr(1 - P, 0.5)
    return {"total_variation": float((weights * np.abs(P - 0.5)).sum()), "kl": float((weights * kl).sum())}


def compute(config: ToyConfig, user: PreferenceTable | None) -> dict[str, Any]:
    """Both kinds of sums against beta for one table; distance and smallest beta of all of them."""
    require_interior(user)
    shown = witness() if user is None else user
    mu = reference(config.reference, len(shown.P))
    sums = [column_sums(shown.P, mu, beta) for beta in BETAS]
    others = [sums_without_self(shown.P, mu, beta) for beta in BETAS]
    tables = [user] if user is not None else [witness(), separable(), cyclic(2 / 3), *human_tables()]
    return {
        "problem": shown.name,
        "source": shown.source,
        "labels": list(shown.labels),
        "betas": list(BETAS),
        "column_sums": np.transpose(sums).tolist(),
        "mean_cosh": [float(total @ mu) for total in sums],
        "sums_without_self": np.transpose(others).tolist(),
        "smallest_beta": smallest_beta(shown.P, mu),
        "collision": float((mu**2).sum()),
        "tables": [_measured(table, reference(config.reference, len(table.P))) for table in tables],
    }


def _measured(table: PreferenceTable, mu: Floats) -> dict[str, Any]:
    return {"table": table.name, **distance(table.P, mu), "smallest_beta": smallest_beta(table.P, mu)}


def describe(results: dict[str, Any]) -> Caption:
    """The finding, how to read it, and the number."""
    at = results["betas"].index(0.5)
    sums = [line[at] for line in results["column_sums"]]
    nearest = min(results["tables"], key=lambda row: row["total_variation"])
    which = f"the nearest table, {spaced(nearest['table'])}," if len(results["tables"]) > 1 else "the table"
    where = f"{which} is {nearest['total_variation']:.3f} away from 1/2"
    shown, problem = results["smallest_beta"], spaced(results["problem"])
    return Caption(
        _headline(results),
        "With h = r - beta log Z, Eq. (6) is P = sigma(2h). Left: asked of every y and y', it needs the means over y "
        f"of exp(L(y, y') / 2 beta) on {problem} to be 1 for every y' (thick: their mean, E cosh(h / beta), "
        "above 1 unless P = 1/2). Middle: asked of different responses only, h(y', y') is free and the sums over the "
        "others need only be below 1, as in the shade; but then P must be so near 1/2 that the sum over y != y' of "
        "mu mu' (cosh(L / 2 beta) - 1) is below the chance that two draws from pi_ref coincide, "
        f"{results['collision']:.2g} here and next to nothing for a language model. Right: mean distance from 1/2, and "
        "the beta that each table needs in the second reading; gray: betas that the paper tries.",
        f"at beta = 1/2 the means on {problem} are {', '.join(f'{s:.3f}' for s in sums[:4])}"
        f"{', ...' if len(sums) > 4 else ''} instead of 1, and {where}; of different responses {problem} "
        f"can be represented {'with any beta' if shown == 0 else f'above beta = {shown:.3g} only'}.",
    )


def _headline(results: dict[str, Any]) -> str:
    tables = results["tables"]
    if not any(row["total_variation"] for row in tables):
        return f"Eq. (6) can represent {spaced(results['problem'])}, where every preference is 1/2, and nothing else"
    needed = [row["smallest_beta"] for row in tables if row["smallest_beta"] is not None]
    which = "none of these tables below" if len(tables) > 1 else f"{spaced(results['problem'])} only above"
    return (
        "Eq. (6), called mild, can represent only P = 1/2; asked of different responses alone, "
        f"{which} beta = {min(needed):.2g}"
    )


def draw(results: dict[str, Any]) -> Figure:
    """Both sums against beta, then distance and smallest beta of every table."""
    figure: Figure = plt().figure(figsize=(14, 4.8))
    # The tables' names need room between the two plots of sums, with one y axis, and the two of tables.
    places = (0.05, 0.25), (0.315, 0.25), (0.7, 0.14), (0.86, 0.125)
    strict, generous, bars, dots = (figure.add_axes((x, 0.12, width, 0.81)) for x, width in places)
    generous.sharey(strict)
    generous.tick_params(labelleft=False)
    _draw_sums(strict, results, "column_sums")
    _draw_sums(generous, results, "sums_without_self")
    strict.plot(results["betas"], results["mean_cosh"], color=BLACK, lw=3, alpha=0.75, label="mean: E cosh(h / beta)")
    strict.set_ylabel("mean (left), sum (right) of exp(L / 2 beta)")
    strict.set_title("asked of all y, y': needs 1", loc="left")
    generous.set_title("asked of y != y': needs < 1", loc="left")
    strict.legend(loc="upper right")
    smallest = results["smallest_beta"]
    if smallest < results["betas"][-1]:
        generous.axvspan(max(smallest, results["betas"][0]), results["betas"][-1], color=GREEN, alpha=0.18, lw=0)
        generous.text(
            0.97, 0.95, f"possible above\nbeta = {smallest:.3g}", transform=generous.transAxes, ha="right", va="top"
        )
    _draw_tables(bars, dots, results["tables"])
    return figure


def _draw_sums(axis: Any, results: dict[str, Any], name: str) -> None:
    few = len(results["labels"]) <= 4
    for i, line in enumerate(results[name]):
        label = f"y' = {results['labels'][i]}" if few else ("each comparator" if i == 0 else None)
        color, dash = (COLORS[i], DASHES[i]) if few else ("0.6", "-")
        axis.plot(results["betas"], line, color=color, ls=dash, lw=2 if few else 1, label=label)
    axis.axhline(1, color=BLACK, lw=1)
    axis.axvspan(*TRIED, color="0.93", lw=0, zorder=0)
    axis.set(xscale="log", yscale="log", xlabel="beta", xlim=(results["betas"][0], results["betas"][-1]))
    low = min(min(line) for line in results["sums_without_self"])
    axis.set_ylim(max(1e-2, low / 2), 1e4)
    axis.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])


def _draw_tables(bars: Any, dots: Any, tables: list[dict[str, Any]]) -> None:
    rows = sorted(tables, key=lambda row: row["total_variation"])
    names = [spaced(row["table"]) for row in rows]
    bars.barh(range(len(rows)), [row["total_variation"] for row in rows], color=INS, height=0.62)
    for y, row in enumerate(rows):
        bars.text(row["total_variation"] + 0.006, y, f"{row['total_variation']:.3f}", va="center", size=8.5)
    bars.set_yticks(range(len(rows)), names, size=8.5)
    room = 0.6 + max(0, 4 - len(rows)) / 2  # so that a single bar is a bar
    bars.set(xlabel="total variation to 1/2", xlim=(0, 0.5), ylim=(-room, len(rows) - 1 + room))
    bars.set_title("distance from 1/2", loc="left")
    for y, row in enumerate(rows):
        beta = row["smallest_beta"]
        if beta:
            dots.plot(beta, y, "o", color=GREEN, ms=7)
            dots.annotate(f"{beta:.2f}", (beta, y), xytext=(7, 0), textcoords="offset points", va="center", size=8.5)
        else:
            text = "none: certain" if beta is None else "any"
            dots.text(0.03, y, text, transform=dots.get_yaxis_transform(), va="center", size=8.5)
    dots.axvspan(*TRIED, color="0.93", lw=0, zorder=0)
    dots.set(xscale="log", xlabel="beta", xlim=(0.06, 30), ylim=bars.get_ylim())
    dots.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    dots.set_yticks(range(len(rows)), [""] * len(rows))
    dots.set_title("smallest beta, y != y'", loc="left")
    for axis in (bars, dots):
        axis.grid(visible=False, axis="y")

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
from toy.style import BLACK, COLORS, GREEN, Page, handles_of, patch, sheet
from toy.words import BETA, PI_REF, Y_, Caption, codes, key, spaced

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
    _, items = codes(results["labels"])
    reach = f"with any {BETA}" if shown == 0 else rf"above $\beta={shown:.3g}$ only"
    several, few = len(results["tables"]) > 1, len(results["labels"]) <= len(DASHES)
    third = f" Third: the {BETA} above which this can be." if several else ""
    tables = " Each table's distance from 1/2 is the mean of $|P-1/2|$." if several else ""
    return Caption(
        _headline(results),
        rf"With $h=r-\beta\,\log\,Z$, Eq. (6) is $P=\sigma(2h)$. First: asked of every $y$ and {Y_}, it needs "
        rf"the means "
        rf"over $y$ of $\exp(L(y,y')/2\beta)$ on {problem} to be 1 for every {Y_} (thick: their mean, "
        r"$E\,\cosh(h/\beta)$, above 1 unless $P=1/2$). Second: asked of different responses only, $h(y',y')$ "
        r"is free and "
        "the sums over the others need only be below 1, as in the shade; but then $P$ must be so near 1/2 that the sum "
        rf"over $y\neq y'$ of $\mu\,\mu'(\cosh(L/2\beta)-1)$ is below the chance that two draws from {PI_REF} "
        rf"coincide, "
        f"{results['collision']:.2g} here and next to nothing for a language model.{third} Gray: the {BETA} "
        f"that the paper tries.{tables}",
        rf"at $\beta=1/2$ the means on {problem} are {', '.join(f'{s:.3f}' for s in sums[:4])}"
        f"{', ...' if len(sums) > 4 else ''} instead of 1, and {where}; of different responses {problem} "
        f"can be represented {reach}.",
        key("mu", "beta", "L", "y'", *(["W"] if several else []), items=items if few else ""),
    )


def _headline(results: dict[str, Any]) -> str:
    tables = results["tables"]
    if not any(row["total_variation"] for row in tables):
        return f"Eq. (6) can represent {spaced(results['problem'])}, where every preference is 1/2, and nothing else"
    needed = [row["smallest_beta"] for row in tables if row["smallest_beta"] is not None]
    which = "none of these tables below" if len(tables) > 1 else f"{spaced(results['problem'])} only above"
    return (
        "Eq. (6), called mild, can represent only $P=1/2$; asked of different responses alone, "
        rf"{which} $\beta={min(needed):.2g}$"
    )


def draw(results: dict[str, Any], page: Page) -> Figure:
    """Both sums against beta, then every table's smallest beta."""
    several = len(results["tables"]) > 1
    panels = sheet(page, 3 if several else 2, least=2.2, aspect=0.95, ratios=(4, 4, 3) if several else None)
    strict, generous = panels.axes[:2]
    generous.sharey(strict)
    _draw_sums(strict, results, "column_sums")
    _draw_sums(generous, results, "sums_without_self")
    mean = r"mean: $E\,\cosh(h/\beta)$"
    strict.plot(results["betas"], results["mean_cosh"], color=BLACK, lw=3, alpha=0.75, label=mean)
    strict.set_ylabel(r"mean over $y$ of $\exp(L/2\beta)$")
    generous.set_ylabel(r"sum over $y\neq y'$ of $\mu\,\exp(L/2\beta)$")
    panels.title(strict, "asked of all $y$, $y'$: every line at 1")
    panels.title(generous, r"asked of $y\neq y'$: all below 1")
    smallest, (first, last) = results["smallest_beta"], (results["betas"][0], results["betas"][-1])
    if smallest < last:
        generous.axvspan(max(smallest, first), last, color=GREEN, alpha=0.18, lw=0)
        words = f"possible above\n$\\beta={smallest:.3g}$"
        generous.text(0.97, 0.95, words, transform=generous.transAxes, ha="right", va="top")
    handles = [*handles_of([strict]), patch(f"{BETA} that the paper tries", "0.9")]
    if several:
        _draw_tables(panels.axes[2], results["tables"])
        panels.title(panels.axes[2], rf"smallest {BETA} for $y\neq y'$")
    panels.legend(handles)
    return panels.figure


def _draw_sums(axis: Any, results: dict[str, Any], name: str) -> None:
    few = len(results["labels"]) <= len(DASHES)
    names, _ = codes(results["labels"])
    for i, sums in enumerate(results[name]):
        label = f"$y'$ = {names[i]}" if few else (f"one line per {Y_}" if i == 0 else None)
        color, dash = (COLORS[i], DASHES[i]) if few else ("0.6", "-")
        axis.plot(results["betas"], sums, color=color, ls=dash, lw=2 if few else 1, label=label)
    axis.axhline(1, color=BLACK, lw=1)
    axis.axvspan(*TRIED, color="0.93", lw=0, zorder=0)
    axis.set(xscale="log", yscale="log", xlabel=BETA, xlim=(results["betas"][0], results["betas"][-1]))
    low = min(min(line) for line in results["sums_without_self"])
    axis.set_ylim(max(1e-2, low / 2), 1e4)
    axis.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])


def _draw_tables(axis: Any, tables: list[dict[str, Any]]) -> None:
    """The beta that each table needs; beside its name how far it is from 1/2."""
    rows = sorted(tables, key=lambda row: row["total_variation"])
    axis.axvspan(*TRIED, color="0.93", lw=0, zorder=0)
    for y, row in enumerate(rows):
        beta = row["smallest_beta"]
        if beta:
            axis.plot(beta, y, "o", color=GREEN, ms=8)
            axis.annotate(f"{beta:.2f}", (beta, y), (8, 0), textcoords="offset points", va="center")
        else:
            words = f"no {BETA}: a preference is certain" if beta is None else f"any {BETA}"
            axis.text(0.04, y, words, transform=axis.get_yaxis_transform(), va="center", style="italic", color="0.3")
    axis.set(xscale="log", xlabel=BETA, xlim=(0.06, 30), ylim=(-0.6, len(rows) - 0.4))
    axis.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    names = [spaced(row["table"]).replace("school subjects", "school").replace("1940 ", "") for row in rows]
    axis.set_yticks(
        range(len(rows)),
        [f"{name}\n{row['total_variation']:.3f} from 1/2" for name, row in zip(names, rows, strict=True)],
    )
    axis.grid(visible=False, axis="y")

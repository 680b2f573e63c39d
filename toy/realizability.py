"""Plot (c): how far Eq. (6) is from being able to represent preferences, any preferences.

With h = r - beta log Z, Eq. (6) says P = sigma(2 h). By Z's definition E_{y ~ mu} exp(h(y, y') / beta)
is 1 for every y', and by P(y > y') + P(y' > y) = 1 h is antisymmetric; so E cosh(h / beta) = 1, hence
h = 0 and P = 1/2. How far a table is from that can be measured: by the column sums
E_y exp(L / (2 beta)), which ought to be 1, and by the distance to the nearest realizable model, 1/2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logit, rel_entr

from inspo.preferences import PreferenceTable
from toy.config import ToyConfig
from toy.problems import cyclic, reference, require_interior, separable, witness
from toy.style import BLACK, COLOURS, INS, Caption, caption, plt
from toy.tables import built_in
from toy.training import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BETAS = tuple(np.unique(np.append(np.logspace(-1.2, 1, 34).round(5), [0.1, 0.5, 1.0])).tolist())
DASHES = ("-", (0, (5, 1.5)), "-.", ":")


def column_sums(P: Floats, mu: Floats, beta: float) -> Floats:
    """(K,) E_{y ~ mu} exp(L(y, y') / (2 beta)) for each comparator y'; all 1 if Eq. (6) can hold."""
    return np.asarray(mu @ np.exp(logit(P) / (2 * beta)))


def distance(P: Floats, mu: Floats) -> dict[str, float]:
    """Total variation and KL from P to the only model that Eq. (6) can represent, 1/2, over mu x mu."""
    weights = np.outer(mu, mu)
    kl = rel_entr(P, 0.5) + rel_entr(1 - P, 0.5)
    return {"total_variation": float((weights * np.abs(P - 0.5)).sum()), "kl": float((weights * kl).sum())}


def compute(config: ToyConfig, user: PreferenceTable | None) -> dict[str, Any]:
    """Column sums and E cosh against beta for one table, distances for all of them."""
    if user is not None:
        require_interior(user)
    shown = witness() if user is None else user
    mu = reference(config.reference, len(shown.P))
    sums = [column_sums(shown.P, mu, beta) for beta in BETAS]
    tables = [user] if user is not None else [witness(), separable(), cyclic(2 / 3), *built_in()]
    return {
        "problem": shown.name,
        "source": shown.source,
        "labels": list(shown.labels),
        "betas": list(BETAS),
        "column_sums": np.transpose(sums).tolist(),
        "mean_cosh": [float(total @ mu) for total in sums],
        "distances": [
            {"table": table.name, **distance(table.P, reference(config.reference, len(table.P)))} for table in tables
        ],
    }


def describe(results: dict[str, Any]) -> Caption:
    """The finding, how to read it, and the number."""
    at = results["betas"].index(0.5)
    sums = [line[at] for line in results["column_sums"]]
    nearest = min(results["distances"], key=lambda row: row["total_variation"])
    return Caption(
        "Eq. (6), called mild, can represent only P = 1/2: no table comes close, and Bradley-Terry is no exception",
        f"Left: E over y of exp(L(y, y') / 2 beta) on {results['problem']}, which Eq. (6) needs to be 1 for every "
        "comparator y' (thick: their mean, E cosh(h / beta), above 1 unless P = 1/2 everywhere). Right: mean distance "
        "from each table's preferences to the nearest that Eq. (6) can represent; 1/2 would be the largest possible.",
        f"at beta = 1/2 the sums on {results['problem']} are {', '.join(f'{s:.3f}' for s in sums[:4])}"
        f"{', ...' if len(sums) > 4 else ''} instead of 1; the nearest of the tables shown is {nearest['table']}, "
        f"{nearest['total_variation']:.3f} away.",
    )


def draw(results: dict[str, Any]) -> Figure:
    """Column sums against beta, and distances to the nearest realizable model."""
    figure: Figure
    figure, (sums, bars) = plt().subplots(1, 2, figsize=(11, 4.6), gridspec_kw={"width_ratios": [6, 5]})
    figure.subplots_adjust(left=0.07, right=0.985, top=0.93, bottom=0.12, wspace=0.42)
    few = len(results["labels"]) <= 4
    for i, line in enumerate(results["column_sums"]):
        label = f"y' = {results['labels'][i]}" if few else ("each comparator" if i == 0 else None)
        colour, dash = (COLOURS[i], DASHES[i]) if few else ("0.6", "-")
        sums.plot(results["betas"], line, color=colour, ls=dash, lw=2 if few else 1, label=label)
    sums.plot(results["betas"], results["mean_cosh"], color=BLACK, lw=3, alpha=0.75, label="mean: E cosh(h / beta)")
    sums.axhline(1, color=BLACK, lw=1)
    sums.annotate(
        "1: what Eq. (6) needs", (results["betas"][-1], 1), xytext=(-2, -13), textcoords="offset points", ha="right"
    )
    sums.set(xscale="log", yscale="log", xlabel="beta", ylabel="E exp(L / 2 beta)")
    sums.set_ylim(max(1e-2, min(map(min, results["column_sums"])) / 2), 1e4)
    sums.set_xlim(results["betas"][0], results["betas"][-1])
    sums.set_title(f"{results['problem']}: {results['source']}"[:60], loc="left")
    sums.legend(loc="upper right")
    rows = sorted(results["distances"], key=lambda row: row["total_variation"])
    bars.barh(range(len(rows)), [row["total_variation"] for row in rows], color=INS, height=0.62)
    for y, row in enumerate(rows):
        bars.text(
            row["total_variation"] + 0.004,
            y,
            f"{row['total_variation']:.3f}   KL {row['kl']:.3f}",
            va="center",
            size=8.5,
        )
    bars.set_yticks(range(len(rows)), [row["table"].replace("_", " ") for row in rows], size=8.5)
    bars.set(xlabel="total variation to the nearest realizable model", xlim=(0, 0.5))
    bars.grid(visible=False, axis="y")
    bars.set_title("how far away", loc="left")
    caption(figure, describe(results))
    return figure

"""Plot (b): how often pi_bar's pick depends on psi or on the reference, and what that costs, against K.

Every P[i, j] with i < j is drawn uniformly from (0, 1); for a user's table the problems are its own
sub-tables of K responses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logit

from inspo.preferences import PreferenceTable
from toy.config import ToyConfig
from toy.problems import NotApplicableError
from toy.style import BLACK, BLUE, GREEN, INS, Caption, caption, plt
from toy.training import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (2, 3, 4, 5, 8, 16, 32)
LARGE = 16  # from here on a fifth of the draws
RATES = {
    "mu_flip": ("another reference", BLUE, "o", "-"),
    "psi_flip": ("log-odds instead of identity", INS, "s", (0, (5, 1.5))),
    "common_best": ("one response best against all", GREEN, "^", "-."),
}


def compute(config: ToyConfig, user: PreferenceTable | None) -> dict[str, Any]:
    """Flip rates, share of problems without a gap, and mean gap, each with its standard error."""
    rng = np.random.default_rng([config.seed, 2])
    sizes = [k for k in SIZES if user is None or k <= len(user.P)]
    if user is not None and len(user.P) not in sizes:
        sizes.append(len(user.P))
    if len(sizes) < 2:
        raise NotApplicableError("it compares sub-tables of different sizes, and yours has two responses")
    rows = []
    for k in sizes:
        n = config.draws // 5 if k >= LARGE else config.draws
        P = _uniform(n, k, rng) if user is None else _sub_tables(user.P, n, k, rng)
        measured = _measure(P, rng.dirichlet(np.ones(k), size=(2, n)))
        rows.append({"k": k, "draws": n} | {name: _mean(numbers) for name, numbers in measured.items()})
    return {"source": "uniform" if user is None else user.name, "sizes": rows}


def _uniform(n: int, k: int, rng: np.random.Generator) -> Floats:
    upper = np.triu(rng.uniform(size=(n, k, k)), 1)
    lower = np.tril(1 - np.swapaxes(upper, -1, -2), -1)
    return np.asarray(upper + lower + np.eye(k) / 2)


def _sub_tables(P: Floats, n: int, k: int, rng: np.random.Generator) -> Floats:
    chosen = rng.permuted(np.tile(np.arange(len(P)), (n, 1)), axis=1)[:, :k]
    return np.asarray(P[chosen[:, :, None], chosen[:, None, :]])


def _measure(P: Floats, references: Floats) -> dict[str, Floats]:
    """Per problem: does the pick flip, is one response best against all, and by how much pi* leads."""
    uniform = P.mean(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_odds = logit(P).mean(axis=-1)
    first, second = ((P @ mu[..., None])[..., 0].argmax(axis=-1) for mu in references)
    best = P.max(axis=-2)
    return {
        "psi_flip": (uniform.argmax(axis=-1) != log_odds.argmax(axis=-1)) & np.isfinite(log_odds).all(axis=-1),
        "mu_flip": first != second,
        "common_best": (best[:, None, :] <= P).all(axis=-1).any(axis=-1),
        "gap": best.mean(axis=-1) - uniform.max(axis=-1),
    }


def _mean(numbers: Floats) -> dict[str, float]:
    return {"mean": float(numbers.mean()), "se": float(numbers.std(ddof=1) / np.sqrt(len(numbers)))}


def describe(results: dict[str, Any]) -> Caption:
    """The finding, how to read it, and the number."""
    rows = {row["k"]: row for row in results["sizes"]}
    at = rows.get(5, results["sizes"][-1])
    kind = (
        "Every preference drawn uniformly from (0, 1)"
        if results["source"] == "uniform"
        else f"Random sub-tables of {results['source']}"
    )
    return Caption(
        "The more responses, the more pi_bar depends on psi and on the reference; with two it never does",
        f"{kind}; {results['sizes'][0]['draws']} draws for each K (fewer from K = {LARGE} on), bars are standard "
        "errors. Left: how often pi_bar's pick changes between two random references, or between psi = identity and "
        "log-odds, and how often one response answers every comparator best, where it cannot change. "
        "Right: V(pi*) - V(pi_bar), psi = identity, uniform reference.",
        f"at K = {at['k']} another reference changes the pick in {at['mu_flip']['mean']:.1%} of problems, another psi "
        f"in {at['psi_flip']['mean']:.1%}, and the gap is {at['gap']['mean']:.3f}.",
    )


def draw(results: dict[str, Any]) -> Figure:
    """Rates against K, and the gap against K."""
    rows = results["sizes"]
    k = [row["k"] for row in rows]
    figure: Figure
    figure, (rates, gap) = plt().subplots(1, 2, figsize=(10.5, 4.4))
    figure.subplots_adjust(left=0.07, right=0.985, top=0.93, bottom=0.12, wspace=0.18)
    for name, (label, colour, marker, dash) in RATES.items():
        mean, se = ([row[name][what] for row in rows] for what in ("mean", "se"))
        rates.errorbar(k, mean, yerr=se, color=colour, marker=marker, ls=dash, lw=2, ms=7, label=label)
    gap.errorbar(
        k, [row["gap"]["mean"] for row in rows], yerr=[row["gap"]["se"] for row in rows], color=BLACK, marker="o", lw=2
    )
    for axis in (rates, gap):
        axis.set_xscale("log", base=2)
        axis.set_xticks(k, [str(size) for size in k])
        axis.minorticks_off()
        axis.set(xlabel="responses K", ylim=(0, None))
    rates.set(ylabel="share of problems")
    rates.set_title("how often the pick changes, or cannot", loc="left")
    rates.set_ylim(0, 1.22)
    rates.legend(loc="upper right")
    gap.set(ylabel="V(pi*) - V(pi_bar)")
    gap.set_title("what not seeing the comparator costs", loc="left")
    for row in rows[1:]:
        gap.annotate(
            f"{row['gap']['mean']:.3f}",
            (row["k"], row["gap"]["mean"]),
            xytext=(-6, 5),
            textcoords="offset points",
            ha="right",
            size=8.5,
        )
    gap.margins(y=0.12)
    caption(figure, describe(results))
    return figure

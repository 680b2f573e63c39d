"""How often pi_bar's pick depends on psi or on the reference, and what that costs, against K.

Every P[i, j] with i < j is drawn uniformly from (0, 1); for a user's table the problems are its own
sub-tables of K responses.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logit

from inspo.preferences import PreferenceTable
from toy.baselines import TIE, optima
from toy.config import ToyConfig
from toy.estimates import Floats, estimate
from toy.problems import NotApplicableError, is_interior
from toy.style import BLACK, BLUE, GREEN, INS, Page, handles_of, sheet
from toy.words import PI_BAR, PSI, Caption, key, spaced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (2, 3, 4, 5, 8, 16, 32)
LARGE = 16  # from here on a fifth of the draws
CAUSES = {"psi_flip": PSI, "mu_flip": "the reference"}
RATES = {
    "mu_flip": ("another reference changes it", BLUE, "o", "-"),
    "psi_flip": ("log-odds change it", INS, "s", (0, (5, 1.5))),
    "common_best": ("one response is best against all", GREEN, "^", "-."),
}


def compute(config: ToyConfig, user: PreferenceTable | None) -> dict[str, Any]:
    """Flip rates, share of problems without a gap, and mean gap, each with its standard error."""
    rng = np.random.default_rng([config.seed, 2])
    sizes = [k for k in SIZES if user is None or k <= len(user.P)]
    if user is not None and len(user.P) not in sizes:
        sizes.append(len(user.P))
    if len(sizes) < 2:
        raise NotApplicableError("it compares sub-tables of different sizes, and yours has two responses")
    certain = user is not None and not is_interior(user.P)
    rows = []
    for k in sizes:
        n = config.draws // 5 if k >= LARGE else config.draws
        P = _uniform(n, k, rng) if user is None else _sub_tables(user.P, n, k, rng)
        references = rng.dirichlet(np.ones(k), size=(2, n))
        measured = _measure(P, references) | ({} if certain else {"psi_flip": _psi_flips(P)})
        rows.append({"k": k, "draws": n} | {name: estimate(numbers) for name, numbers in measured.items()})
    return {"source": "uniform" if user is None else user.name, "certain": certain, "sizes": rows}


def _uniform(n: int, k: int, rng: np.random.Generator) -> Floats:
    upper = np.triu(rng.uniform(size=(n, k, k)), 1)
    lower = np.tril(1 - np.swapaxes(upper, -1, -2), -1)
    return np.asarray(upper + lower + np.eye(k) / 2)


def _sub_tables(P: Floats, n: int, k: int, rng: np.random.Generator) -> Floats:
    chosen = rng.permuted(np.tile(np.arange(len(P)), (n, 1)), axis=1)[:, :k]
    return np.asarray(P[chosen[:, :, None], chosen[:, None, :]])


def _measure(P: Floats, references: Floats) -> dict[str, Floats]:
    """Per problem: does the reference change the picks, is one response best against all, how far pi* leads."""
    first, second = (optima((P @ mu[..., None])[..., 0]) for mu in references)
    best = P.max(axis=-2)
    return {
        "mu_flip": (first != second).any(axis=-1),
        "common_best": (best[:, None, :] - TIE <= P).all(axis=-1).any(axis=-1),
        "gap": best.mean(axis=-1) - P.mean(axis=-1).max(axis=-1),
    }


def _psi_flips(P: Floats) -> Floats:
    """Per problem: do log-odds, under the uniform reference, allow pi_bar other picks than psi = identity?"""
    return np.asarray((optima(P.mean(axis=-1)) != optima(logit(P).mean(axis=-1))).any(axis=-1))


def describe(results: dict[str, Any]) -> Caption:
    """The finding, how to read it, and the number."""
    rows = {row["k"]: row for row in results["sizes"]}
    at = rows.get(5, results["sizes"][-1])
    kind = (
        "every preference drawn uniformly from (0, 1)"
        if results["source"] == "uniform"
        else f"random sub-tables of {spaced(results['source'])}"
    )
    compared = "between two random references" + (
        "" if results["certain"] else f", or between {PSI} = identity and log-odds"
    )
    left_out = (
        f" Some preferences are certain and have no log-odds, so {PSI} is not varied." if results["certain"] else ""
    )
    psi = "" if results["certain"] else f", another {PSI} in {at['psi_flip']['mean']:.1%}"
    first, last = results["sizes"][0], results["sizes"][-1]
    fewer = f" ({last['draws']} from $K={LARGE}$ on)" if last["draws"] < first["draws"] else ""
    return Caption(
        _headline(results),
        f"Problems: {kind}; {first['draws']} draws for each $K${fewer}, bars are standard errors. First: how often "
        f"{PI_BAR}'s pick (the set of its picks, where some are tied) changes {compared}, and how often one response "
        f"answers every comparator best, where it cannot change.{left_out} Second: $V(\\pi^*)-V(\\bar\\pi)$, {PSI} = "
        "identity, uniform reference.",
        f"at $K={at['k']}$ another reference changes the pick in {at['mu_flip']['mean']:.1%} of problems{psi}, "
        f"and the gap is {at['gap']['mean']:.3f}.",
        key("V", "pi_bar", "pi_star", "psi", "K"),
    )


def _headline(results: dict[str, Any]) -> str:
    """What the rates do as K grows, as far as they do it beyond two standard errors."""
    causes = {name: cause for name, cause in CAUSES.items() if name in results["sizes"][0]}
    rates = {name: [row[name] for row in results["sizes"]] for name in causes}
    never = [causes[name] for name, line in rates.items() if not any(rate["mean"] for rate in line)]
    growing = [
        causes[name]
        for name, line in rates.items()
        if line[-1]["mean"] - line[0]["mean"] > 2 * np.hypot(line[-1]["se"], line[0]["se"])
        and all(next_["mean"] >= rate["mean"] - 2 * np.hypot(next_["se"], rate["se"]) for rate, next_ in pairwise(line))
    ]
    if len(growing) == len(causes):
        two = "" if any(line[0]["mean"] for line in rates.values()) else "; with two it never does"
        return f"The more responses, the more {PI_BAR} depends on {' and on '.join(growing)}{two}"
    problems = "random problems" if results["source"] == "uniform" else f"sub-tables of {spaced(results['source'])}"
    if len(never) == len(causes):
        return f"{PI_BAR}'s pick depends on {' or on '.join(never)} in none of the {problems}"
    largest = {name: max(rate["mean"] for rate in line) for name, line in rates.items()}
    found = [f"with {causes[name]} on {f'up to {largest[name]:.0%}' if largest[name] else 'none'}" for name in causes]
    return f"{PI_BAR}'s pick changes {', '.join(found)} of the {problems}"


def draw(results: dict[str, Any], page: Page) -> Figure:
    """Rates against K, and the gap against K."""
    rows = results["sizes"]
    k = [row["k"] for row in rows]
    panels = sheet(page, 2, aspect=0.7)
    rates, gap = panels.axes
    for name, (label, color, marker, dash) in RATES.items():
        if name not in rows[0]:
            continue
        mean, se = ([row[name][what] for row in rows] for what in ("mean", "se"))
        # Rings may lie on each other, as at K = 2, and all of them be seen.
        size = {"o": 10, "s": 6, "^": 7}[marker]
        look: dict[str, Any] = {"mfc": "none", "mew": 1.6} if marker == "o" else {}
        rates.errorbar(k, mean, yerr=se, color=color, marker=marker, ls=dash, lw=1.8, ms=size, label=label, **look)
    values = [row["gap"]["mean"] for row in rows]
    gap.errorbar(k, values, yerr=[row["gap"]["se"] for row in rows], color=BLACK, marker="o", lw=2)
    for axis in (rates, gap):
        axis.set_xscale("log", base=2)
        axis.set_xticks(k, [str(size) for size in k])
        axis.minorticks_off()
        axis.set(xlabel="responses $K$", ylim=(0, None))
    rates.set(ylabel="share of problems", ylim=(-0.03, 1.03))
    panels.title(rates, "how often the pick changes, or cannot")
    gap.set(ylabel=r"$V(\pi^*)-V(\bar\pi)$")
    panels.title(gap, "what not seeing the comparator costs")
    for row in rows[1:]:
        point = row["k"], row["gap"]["mean"]
        gap.annotate(f"{point[1]:.3f}", point, (-6, 5), textcoords="offset points", ha="right", size=page.letters - 1)
    gap.margins(y=0.12)
    gap.set_ylim(0, 1.15 * max(*values, 1e-3))
    panels.legend(handles_of([rates]))
    return panels.figure

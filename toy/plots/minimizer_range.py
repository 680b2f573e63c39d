"""What the minimizers of Eq. (9) are worth, against beta, and which one training finds.

The supremum over all of them is a linear program, the infimum is 1/2 (copying the comparator), and
both gradient flow and Adam, started at the reference, stop somewhere between. The anchored loss has one
minimizer. It is among those of Eq. (9) for two responses and for separable preferences, where it is DPO's policy
whatever it is shown; for others it need not be, and may be worth more than all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inspo.conditioning import Conditioning
from inspo.objectives import conditioned_value, optimality_gap, scores
from inspo.preference_loss import PreferenceLoss
from inspo.preferences import PreferenceTable
from toy.baselines import TIE, anchored, at_kl, curve, rlhf
from toy.config import ToyConfig
from toy.estimates import Floats
from toy.minimizers import MOST_FLOW, best_value, largest_u, one_number_family, symmetric_flow
from toy.problems import cyclic, reference, require_at_most, require_interior, separable, witness
from toy.style import ANCHORED, BLACK, DPO, GREEN, INS, Page, handles_of, heading, sheet
from toy.training import Schedule, kl_to_reference, pair_distribution, per_problem, train
from toy.words import BETA, PI_BAR, PI_REF, PI_STAR, Y_, Caption, V, key, spaced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The last entries are those that the closed forms are checked at.
BETAS = tuple(np.unique(np.append(np.logspace(-1.3, 1, 15).round(4), [0.1, 0.5, 1.0])).tolist())
# One family of minimizers, of a single number, is shown at this beta and these shares of the largest number.
FAMILY_BETA = 0.5
FAMILY_SHARES = (0.02, 0.25, 0.5, 0.75, 1.0)
# Label of each curve, its color, dash and width.
CURVES = {
    "gradient_flow": ("gradient flow", INS, "-", 2.0),
    "adam": ("Adam", GREEN, (0, (5, 1.5)), 2.0),
    "anchored": ("anchored", ANCHORED, "-", 4.0),
    "dpo": (f"DPO, without {Y_}", DPO, "-.", 2.0),
    "ipo": (f"IPO, without {Y_}", BLACK, (0, (1, 1.5)), 1.5),
}


def compute(config: ToyConfig, user: PreferenceTable | None) -> dict[str, Any]:
    """For each problem and beta: the LP's supremum, and (V, KL) of gradient flow, Adam, anchored, DPO and IPO."""
    require_interior(user)
    require_at_most(user, MOST_FLOW, "it follows gradient flow over K x K numbers at every beta, which takes too long")
    tables = [user] if user is not None else [witness(), cyclic(2 / 3), separable()]
    problems = [_compute_problem(table, config) for table in tables]
    return {"betas": list(BETAS), "reference": config.reference, "problems": problems}


def _compute_problem(table: PreferenceTable, config: ToyConfig) -> dict[str, Any]:
    k = len(table.P)
    mu = reference(config.reference, k)
    n = len(BETAS)
    best = [best_value(table.P, mu, beta) for beta in BETAS]
    found = np.stack([anchored(table.P, mu, beta) for beta in BETAS])
    policies = {
        "supremum": [policy for _, policy in best],
        "gradient_flow": [symmetric_flow(table.P, mu, beta) for beta in BETAS],
        "adam": [*_adam(table.P, mu, config)],
        "anchored": [*found],
        "dpo": [rlhf(table.P, mu, beta) for beta in BETAS],
        "ipo": [*at_kl(np.tile(scores(table.P, mu), (n, 1)), np.tile(mu, (n, 1)), kl_to_reference(found, mu))],
    }
    curves = {name: curve(stack, table.P, mu) for name, stack in policies.items()}
    curves["supremum"]["value"] = [v for v, _ in best]
    value_pi_bar = float(scores(table.P, mu).max())
    return {
        "problem": table.name,
        "source": table.source,
        "value_pi_star": value_pi_bar + float(optimality_gap(table.P, mu)),
        "value_pi_bar": value_pi_bar,
        "curves": curves,
        "family": _family(table.P, mu),
    }


def _family(P: Floats, mu: Floats) -> dict[str, Any]:
    """V along pi(i | j) = u mu_i odds_ij, i != j, which has one loss for every u."""
    numbers = [share * largest_u(P, mu, FAMILY_BETA) for share in FAMILY_SHARES]
    policies = [one_number_family(P, mu, FAMILY_BETA, u) for u in numbers]
    return {
        "beta": FAMILY_BETA,
        "u": numbers,
        "value": [float(conditioned_value(policy, P, mu)) for policy in policies],
    }


def _adam(P: Floats, mu: Floats, config: ToyConfig) -> Floats:
    """(betas, K, K) free tables after the configured training, all betas in one batch."""
    n = len(BETAS)
    tables, references = np.broadcast_to(P, (n, *P.shape)), np.broadcast_to(mu, (n, len(mu)))
    loss = PreferenceLoss("dpo", Conditioning.SYMMETRIC, {"beta": per_problem(BETAS)})
    schedule = Schedule(config.steps, config.learning_rate)
    data = pair_distribution(tables, references)
    return train(loss, "free", data, tables, references, schedule).comparator_policy


def describe(results: dict[str, Any]) -> Caption:
    """The finding, how to read it, and the number."""
    first = results["problems"][0]
    at = results["betas"].index(1.0)
    high = first["curves"]["supremum"]["value"][at]
    flow = first["curves"]["gradient_flow"]["value"][at]
    losing = [
        spaced(problem["problem"])
        for problem in results["problems"]
        if problem["curves"]["gradient_flow"]["value"][at] < problem["curves"]["dpo"]["value"][at]
    ]
    worse = f" On {' and '.join(losing)} preferences gradient flow's is then worth less than DPO." if losing else ""
    above = [
        spaced(problem["problem"])
        for problem in results["problems"]
        if problem["curves"]["anchored"]["value"][at] > problem["curves"]["supremum"]["value"][at] + TIE
    ]
    more = f" (on {' and '.join(above)} preferences it lies above the band)" if above else ""
    return Caption(
        f"Minimizing Eq. (9) does not say what {V} will be: its minimizers fill the band. The anchored loss has one"
        if high > 0.5 + TIE
        else f"On {spaced(first['problem'])} no response is preferred to another, so every policy is worth 1/2",
        f"Band: {V} over all minimizers of InSPO's population loss, the upper edge by linear program, the lower "
        rf"edge 1/2. Circles: one family of them, $\pi(i\mid j)=u\,\mu_i\,\mathrm{{odds}}_{{ij}}$ at one {BETA}. "
        f"Gradient flow and Adam: what they find from {PI_REF} ({results['reference']}). Anchored: its one minimizer, "
        rf"which tends to {PI_STAR} as $\beta\to 0$ and is DPO's policy where preferences are Bradley-Terry. All of "
        f"these see {Y_}. DPO's optimum does not, nor IPO's, here with the anchored policy's KL: more than that no "
        "deployed policy of this KL has, anchored or not.",
        rf"on {spaced(first['problem'])} at $\beta=1$ Eq. (9)'s minimizers have a {V} of 1/2 to {high:.4f}, of which "
        f"gradient flow finds {flow:.4f}; the anchored one has {first['curves']['anchored']['value'][at]:.4f}{more}; "
        f"{PI_STAR} has {first['value_pi_star']:.4f}.{worse}",
        key(
            *("V", "pi_bar", "pi_star", "mu", "beta", "y'", "anchored", "population"),
            *(["W"] if first["problem"] == "witness" else []),
        ),
    )


def draw(results: dict[str, Any], page: Page) -> Figure:
    """One panel per problem: the band of values against beta, and where training ends in it."""
    shown = results["problems"]
    betas = np.array(results["betas"])
    panels = sheet(page, len(shown), aspect=1.0, row=4.2 if len(shown) == 1 and page.width > 5 else None)
    for axis, problem in zip(panels.axes, shown, strict=True):
        curves = problem["curves"]
        supremum = np.array(curves["supremum"]["value"])
        axis.fill_between(betas, 0.5, supremum, color="0.88", lw=0, label="all minimizers of Eq. (9)")
        axis.plot(betas, supremum, color="0.45", lw=1.2)
        for name, (label, color, dash, width) in CURVES.items():
            axis.plot(betas, curves[name]["value"], color=color, ls=dash, lw=width, label=label)
        family = problem["family"]
        seen: dict[str, Any] = {"ls": "none", "mec": "0.35", "mfc": "white", "ms": 5.5, "label": "one family of them"}
        axis.plot([family["beta"]] * len(family["u"]), family["value"], "o", **seen)
        for name, dash in (("pi_star", "--"), ("pi_bar", ":")):
            level = problem[f"value_{name}"]
            axis.axhline(level, color=BLACK, lw=1, ls=dash, label={"pi_star": PI_STAR, "pi_bar": PI_BAR}[name])
        axis.set_xscale("log")
        axis.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
        axis.set(xlabel=BETA, ylabel=f"{V} against comparators from {PI_REF}", xlim=(betas[0], betas[-1]))
        panels.title(axis, heading(problem["problem"], problem["source"]))
    panels.legend(handles_of(panels.axes[:1]))
    return panels.figure

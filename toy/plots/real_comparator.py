"""InSPO shown a real comparator against DPO, on Bradley-Terry and on cyclic preferences.

Where a reward explains the preferences a comparator carries next to no information; where they are cyclic no
reward helps, and the comparator is everything. Compared at equal KL: at equal beta one of two moves farther.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from inspo.conditioning import Conditioning
from inspo.objectives import gibbs_policy
from inspo.preference_loss import PreferenceLoss
from inspo.preferences import PreferenceTable, bradley_terry
from toy.baselines import curve, frontier_value, ipo, rlhf, worth
from toy.config import ToyConfig
from toy.estimates import Floats, estimate
from toy.minimizers import MOST_FLOW, symmetric_flow
from toy.problems import cyclic, random_problems, reference, require_at_most, require_interior, separable
from toy.style import BLACK, DPO, GRAY, INS, Page, handles_of, heading, sheet
from toy.training import Schedule, kl_to_reference, pair_distribution, train
from toy.words import BETA, KL, PI_REF, Y_, Caption, V, key, spaced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BETAS = (3.0, 1.0, 0.5, 0.3, 0.2, 0.1, 0.05)
TAUS = tuple(np.logspace(-2.5, 1.5, 33).round(5).tolist())
NOISE = (0.0, 0.25, 0.5, 1.0, 2.0)
K = 5
# Below this a difference in V is next to nothing.
SMALL = 0.005
LINES = {
    "real_over_ipo": (f"shown a real {Y_}", INS, "o", "-"),
    "deployed_over_ipo": ("deployed, without a comparator", GRAY, "s", "-."),
}


def compute(config: ToyConfig, user: PreferenceTable | None) -> dict[str, Any]:
    """(KL, V) over beta on each problem, and the lead over DPO as preferences leave Bradley-Terry."""
    require_interior(user)
    require_at_most(user, MOST_FLOW, "it follows gradient flow over K x K numbers at every beta, which takes too long")
    tables = [user] if user is not None else [separable(), cyclic(2 / 3)]
    mixed = [] if user is not None else _mixtures(config)
    return {"betas": list(BETAS), "problems": [_planes(table, config) for table in tables], "noise": mixed}


def _planes(table: PreferenceTable, config: ToyConfig) -> dict[str, Any]:
    mu = reference(config.reference, len(table.P))
    policies = {
        "inspo_real": [symmetric_flow(table.P, mu, beta) for beta in BETAS],
        "dpo": [rlhf(table.P, mu, beta) for beta in BETAS],
        "best_prompt": [ipo(table.P, mu, tau) for tau in TAUS],
        "best_conditioned": [gibbs_policy(table.P, mu, tau) for tau in TAUS],
    }
    curves = {name: curve(found, table.P, mu) for name, found in policies.items()}
    n = len(BETAS)
    tables, references = np.broadcast_to(table.P, (n, *table.P.shape)), np.broadcast_to(mu, (n, len(mu)))
    best = frontier_value(tables, references, np.array(curves["inspo_real"]["kl"]))
    return {
        "problem": table.name,
        "source": table.source,
        **curves,
        "real_over_ipo": (np.array(curves["inspo_real"]["value"]) - best).tolist(),
    }


def _mixtures(config: ToyConfig) -> list[dict[str, Any]]:
    """Random Bradley-Terry problems with noise of growing size on every log-odds; one batch, beta = 1."""
    rng = np.random.default_rng([config.seed, 6])
    n = config.problems
    rewards = logit(np.stack([bradley_terry(c) for c in rng.normal(size=(n, K))]))
    noise = logit(random_problems(n, K, rng))
    P = np.concatenate([expit(rewards + size * noise) for size in NOISE])
    mu = np.tile(reference(config.reference, K), (len(P), 1))
    trained = train(
        PreferenceLoss("dpo", Conditioning.SYMMETRIC, {"beta": 1.0}),
        "additive",
        pair_distribution(P, mu),
        P,
        mu,
        # Gradient descent: on flat directions it stays where the data put it.
        Schedule(config.steps, 5.0, "sgd"),
    )
    dpo = worth(rlhf(P, mu, 1.0), P, mu)
    policies = {"real": trained.comparator_policy, "deployed": trained.prompt_policy}
    leads: dict[str, Floats] = {}
    for name, policy in policies.items():
        V = worth(policy, P, mu)
        leads[f"{name}_over_ipo"] = V - frontier_value(P, mu, kl_to_reference(policy, mu))
        leads[f"{name}_over_dpo"] = V - dpo
    return [{"noise": size, **_level(leads, slice(i * n, (i + 1) * n))} for i, size in enumerate(NOISE)]


def _level(leads: dict[str, Floats], level: slice) -> dict[str, Any]:
    return {name: estimate(lead[level]) | {"won": float((lead[level] > 1e-9).mean())} for name, lead in leads.items()}


def describe(results: dict[str, Any]) -> Caption:
    """The finding, how to read it, and the number."""
    at = results["betas"].index(1.0)
    leads = {problem["problem"]: problem["real_over_ipo"][at] for problem in results["problems"]}
    numbers = [f"{lead:+.4f} on {spaced(name)}" for name, lead in leads.items()]
    random, right = "", ""
    if results["noise"]:
        first = results["noise"][0]["real_over_ipo"]
        random = f", and {first['mean']:+.5f} $\\pm$ {first['se']:.5f} on random Bradley-Terry problems"
        right = (
            f" Third: random problems ($K=5$, $\\beta=1$), from Bradley-Terry rewards alone to twice as much noise on "
            f"every log-odds: {V} minus the largest prompt-only {V} at the policy's own KL; means and standard errors."
        )
    return Caption(
        _finding(leads),
        f"Dots: {BETA} from 3 to 0.05, ringed at 1; InSPO where gradient flow from {PI_REF} ends, judged "
        f"against the very "
        f"{Y_} it saw. Lines: the largest {V} at each KL, without a comparator (IPO's closed form) and with "
        f"one.{right}",
        rf"at $\beta=1$ the {V} of InSPO with a real {Y_}, minus the best prompt-only {V} at the same KL, is "
        f"{', '.join(numbers)}{random}.",
        key("V", "y'", "mu", "beta", "KL"),
    )


def _finding(leads: dict[str, float]) -> str:
    """What seeing the comparator does at equal KL and beta = 1."""
    pays = [spaced(name) for name, lead in leads.items() if lead > SMALL]
    costs = [spaced(name) for name, lead in leads.items() if lead < -SMALL]
    even = [spaced(name) for name, lead in leads.items() if abs(lead) <= SMALL]
    parts = [
        f"{verb} on {' and '.join(names)}"
        for verb, names in (("pays", pays), ("costs", costs), ("is worth next to nothing", even))
        if names
    ]
    return f"At equal KL a real comparator {', and '.join(parts)} preferences"


def draw(results: dict[str, Any], page: Page) -> Figure:
    """(KL, V) over beta for each problem, then the lead at equal KL against noise."""
    shown = results["problems"]
    count = len(shown) + bool(results["noise"])
    panels = sheet(page, count, aspect=0.95, row=4.2 if count == 1 and page.width > 5 else None)
    for axis, problem in zip(panels.axes, shown, strict=False):
        for name, label, dash, color in (
            ("best_prompt", f"largest {V} without {Y_} (IPO)", "-", "0.6"),
            ("best_conditioned", f"largest {V} with {Y_}", (0, (4, 2)), BLACK),
        ):
            width = 3.5 if name == "best_prompt" else 1.5
            axis.plot(problem[name]["kl"], problem[name]["value"], color=color, lw=width, ls=dash, label=label)
        for name, label, color, marker in (
            ("inspo_real", f"InSPO, a real {Y_}", INS, "o"),
            ("dpo", "DPO", DPO, "s"),
        ):
            kl, values = problem[name]["kl"], problem[name]["value"]
            axis.plot(kl, values, marker=marker, color=color, ms=6, ls="none", label=label)
            at = results["betas"].index(1.0)
            axis.plot(kl[at], values[at], marker=marker, color=color, ms=12, mfc="none", ls="none")
        if max(problem["dpo"]["kl"]) < 1e-6:
            words = f"DPO, at every {BETA}: {PI_REF}"
            axis.annotate(words, (0, problem["dpo"]["value"][0]), (10, -2), textcoords="offset points", color=DPO)
        axis.set(xlabel=f"{KL} from the reference, nats", ylabel=f"{V} against comparators from {PI_REF}")
        panels.title(axis, heading(problem["problem"], problem["source"], 50))
    handles = handles_of(panels.axes[:1])
    if results["noise"]:
        axis = panels.axes[-1]
        _draw_noise(axis, results["noise"])
        panels.title(axis, "from Bradley-Terry to non-separable")
        axis.legend(loc="upper left")
    panels.legend(handles)
    return panels.figure


def _draw_noise(axis: Any, levels: list[dict[str, Any]]) -> None:
    for name, (label, color, marker, dash) in LINES.items():
        axis.errorbar(
            [level["noise"] for level in levels],
            [level[name]["mean"] for level in levels],
            yerr=[level[name]["se"] for level in levels],
            color=color,
            marker=marker,
            ls=dash,
            label=label,
        )
    axis.axhline(0, color=BLACK, lw=1)
    axis.set(
        xlabel="noise on the log-odds, standard deviations", ylabel=f"{V} minus the best prompt-only {V}, equal KL"
    )
    axis.margins(y=0.2)

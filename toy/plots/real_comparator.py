"""InSPO shown a real comparator against DPO, on Bradley-Terry and on cyclic preferences.

Where a reward explains the preferences a comparator carries next to no information; where they are cyclic no
reward helps, and the comparator is everything. Compared at equal KL: at equal beta one of the two moves farther.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from inspo.conditioning import Conditioning
from inspo.objectives import gibbs_policy, value
from inspo.preference_loss import PreferenceLoss
from inspo.preferences import PreferenceTable, bradley_terry
from toy.baselines import curve, frontier_value, ipo, rlhf
from toy.config import ToyConfig
from toy.estimates import Floats, estimate
from toy.minimizers import MOST_FLOW, symmetric_flow
from toy.problems import cyclic, random_problems, reference, require_at_most, require_interior, separable
from toy.style import BLACK, DPO, GRAY, INS, Caption, heading, spaced, subplots
from toy.training import Schedule, kl_to_reference, pair_distribution, train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BETAS = (3.0, 1.0, 0.5, 0.3, 0.2, 0.1, 0.05)
TAUS = tuple(np.logspace(-2.5, 1.5, 33).round(5).tolist())
NOISE = (0.0, 0.25, 0.5, 1.0, 2.0)
K = 5
# Below this a difference in V is next to nothing.
SMALL = 0.005
LINES = {
    "real_over_ipo": ("shown a real y'", INS, "o", "-"),
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
    n, real = len(BETAS), curves["inspo_real"]
    tables, references = np.broadcast_to(table.P, (n, *table.P.shape)), np.broadcast_to(mu, (n, len(mu)))
    best = frontier_value(tables, references, np.array(real["kl"]))
    return {
        "problem": table.name,
        "source": table.source,
        **curves,
        "real_over_ipo": (np.array(real["value"]) - best).tolist(),
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
    dpo = value(rlhf(P, mu, 1.0), P, mu)
    leads: dict[str, Floats] = {}
    for name, policy in (("real", trained.comparator_policy), ("deployed", trained.prompt_policy)):
        worth = value(policy, P, mu)
        leads[f"{name}_over_ipo"] = worth - frontier_value(P, mu, kl_to_reference(policy, mu))
        leads[f"{name}_over_dpo"] = worth - dpo
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
        random = f", and {first['mean']:+.5f} +- {first['se']:.5f} on random Bradley-Terry problems"
        right = (
            " Right: random problems (K = 5, beta = 1), from Bradley-Terry rewards alone to twice as much noise on "
            "every log-odds: V minus the largest prompt-only V at the policy's own KL; means and standard errors."
        )
    return Caption(
        _finding(leads),
        "Dots: beta from 3 to 0.05, ringed at 1; InSPO where gradient flow from pi_ref ends, judged against the very "
        "y' it saw. Lines: the largest V at each KL without (gray, IPO) and with (dashed) a comparator." + right,
        "at beta = 1 the V of InSPO with a real y', minus the best prompt-only V at the same KL, is "
        f"{', '.join(numbers)}{random}.",
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


def draw(results: dict[str, Any]) -> Figure:
    """(KL, V) over beta for each problem, then the lead over DPO against noise."""
    shown = results["problems"]
    panels = len(shown) + bool(results["noise"])
    margins = {"left": 0.06 if panels > 1 else 0.11, "top": 0.92, "bottom": 0.12, "wspace": 0.24}
    figure, axes = subplots(1, panels, (max(6.5, 4.3 * panels), 4.5), margins=margins, squeeze=False)
    for axis, problem in zip(axes[0], shown, strict=False):
        for name, label, dash, color in (
            ("best_prompt", "largest V without y' (IPO)", "-", GRAY),
            ("best_conditioned", "largest V with y'", "--", BLACK),
        ):
            axis.plot(problem[name]["kl"], problem[name]["value"], color=color, lw=1.5, ls=dash, label=label)
        for name, label, color, marker in (
            ("inspo_real", "InSPO, a real y'", INS, "o"),
            ("dpo", "DPO", DPO, "s"),
        ):
            kl, V = problem[name]["kl"], problem[name]["value"]
            axis.plot(kl, V, marker=marker, color=color, ms=6, ls="none", label=label)
            at = results["betas"].index(1.0)
            axis.plot(kl[at], V[at], marker=marker, color=color, ms=12, mfc="none", ls="none")
        axis.set(xlabel="KL from the reference, nats", ylabel="V against comparators from pi_ref")
        axis.set_title(heading(problem["problem"], problem["source"], 50), loc="left")
    axes[0, 0].legend(loc="lower right")
    if results["noise"]:
        _draw_noise(axes[0, -1], results["noise"])
    return figure


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
    axis.set(xlabel="noise on the log-odds, standard deviations", ylabel="V - best prompt-only V, equal KL")
    axis.set_title("from Bradley-Terry to non-separable", loc="left")
    axis.legend(loc="upper left", fontsize=8)
    axis.margins(y=0.25)

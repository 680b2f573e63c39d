"""InSPO shown a real comparator against DPO, on Bradley-Terry and on cyclic preferences.

Where a reward explains the preferences a comparator carries next to no information; where they are cyclic no
reward helps, and the comparator is everything. Compared at equal KL: at equal beta one of two moves farther.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from inspo.conditioning import Conditioning
from inspo.objectives import apply_psi, gibbs_policy
from inspo.preference_loss import PreferenceLoss
from inspo.preferences import PreferenceTable, bradley_terry
from toy.baselines import anchored, at_kl, curve, frontier_value, ipo, rlhf, worth
from toy.config import ToyConfig
from toy.estimates import Floats, estimate
from toy.minimizers import MOST_FLOW, symmetric_flow
from toy.problems import cyclic, random_problems, reference, require_at_most, require_interior, separable
from toy.style import ANCHORED, BLACK, DPO, INS, Page, handles_of, heading, sheet
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
    "anchored_real_over_ipo": (f"anchored, a real {Y_}", ANCHORED, "D", "-"),
    "real_over_ipo": (f"InSPO, a real {Y_}", INS, "o", "-"),
    "deployed_over_ipo": ("InSPO, deployed", INS, "s", "-."),
    "anchored_deployed_over_ipo": ("anchored, deployed", ANCHORED, "X", "-."),
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
        "anchored_real": [anchored(table.P, mu, beta) for beta in BETAS],
        "dpo": [rlhf(table.P, mu, beta) for beta in BETAS],
        "best_prompt": [ipo(table.P, mu, tau) for tau in TAUS],
        "best_conditioned": [gibbs_policy(table.P, mu, tau) for tau in TAUS],
    }
    curves = {name: curve(found, table.P, mu) for name, found in policies.items()}
    n = len(BETAS)
    tables, references = np.broadcast_to(table.P, (n, *table.P.shape)), np.broadcast_to(mu, (n, len(mu)))
    leads = {}
    for name, whose in (("real_over_ipo", "inspo_real"), ("anchored_real_over_ipo", "anchored_real")):
        best = frontier_value(tables, references, np.array(curves[whose]["kl"]))
        leads[name] = (np.array(curves[whose]["value"]) - best).tolist()
    return {"problem": table.name, "source": table.source, **curves, **leads}


def _mixtures(config: ToyConfig) -> list[dict[str, Any]]:
    """Random Bradley-Terry problems with noise of growing size on every log-odds; one batch, beta = 1."""
    rng = np.random.default_rng([config.seed, 6])
    n = config.problems
    rewards = logit(np.stack([bradley_terry(c) for c in rng.normal(size=(n, K))]))
    noise = logit(random_problems(n, K, rng))
    P = np.concatenate([expit(rewards + size * noise) for size in NOISE])
    mu = np.tile(reference(config.reference, K), (len(P), 1))
    dpo = worth(rlhf(P, mu, 1.0), P, mu)
    policies: dict[str, Floats] = {}
    for prefix, conditioning in (("", Conditioning.SYMMETRIC), ("anchored_", Conditioning.ANCHORED)):
        loss = PreferenceLoss("dpo", conditioning, {"beta": 1.0})
        # Gradient descent: on flat directions it stays where the data put it.
        schedule = Schedule(config.steps, 5.0, "sgd")
        trained = train(loss, "additive", pair_distribution(P, mu), P, mu, schedule)
        policies |= {f"{prefix}real": trained.comparator_policy, f"{prefix}deployed": trained.prompt_policy}
    # The anchored minimizer at another beta is another share of the log-odds: here the one with InSPO's KL.
    kl = kl_to_reference(policies["real"], mu)
    policies["anchored_real"] = at_kl(np.asarray(apply_psi(P, "log_odds")), mu, kl)
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
        leads_ = [
            _pair(level["real_over_ipo"], level["anchored_real_over_ipo"])
            for level in (results["noise"][-1], results["noise"][0])
        ]
        random = (
            f" On random problems InSPO's and, with InSPO's KL, anchored's are {leads_[0]} with the most noise and "
            f"{leads_[1]} on Bradley-Terry."
        )
        right = (
            rf" Third: random problems ($K=5$, $\beta=1$), from Bradley-Terry rewards alone to twice as much noise on "
            f"every log-odds: {V} minus the largest prompt-only {V} at the policy's own KL; means and standard errors. "
            f"Anchored with a real {Y_} is shown at the {BETA} where it has InSPO's KL; deployed policies see no {Y_} "
            "and stay below 0 with either loss."
        )
    return Caption(
        _finding(leads),
        f"Dots: {BETA} from 3 to 0.05, ringed at 1; InSPO where gradient flow from {PI_REF} ends, anchored at its one "
        f"minimizer, judged against the very {Y_} they saw. Lines: the largest {V} at each KL, without a comparator "
        f"(IPO's closed form) and with one.{right}",
        rf"at $\beta=1$ the {V} of InSPO with a real {Y_}, minus the best prompt-only {V} at the same KL, is "
        f"{', '.join(numbers)}.{random}",
        key("V", "y'", "mu", "beta", "KL", "anchored"),
    )


def _pair(inspo: dict[str, float], anchored_: dict[str, float]) -> str:
    return " and ".join(rf"{lead['mean']:+.4f} $\pm$ {lead['se']:.4f}" for lead in (inspo, anchored_))


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
            ("dpo", "DPO", DPO, "s"),
            ("inspo_real", f"InSPO, a real {Y_}", INS, "o"),
            ("anchored_real", f"anchored, a real {Y_}", ANCHORED, "D"),
        ):
            kl, values = problem[name]["kl"], problem[name]["value"]
            axis.plot(kl, values, marker=marker, color=color, ms=8 if name == "dpo" else 5, ls="none", label=label)
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
    axis.set(xlabel="noise on the log-odds, standard deviations", ylabel=f"{V} minus the best prompt-only {V}")
    axis.margins(y=0.2)

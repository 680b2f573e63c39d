"""The (KL, V) frontier of every deployed policy against IPO's.

The question that decides whether the method can work. InSPO deploys pi(. | x), without the comparator
it was trained with. pi proportional to mu exp(S / tau), IPO's closed form, has the largest V of all
prompt-only policies with its KL: so no deployed policy can be above that curve, and the question is
how far below it each one lands, and whether V at equal beta was bought with KL.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from inspo.conditioning import Conditioning
from inspo.objectives import gibbs_policy, value
from inspo.preference_loss import PreferenceLoss
from inspo.preferences import PreferenceMatrix, PreferenceTable
from toy.baselines import frontier_value, ipo, nash, pi_bar, pi_star, rlhf, value_and_kl
from toy.config import ToyConfig
from toy.estimates import Floats, estimate
from toy.policies import Parametrization
from toy.problems import random_problems, reference, require_interior
from toy.style import BLACK, DPO, GRAY, GREEN, INS, ORANGE, PURPLE, SKY, Caption, plt
from toy.training import Schedule, kl_to_reference, pair_distribution, per_problem, train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BETAS = (1.0, 0.1)
K = 5
TAUS = tuple(np.logspace(-2.5, 1.5, 33).round(5).tolist())
DESCENT = Schedule(1500, 5.0, "sgd")
# (label, parametrization, conditioning, whether by gradient descent instead of the configured optimizer)
MODELS: tuple[tuple[str, Parametrization, Conditioning, bool], ...] = (
    ("additive, GD", "additive", Conditioning.SYMMETRIC, True),
    ("additive", "additive", Conditioning.SYMMETRIC, False),
    ("low-rank", "low-rank", Conditioning.SYMMETRIC, False),
    ("attention", "attention", Conditioning.SYMMETRIC, False),
    ("attention, averaged", "attention", Conditioning.AVERAGED, False),
)
NAMES = {"null": "no comparator", "mean_embedding": "mean embedding", "marginal": "marginalized", "real": "a real y'"}
MARKERS = {"null": "o", "mean_embedding": "s", "marginal": "^", "real": "D"}
COLORS_OF = dict(zip((label for label, *_ in MODELS), (GREEN, INS, PURPLE, ORANGE, SKY), strict=True))


def compute(config: ToyConfig, user: PreferenceTable | None) -> dict[str, Any]:
    """(KL, V) of every policy on random non-separable problems, or on the user's one, at two betas."""
    require_interior(user)
    rng = np.random.default_rng([config.seed, 8])
    P = random_problems(config.problems, K, rng) if user is None else user.P[None]
    n, k = P.shape[:2]
    mu = np.tile(reference(config.reference, k), (n, 1))
    rows = []
    policies = _trained(P, mu, config)
    for half, beta in enumerate(BETAS):
        dpo = rlhf(P, mu, beta)
        here = {("DPO = two-step RLHF", "baseline"): dpo}
        here |= {name: stack[half * n : (half + 1) * n] for name, stack in policies.items()}
        rows += [_row(name, beta, policy, P, mu, dpo) for name, policy in here.items()]
    star = pi_star(P)
    optima: dict[str, Floats] = {
        "pi_bar": pi_bar(P, mu),
        "pi_star": star,
        "pi_star_marginal": (star @ mu[..., None])[..., 0],
        "nash": nash(P),
    }
    return {
        "problems": n,
        "responses": k,
        "betas": list(BETAS),
        "policies": rows,
        "optima": {name: _summary(policy, P, mu) for name, policy in optima.items()},
        "ipo": [{"tau": tau} | _summary(ipo(P, mu, tau), P, mu) for tau in TAUS],
        "conditioned": [{"tau": tau} | _summary(gibbs_policy(P, mu, tau), P, mu) for tau in TAUS],
    }


def _trained(P: Floats, mu: Floats, config: ToyConfig) -> dict[tuple[str, str], Floats]:
    """(model, deployment) to the policies of both betas, trained in one batch."""
    both, references = np.concatenate([P] * len(BETAS)), np.concatenate([mu] * len(BETAS))
    data, betas = pair_distribution(both, references), per_problem(np.repeat(BETAS, len(P)))
    policies: dict[tuple[str, str], Floats] = {}
    for label, parametrization, conditioning, descend in MODELS:
        schedule = replace(DESCENT, steps=min(DESCENT.steps, config.steps)) if descend else config.schedule()
        loss = PreferenceLoss("dpo", conditioning, {"beta": betas})
        trained = train(loss, parametrization, data, both, references, schedule)
        policies |= {(label, name): policy for name, policy in trained.deployments.items()}
        policies[label, "real"] = trained.comparator_policy
    return policies


def _summary(policy: Floats, P: Floats, mu: Floats) -> dict[str, Any]:
    return {name: estimate(numbers) for name, numbers in value_and_kl(policy, P, mu).items()}


def _row(name: tuple[str, str], beta: float, policy: Floats, P: Floats, mu: Floats, dpo: Floats) -> dict[str, Any]:
    """One policy: V and KL, V minus DPO's at equal beta, and V minus the frontier's at equal KL."""
    matrix = PreferenceMatrix(P)
    V, kl = value(policy, matrix, mu), kl_to_reference(policy, mu)
    over_dpo, over_frontier = V - value(dpo, matrix, mu), V - frontier_value(P, mu, kl)
    return {
        "model": name[0],
        "deployment": name[1],
        "beta": beta,
        **_summary(policy, P, mu),
        "over_dpo": estimate(over_dpo),
        "over_dpo_won": float((over_dpo > 1e-9).mean()),
        "over_dpo_kl": estimate(kl - kl_to_reference(dpo, mu)),
        "over_frontier": estimate(over_frontier),
        # The frontier's KL is matched to about 1e-9 nats.
        "over_frontier_won": int((over_frontier > 1e-7).sum()),
    }


def describe(results: dict[str, Any]) -> Caption:
    """The finding, how to read it, and the number."""
    prompt = [row for row in results["policies"] if row["deployment"] in ("null", "mean_embedding", "marginal")]
    wins = sum(row["over_frontier_won"] for row in prompt)
    ahead = [row for row in prompt if _sign(row["over_dpo"]) > 0]
    dearer = sum(row["over_dpo_kl"]["mean"] > 0 for row in ahead)
    worst = min(row["over_frontier"]["mean"] for row in prompt)
    real = [row["over_dpo"] for row in results["policies"] if row["deployment"] == "real"]
    gains = [row["mean"] for row in real]
    count = len(prompt) * results["problems"]
    kind = "random non-separable problems" if results["problems"] > 1 else "problem, your own"
    errors = ", means and standard errors" if results["problems"] > 1 else ""
    beyond = " by two standard errors" if results["problems"] > 1 else ""
    large, small = results["betas"]
    marginal, bar = (results["optima"][name]["value"]["mean"] for name in ("pi_star_marginal", "pi_bar"))
    return Caption(
        f"At equal KL {wins or 'none'} of {count} deployed policies {'beat' if wins > 1 else 'beats'} IPO's closed "
        f"form. {_what_seeing_does([_sign(row) for row in real])}",
        f"{results['problems']} {kind}, K = {results['responses']}{errors}. Left: solid, the largest "
        "V of all prompt-only policies with that KL (IPO); dashed, the same for policies that see y'. Large "
        f"markers: beta = {small:g}, small: {large:g}. Middle: V minus DPO's at equal beta; {len(ahead)} prompt-only "
        f"entries are ahead of DPO{beyond}, {dearer} of them by spending more KL. Right: V minus IPO's "
        "at the same KL, never positive for a prompt-only policy, by construction: the question is how far below.",
        f"deployed policies lie up to {-worst:.3f} below the frontier; with a real y' InSPO's V minus DPO's, "
        f"which sees none, is {min(gains):+.3f} to {max(gains):+.3f}. pi* averaged over y' is worth {marginal:.3f}, "
        f"pi_bar {bar:.3f}.",
    )


def _sign(difference: dict[str, float | None]) -> int:
    """1 or -1 where a difference is beyond two standard errors, of a single problem beyond rounding; else 0."""
    mean, margin = difference["mean"] or 0.0, max(2 * (difference["se"] or 0.0), 1e-9)
    return int(mean > margin) - int(mean < -margin)


def _what_seeing_does(signs: list[int]) -> str:
    """What a real comparator does to V against DPO's at equal beta, over models and betas."""
    if min(signs) > 0:
        return "Seeing a real comparator pays"
    if max(signs) < 0:
        return "Seeing a real comparator costs"
    return f"Seeing a real comparator pays in {signs.count(1)} of {len(signs)} cases and costs in {signs.count(-1)}"


def draw(results: dict[str, Any]) -> Figure:
    """The plane with both frontiers; V against DPO at equal beta; V against IPO at equal KL."""
    figure: Figure = plt().figure(figsize=(13.2, 6.6))
    plane = figure.add_axes((0.05, 0.17, 0.36, 0.76))
    equal_beta = figure.add_axes((0.595, 0.17, 0.21, 0.76))
    equal_kl = figure.add_axes((0.825, 0.17, 0.165, 0.76))
    _draw_plane(plane, results)
    _draw_differences((equal_beta, equal_kl), results)
    handles = [plt().Line2D([], [], marker=MARKERS[name], color="0.3", ls="none", label=NAMES[name]) for name in NAMES]
    handles += [plt().Line2D([], [], marker="o", color=color, ls="none", label=m) for m, color in COLORS_OF.items()]
    handles += [plt().Line2D([], [], marker="*", color=DPO, ms=11, ls="none", label="DPO = two-step RLHF")]
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.04, 0.0), ncols=5)
    return figure


def _draw_plane(axis: Any, results: dict[str, Any]) -> None:
    for name, dash in (("ipo", "-"), ("conditioned", "--")):
        curve = results[name]
        axis.plot([p["kl"]["mean"] for p in curve], [p["value"]["mean"] for p in curve], color=BLACK, lw=1.6, ls=dash)
    marks = {
        "pi_bar": ("pi_bar", (-14, 9)),
        "pi_star": ("pi*", (-4, 8)),
        "pi_star_marginal": ("pi* averaged over y'", (4, -14)),
        "nash": ("Nash", (-8, -14)),
    }
    together: dict[tuple[float, float], list[tuple[str, tuple[int, int]]]] = {}
    for name, mark in marks.items():
        point = results["optima"][name]["kl"]["mean"], results["optima"][name]["value"]["mean"]
        axis.plot(*point, "P", color=GRAY, mec=BLACK, ms=8)
        together.setdefault((round(point[0], 6), round(point[1], 6)), []).append(mark)
    for point, here in together.items():
        label, offset, side = " = ".join(label for label, _ in here), here[0][1], "right" if len(here) > 1 else "left"
        axis.annotate(label, point, xytext=offset, textcoords="offset points", size=9, ha=side)
    for row in results["policies"]:
        base = row["deployment"] == "baseline"
        axis.plot(
            row["kl"]["mean"],
            row["value"]["mean"],
            marker="*" if base else MARKERS[row["deployment"]],
            color=DPO if base else COLORS_OF[row["model"]],
            ms=(13 if base else 7.5) * (1 if row["beta"] == results["betas"][1] else 0.7),
            mec="white",
            mew=0.7,
            ls="none",
        )
    axis.set(xlabel="KL from the reference, nats", ylabel="V against comparators drawn from pi_ref")
    axis.set_title("what V costs", loc="left")


def _draw_differences(axes: tuple[Any, Any], results: dict[str, Any]) -> None:
    rows = [(row["model"], row["deployment"]) for row in results["policies"] if row["beta"] == results["betas"][0]]
    rows = [row for row in rows if row[1] != "baseline"]
    for row in results["policies"]:
        key = (row["model"], row["deployment"])
        if key not in rows:
            continue
        y = -rows.index(key) + (0.15 if row["beta"] == results["betas"][0] else -0.15)
        for axis, name in zip(axes, ("over_dpo", "over_frontier"), strict=True):
            if name == "over_frontier" and row["deployment"] == "real":
                continue
            small = row["beta"] == results["betas"][0]
            axis.errorbar(
                row[name]["mean"],
                y,
                xerr=row[name]["se"],
                marker=MARKERS[row["deployment"]],
                color=COLORS_OF[row["model"]],
                ms=4.5 if small else 7,
                lw=1.2,
            )
    for axis, title in zip(axes, ("V - DPO's, equal beta", "V - IPO's, equal KL"), strict=True):
        axis.axvline(0, color=BLACK, lw=1)
        axis.locator_params(axis="x", nbins=4)
        axis.set_title(title, loc="left")
        axis.set_ylim(-len(rows) + 0.4, 0.6)
        axis.set_yticks([])
    axes[0].set_yticks(
        [-i for i in range(len(rows))], [f"{model}: {NAMES[deployment]}" for model, deployment in rows], size=8
    )

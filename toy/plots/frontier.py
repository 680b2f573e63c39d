"""The (KL, V) frontier of every deployed policy against IPO's.

The question that decides whether the method can work. InSPO deploys pi(. | x), without the comparator
it was trained with. pi proportional to mu exp(S / tau), IPO's closed form, has the largest V of all
prompt-only policies with its KL: so no deployed policy can be above that curve, and the question is
how far below it each one lands, and whether V at equal beta was bought with KL. Anchored training is asked the
same: it makes the policy that sees the comparator unique, and leaves the deployed one without it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from inspo.conditioning import Conditioning
from inspo.objectives import gibbs_policy
from inspo.preference_loss import PreferenceLoss
from inspo.preferences import PreferenceMatrix, PreferenceTable
from toy.baselines import (
    at_kl,
    frontier_value,
    ipo,
    least_regret,
    nash,
    pi_bar,
    pi_star,
    rlhf,
    value_and_kl,
    worst_regret,
    worth,
)
from toy.config import ToyConfig
from toy.estimates import Floats, estimate
from toy.policies import Parametrization
from toy.problems import random_problems, reference, require_interior
from toy.style import ANCHORED, BLACK, DPO, GRAY, GREEN, INS, Page, line, patch, sheet
from toy.training import Schedule, kl_to_reference, pair_distribution, per_problem, train
from toy.words import BETA, KL, PI_BAR, PI_REF, PI_STAR, Y_, Caption, V, key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BETAS = (1.0, 0.1)
K = 5
TAUS = tuple(np.logspace(-2.5, 1.5, 33).round(5).tolist())
DESCENT = Schedule(1500, 5.0, "sgd")
BOTH = (Conditioning.SYMMETRIC, Conditioning.ANCHORED)
# Label -> parametrization, conditionings, whether by gradient descent instead of the configured optimizer.
MODELS: dict[str, tuple[Parametrization, tuple[Conditioning, ...], bool]] = {
    "additive, GD": ("additive", BOTH, True),
    "low-rank": ("low-rank", BOTH, False),
    "attention": ("attention", (*BOTH, Conditioning.AVERAGED), False),
}
TRAINED_BY = {"baseline": ("DPO", DPO), "symmetric": ("InSPO", INS), "anchored": ("anchored", ANCHORED)}
TRAINED_BY |= {"averaged": ("averaged", GREEN)}
NAMES = {
    "null": "no comparator",
    "mean_embedding": "mean embedding",
    "marginal": "marginalized",
    "real": f"a real {Y_}",
}
TINY = 1e-300  # instead of a probability of zero, whose logarithm is infinite
SHOWN = "additive, GD"  # in the plane; all models are in the other panel
# Where the name of an optimum stands, in points from its mark, and how it is aligned there.
PLACES: dict[str, tuple[float, float, str, str]] = {
    "pi_bar": (4, -8, "right", "top"),
    "pi_star": (4, -8, "right", "top"),
    "pi_star_marginal": (-4, -8, "left", "top"),
    "nash": (7, -2, "left", "center"),
    "least_regret": (-3, -8, "center", "top"),
}
OFFSETS = {"baseline": 0.0, "symmetric": 0.25, "anchored": -0.25, "averaged": 0.0}
MARKERS = {"null": "o", "mean_embedding": "s", "marginal": "^", "real": "D"}


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
        here = {("DPO = two-step RLHF", "baseline", "baseline"): dpo}
        here |= {name: stack[half * n : (half + 1) * n] for name, stack in policies.items()}
        rows += [_row(name, beta, policy, P, mu, dpo) for name, policy in here.items()]
    star = pi_star(P)
    optima: dict[str, Floats] = {
        "pi_bar": pi_bar(P, mu),
        "pi_star": star,
        "pi_star_marginal": (star @ mu[..., None])[..., 0],
        "nash": nash(P),
        "least_regret": least_regret(P),
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


def _trained(P: Floats, mu: Floats, config: ToyConfig) -> dict[tuple[str, str, str], Floats]:
    """(model, conditioning, deployment) to the policies of both betas, trained in one batch."""
    both, references = np.concatenate([P] * len(BETAS)), np.concatenate([mu] * len(BETAS))
    data, betas = pair_distribution(both, references), per_problem(np.repeat(BETAS, len(P)))
    policies: dict[tuple[str, str, str], Floats] = {}
    for label, (parametrization, conditionings, descend) in MODELS.items():
        schedule = replace(DESCENT, steps=min(DESCENT.steps, config.steps)) if descend else config.schedule()
        for conditioning in conditionings:
            loss = PreferenceLoss("dpo", conditioning, {"beta": betas})
            trained = train(loss, parametrization, data, both, references, schedule)
            by = conditioning.value
            policies |= {(label, by, name): policy for name, policy in trained.deployments.items()}
            policies[label, by, "real"] = trained.comparator_policy
    return policies


def _summary(policy: Floats, P: Floats, mu: Floats) -> dict[str, Any]:
    found = value_and_kl(policy, P, mu) | {"worst_regret": worst_regret(policy, P)}
    return {name: estimate(numbers) for name, numbers in found.items()}


def _row(name: tuple[str, str, str], beta: float, policy: Floats, P: Floats, mu: Floats, dpo: Floats) -> dict[str, Any]:
    """One policy: V and KL, V minus DPO's at equal beta and at equal KL, and V minus the frontier's at equal KL.

    At DPO's KL stands the policy whose log-ratio to the reference is a multiple of this one's.
    """
    matrix = PreferenceMatrix(P)
    V, kl = worth(policy, matrix, mu), kl_to_reference(policy, mu)
    over_dpo, over_frontier = V - worth(dpo, matrix, mu), V - frontier_value(P, mu, kl)
    start = mu if policy.ndim == mu.ndim else mu[..., None]
    scaled = at_kl(np.log(np.maximum(policy, TINY) / start), mu, kl_to_reference(dpo, mu))
    return {
        "model": name[0],
        "conditioning": name[1],
        "deployment": name[2],
        "beta": beta,
        **_summary(policy, P, mu),
        "over_dpo": estimate(over_dpo),
        "over_dpo_won": float((over_dpo > 1e-9).mean()),
        "over_dpo_at_its_kl": estimate(worth(scaled, matrix, mu) - worth(dpo, matrix, mu)),
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
    real = [row["over_frontier"] for row in results["policies"] if row["deployment"] == "real"]
    count = len(prompt) * results["problems"]
    several = results["problems"] > 1
    kind = "random non-separable problems" if several else "problem, your own"
    errors = ", means and standard errors" if several else ""
    beyond = " by two standard errors" if several else ""
    small = results["betas"][1]
    optima = results["optima"]
    regrets = {name: optima[name]["worst_regret"]["mean"] for name in ("least_regret", "pi_bar")}
    return Caption(
        f"At equal KL {wins or 'none'} of {count} deployed policies {'beat' if wins > 1 else 'beats'} IPO's closed "
        f"form, anchored or not. {_what_seeing_does([_sign(row) for row in real])}",
        f"{results['problems']} {kind}, $K={results['responses']}${errors}. First: where policies end at "
        rf"$\beta={small:g}$, trained by gradient descent; solid, the largest {V} of all prompt-only policies with "
        f"that KL (IPO); dashed, the same for policies that see {Y_}. Second: {V} minus IPO's at the policy's own KL, "
        f"never positive for a prompt-only policy, by construction: the question is how far below. {len(ahead)} of "
        f"{len(prompt)} entries are ahead of DPO at equal {BETA}{beyond}, {dearer} of them by spending more KL. "
        f"Anchoring makes the policy that sees {Y_} unique; what is deployed sees the prompt alone, and gets what the "
        f"two share. Least regret knows no reference: at worst it is {regrets['least_regret']:.3f} below the best "
        f"answer to a {Y_}, {PI_BAR} {regrets['pi_bar']:.3f}.",
        rf"{V} minus DPO's with DPO's KL, at $\beta={small:g}$, InSPO and anchored: "
        f"deployed without {Y_} {_at_dpos_kl(results, 'additive, GD', 'null')} (additive, GD), "
        f"{_at_dpos_kl(results, 'attention', 'null')} (attention); shown a real {Y_} "
        f"{_at_dpos_kl(results, 'attention', 'real')} (attention).",
        key(
            *("V", "pi_bar", "pi_star", "mu", "KL", "y'", "GD", "additive", "low-rank", "attention", "anchored"),
            *("averaged", "mean_embedding", "marginalized", "Nash", "least regret"),
            *(["non-separable"] if several else []),
            items="With DPO's KL: the log-ratio to the reference times what makes its KL DPO's",
        ),
    )


def _at_dpos_kl(results: dict[str, Any], model: str, deployment: str) -> str:
    """InSPO's lead over DPO at DPO's KL and anchored's, at the smaller beta."""
    leads = []
    for conditioning in ("symmetric", "anchored"):
        wanted = model, conditioning, deployment, results["betas"][1]
        (lead,) = (
            row["over_dpo_at_its_kl"]
            for row in results["policies"]
            if (row["model"], row["conditioning"], row["deployment"], row["beta"]) == wanted
        )
        error = rf" $\pm$ {lead['se']:.3f}" if lead["se"] is not None else ""
        leads.append(f"{round(lead['mean'], 3) + 0.0:+.3f}{error}")
    return " and ".join(leads)


def _sign(difference: dict[str, float | None]) -> int:
    """1 or -1 where a difference is beyond two standard errors, of a single problem beyond rounding; else 0."""
    mean, margin = difference["mean"] or 0.0, max(2 * (difference["se"] or 0.0), 1e-7)
    return int(mean > margin) - int(mean < -margin)


def _what_seeing_does(signs: list[int]) -> str:
    """What a real comparator does to V at equal KL, over models and betas."""
    if min(signs) > 0:
        return "Seeing a real comparator pays"
    if max(signs) < 0:
        return "Seeing a real comparator costs"
    return f"Seeing a real comparator pays in {signs.count(1)} of {len(signs)} cases and costs in {signs.count(-1)}"


def draw(results: dict[str, Any], page: Page) -> Figure:
    """The plane with both frontiers and one model's policies; V against IPO at equal KL for all of them."""
    panels = sheet(page, 2, least=3.4, row=max(4.6, 0.5 * page.width) if page.width >= 5 else 4.4, ratios=(6, 5))
    plane, dots = panels.axes
    _draw_plane(plane, results)
    panels.title(plane, rf"what {V} costs: $\beta={results['betas'][1]:g}$, {SHOWN}")
    _draw_dots(dots, results)
    panels.title(dots, f"{V} minus IPO's, at equal KL")
    look: dict[str, Any] = {"ls": "none", "ms": 8}
    large, small = results["betas"]
    panels.legend(
        [
            line(f"largest {V} without {Y_} (IPO)", color=BLACK, lw=1.6),
            line(f"largest {V} with {Y_}", color=BLACK, lw=1.6, ls=(0, (4, 2))),
            line("DPO = two-step RLHF", color=DPO, marker="*", **(look | {"ms": 12})),
            *(patch(label, color) for name, (label, color) in TRAINED_BY.items() if name != "baseline"),
            *(line(name, color="0.3", marker=MARKERS[key_], **look) for key_, name in NAMES.items()),
            line("optima", color=GRAY, mec=BLACK, marker="P", **look),
            line(rf"$\beta={small:g}$", color="0.3", marker="o", **look),
            line(rf"$\beta={large:g}$", color="0.3", marker="o", mfc="white", **look),
        ]
    )
    return panels.figure


def _draw_plane(axis: Any, results: dict[str, Any]) -> None:
    for name, dash in (("ipo", "-"), ("conditioned", (0, (4, 2)))):
        curve = results[name]
        axis.plot([p["kl"]["mean"] for p in curve], [p["value"]["mean"] for p in curve], color=BLACK, lw=1.6, ls=dash)
    marks = {"pi_bar": PI_BAR, "pi_star": PI_STAR, "pi_star_marginal": f"{PI_STAR} averaged over {Y_}"}
    marks |= {"nash": "Nash", "least_regret": "least regret"}
    together: dict[tuple[float, float], list[str]] = {}
    for name in marks:
        point = results["optima"][name]["kl"]["mean"], results["optima"][name]["value"]["mean"]
        together.setdefault((round(point[0], 3), round(point[1], 3)), []).append(name)
    for point, names in together.items():
        axis.plot(*point, "P", color=GRAY, mec=BLACK, ms=9, zorder=2)
        x, y, ha, va = PLACES[names[0]]
        words = " = ".join(marks[name] for name in names)
        axis.annotate(words, point, xytext=(x, y), textcoords="offset points", ha=ha, va=va)
    for row in results["policies"]:
        base = row["deployment"] == "baseline"
        if row["beta"] != results["betas"][1] or not (base or row["model"] == SHOWN):
            continue
        axis.plot(
            row["kl"]["mean"],
            row["value"]["mean"],
            marker="*" if base else MARKERS[row["deployment"]],
            color=TRAINED_BY[row["conditioning"]][1],
            ms=20 if base else 9,
            mec="white",
            mew=0.8,
            ls="none",
            zorder=3 if base else 4,
        )
    axis.set(xlabel=f"{KL} from the reference, nats", ylabel=f"{V} against comparators from {PI_REF}")
    axis.margins(y=0.1)


def _draw_dots(axis: Any, results: dict[str, Any]) -> None:
    """A line for each model and deployment, all conditionings and both betas on it."""
    shown = [row for row in results["policies"] if row["deployment"] != "real"]
    lines = list(dict.fromkeys((row["model"], row["deployment"]) for row in shown))
    for row in shown:
        large = row["beta"] == results["betas"][0]
        _, color = TRAINED_BY[row["conditioning"]]
        axis.errorbar(
            row["over_frontier"]["mean"],
            -lines.index((row["model"], row["deployment"])) + OFFSETS[row["conditioning"]],
            xerr=row["over_frontier"]["se"],
            marker="*" if row["deployment"] == "baseline" else MARKERS[row["deployment"]],
            color=color,
            mfc="white" if large else color,
            ms=9 if row["deployment"] == "baseline" else 5.5,
            lw=1.2,
        )
    axis.axvline(0, color=BLACK, lw=1)
    axis.locator_params(axis="x", nbins=6)
    axis.set(ylim=(-len(lines) + 0.4, 0.6), xlabel=f"difference in {V}")
    axis.set_yticks(
        [-i for i in range(len(lines))],
        [model if name == "baseline" else f"{model}: {NAMES[name]}" for model, name in lines],
    )

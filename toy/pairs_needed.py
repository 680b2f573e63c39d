"""Plot (l): how many preference pairs each method needs.

Random non-separable problems, each with datasets of growing size; everything is trained in one batch
per method. A method needs as many pairs as bring it to 90 % of what the whole population would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inspo.conditioning import Conditioning
from inspo.objectives import value
from inspo.preferences import PreferenceTable
from toy.config import METHOD_COLOURS, METHOD_NAMES, ToyConfig
from toy.problems import random_problems, reference
from toy.style import Caption, caption, plt
from toy.training import Floats, kl_to_reference, pair_distribution, sample_pairs, train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (10, 30, 100, 300, 1000, 3000, 10000)
K = 5
SHARE = 0.9
RESAMPLES = 200
SETTINGS = {
    "plain": ("plain", (0, (4, 2)), "o"),
    "deployed": ("INS, deployed", "-", "s"),
    "real": ("INS, a real y'", "-", "D"),
}


def compute(config: ToyConfig, user: PreferenceTable | None) -> dict[str, Any]:
    """V and KL of every method against the number of pairs, and the number that it needs."""
    rng = np.random.default_rng([config.seed, 12])
    n = config.replicates
    P = random_problems(n, K, rng) if user is None else np.broadcast_to(user.P, (n, *user.P.shape))
    mu = np.tile(reference(config.reference, P.shape[-1]), (n, 1))
    pairs = pair_distribution(P, mu)
    data = np.concatenate([*(sample_pairs(pairs, size, rng) for size in SIZES), pairs])
    levels = len(SIZES) + 1
    tables, references = np.concatenate([P] * levels), np.concatenate([mu] * levels)
    curves = []
    for method in config.methods:
        for conditioning in (Conditioning.NONE, Conditioning.SYMMETRIC):
            objective = config.objective(method, conditioning)
            trained = train(objective, config.parametrisation, data, tables, references, config.schedule())
            policies = {"plain": trained.prompt_policy}
            if conditioning is Conditioning.SYMMETRIC:
                policies = {"deployed": trained.prompt_policy, "real": trained.comparator_policy}
            for setting, policy in policies.items():
                V = value(policy, tables, references, config.psi).reshape(levels, n)
                kl = kl_to_reference(policy, references).reshape(levels, n)
                start = value(mu, P, mu, config.psi)
                curves.append({"method": method, "setting": setting, **_curve(V - start, kl, rng)})
    return {
        "sizes": list(SIZES),
        "datasets": n,
        "responses": P.shape[-1],
        "source": "random non-separable problems" if user is None else user.name,
        "share": SHARE,
        "curves": curves,
    }


def _curve(gain: Floats, kl: Floats, rng: np.random.Generator) -> dict[str, Any]:
    """Mean gain over the reference per level (levels, n), and the pairs needed with a bootstrap over problems."""
    n = gain.shape[1]
    resampled = [_needed(gain[:, rng.integers(n, size=n)].mean(axis=1)) for _ in range(RESAMPLES)]
    return {
        "gain": {"mean": gain.mean(axis=1).tolist(), "se": (gain.std(axis=1, ddof=1) / np.sqrt(n)).tolist()},
        "kl": {"mean": kl.mean(axis=1).tolist(), "se": (kl.std(axis=1, ddof=1) / np.sqrt(n)).tolist()},
        "needed": _needed(gain.mean(axis=1)),
        "needed_between": np.quantile(resampled, [0.16, 0.84]).tolist(),
    }


def _needed(gain: Floats) -> float:
    """Pairs at which the gain reaches its share of the last level's for good, interpolated in log n.

    The smallest size counts as enough where it already is, the largest where none is.
    """
    share = gain[:-1] / gain[-1] if gain[-1] > 0 else np.zeros(len(gain) - 1)
    below = np.flatnonzero(share < SHARE)
    if not len(below):
        return float(SIZES[0])
    last = int(below[-1])
    if last == len(SIZES) - 1:
        return float(SIZES[-1])
    part = (SHARE - share[last]) / (share[last + 1] - share[last])
    return float(np.exp(np.log(SIZES[last]) * (1 - part) + np.log(SIZES[last + 1]) * part))


def describe(results: dict[str, Any]) -> Caption:
    """The finding, how to read it, and the number."""
    needed = {(curve["method"], curve["setting"]): curve["needed"] for curve in results["curves"]}
    methods = list(dict.fromkeys(curve["method"] for curve in results["curves"]))
    more = sum(needed[m, "real"] > needed[m, "plain"] for m in methods)
    first = methods[0]
    name = METHOD_NAMES[first]
    return Caption(
        f"Learning K (K - 1) / 2 interactions takes data: with a comparator {more} of {len(methods)} methods need more pairs",
        f"{results['datasets']} datasets per size on {results['source']} (K = {results['responses']}), means and standard "
        "errors of the gain in V over pi_ref; right: pairs at which a method has "
        f"{results['share']:.0%} of what the whole population (inf) teaches it, with a 68 % interval over problems. "
        "Gains are at each method's own KL, which results.json has.",
        f"{name} needs {needed[first, 'plain']:.0f} pairs; with INS {needed[first, 'real']:.0f} for the policy "
        f"that sees y', {needed[first, 'deployed']:.0f} for the deployed one.",
    )


def draw(results: dict[str, Any]) -> Figure:
    """Gain against pairs without and with a comparator, and the pairs needed."""
    figure: Figure
    figure, (prompt, real, dots) = plt().subplots(1, 3, figsize=(12.6, 4.8), gridspec_kw={"width_ratios": [4, 4, 3.4]})
    figure.subplots_adjust(left=0.055, right=0.985, top=0.85, bottom=0.12, wspace=0.3)
    prompt.sharey(real)
    x = [*results["sizes"], results["sizes"][-1] * 4]
    ticks = [str(size) if size < 1000 else f"{size // 1000}k" for size in results["sizes"]]
    methods = list(dict.fromkeys(curve["method"] for curve in results["curves"]))
    rows = [(method, setting) for method in methods for setting in SETTINGS]
    for curve in results["curves"]:
        colour = METHOD_COLOURS[curve["method"]]
        _, dash, marker = SETTINGS[curve["setting"]]
        axis = real if curve["setting"] == "real" else prompt
        gain = curve["gain"]
        axis.errorbar(x, gain["mean"], yerr=gain["se"], color=colour, ls=dash, marker=marker, ms=4.5, lw=1.6)
        y = -rows.index((curve["method"], curve["setting"]))
        low, high = curve["needed_between"]
        dots.plot([low, high], [y, y], color=colour, lw=2)
        dots.plot(curve["needed"], y, marker=marker, color=colour, ms=7)
    for axis, title in ((prompt, "deployed, the prompt alone"), (real, "with a real y'")):
        axis.set(xscale="log", xlabel="preference pairs", ylabel="gain in V over the reference")
        axis.set_xticks(x, [*ticks, "inf"])
        axis.minorticks_off()
        axis.axhline(0, color="0.3", lw=1)
        axis.set_title(title, loc="left")
    dots.set(xscale="log", xlabel=f"pairs for {results['share']:.0%} of the population's gain", xlim=(8, 13000))
    dots.set_yticks([-i for i in range(len(rows))], [f"{METHOD_NAMES[m]}: {SETTINGS[s][0]}" for m, s in rows], size=8)
    handles = [plt().Line2D([], [], color=METHOD_COLOURS[m], lw=2.2, label=METHOD_NAMES[m]) for m in methods]
    handles += [
        plt().Line2D([], [], color="0.3", ls=dash, marker=marker, ms=5, label=label)
        for label, dash, marker in SETTINGS.values()
    ]
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.04, 0.99), ncols=len(handles))
    caption(figure, describe(results))
    return figure

"""How many preference pairs each method needs.

Random non-separable problems, each with datasets of growing size; everything is trained in one batch
per method. On few pairs a method overfits, moves far and may gain V by that alone, so what counts is
V's gain as a share of the largest possible one at the same KL with the same view of y'. A method
needs as many pairs as bring it to 90 % of the share that the whole population would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inspo.conditioning import Conditioning
from inspo.objectives import value
from inspo.preferences import PreferenceTable
from toy.baselines import frontier_value
from toy.config import ToyConfig
from toy.estimates import Floats, estimate
from toy.problems import random_problems, reference
from toy.style import METHOD_COLORS, METHOD_NAMES, Caption, plt, spaced, subplots
from toy.training import kl_to_reference, pair_distribution, sample_pairs, train

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
            loss = config.loss(method, conditioning)
            trained = train(loss, config.parametrization, data, tables, references, config.schedule())
            policies = {"plain": trained.prompt_policy}
            if conditioning is Conditioning.SYMMETRIC:
                policies = {"deployed": trained.prompt_policy, "real": trained.comparator_policy}
            for setting, policy in policies.items():
                V = value(policy, tables, references, config.psi).reshape(levels, n)
                kl = kl_to_reference(policy, references)
                best = frontier_value(tables, references, kl, config.psi, conditioned=setting == "real")
                start = value(mu, P, mu, config.psi)
                gains = V - start, best.reshape(levels, n) - start, kl.reshape(levels, n)
                curves.append({"method": method, "setting": setting, **_curve(*gains, rng)})
    return {
        "sizes": list(SIZES),
        "datasets": n,
        "responses": P.shape[-1],
        "source": "random non-separable problems" if user is None else user.name,
        "level": SHARE,
        "curves": curves,
    }


def _curve(gain: Floats, possible: Floats, kl: Floats, rng: np.random.Generator) -> dict[str, Any]:
    """Gain over the reference, KL, and the share of the possible gain, per level; and the pairs needed.

    Args:
        gain: (levels, n) V minus the reference's.
        possible: (levels, n) the same of the best policy with this KL.
        kl: (levels, n) nats.
        rng: for the bootstrap over problems.
    """
    n = gain.shape[1]
    drawn = rng.integers(n, size=(RESAMPLES, n))
    shares = _share(gain[:, drawn], possible[:, drawn])
    share = _share(gain, possible)
    return {
        "share": {"mean": share.tolist(), "se": shares.std(axis=1, ddof=1).tolist()},
        "gain": estimate(gain),
        "kl": estimate(kl),
        "needed": needed(share),
        "needed_between": np.quantile([needed(resampled) for resampled in shares.T], [0.16, 0.84]).tolist(),
    }


def _share(gain: Floats, possible: Floats) -> Floats:
    """Total gain over the total possible; nothing of nothing, of a policy still at the reference, is nothing."""
    total, largest = gain.sum(axis=-1), possible.sum(axis=-1)
    return np.asarray(np.divide(total, largest, out=np.zeros_like(total), where=largest > 1e-9))


def needed(share: Floats) -> float:
    """Pairs at which the share reaches :data:`SHARE` of the last level's for good, interpolated in log n.

    Args:
        share: (levels,) for every size of :data:`SIZES` and the population.

    Returns:
        Pairs; the smallest size where it is enough already, the largest where none is.
    """
    if share[-1] <= 0:
        return float(SIZES[-1])
    target = SHARE * share[-1]
    below = np.flatnonzero(share[:-1] < target)
    if not len(below):
        return float(SIZES[0])
    last = int(below[-1])
    if last == len(SIZES) - 1:
        return float(SIZES[-1])
    part = (target - share[last]) / (share[last + 1] - share[last])
    return float(np.exp(np.log(SIZES[last]) * (1 - part) + np.log(SIZES[last + 1]) * part))


def describe(results: dict[str, Any]) -> Caption:
    """The finding, how to read it, and the number."""
    curves = {(curve["method"], curve["setting"]): curve for curve in results["curves"]}
    methods = list(dict.fromkeys(curve["method"] for curve in results["curves"]))
    more = sum(curves[m, "deployed"]["needed_between"][0] > curves[m, "plain"]["needed_between"][1] for m in methods)
    lower = sum(curves[m, "deployed"]["share"]["mean"][-1] < curves[m, "plain"]["share"]["mean"][-1] for m in methods)
    first = methods[0]
    name, source = METHOD_NAMES[first], spaced(results["source"])
    plain, deployed, real = (curves[first, setting]["needed"] for setting in SETTINGS)
    return Caption(
        f"At equal KL INS needs more pairs for its deployed policy with {more} of {len(methods)} methods, "
        f"and ends lower with {lower}",
        f"{results['datasets']} datasets per size on {source} (K = {results['responses']}). Left, middle: "
        "gain in V over pi_ref as a share of the largest possible gain at the same KL (IPO's closed form; with y' in "
        "view the Gibbs policy of P), with bootstrap standard errors; inf: the whole population. Right: pairs for "
        f"{results['level']:.0%} of the population's share, with 68 % intervals over problems; more is where they are "
        "apart. V and KL: results.json.",
        f"{name} needs {plain:.0f} pairs; with INS {deployed:.0f} for the deployed policy, {real:.0f} for the one that "
        "sees y'.",
    )


def draw(results: dict[str, Any]) -> Figure:
    """Gain against pairs without and with a comparator, and the pairs needed."""
    margins = {"left": 0.055, "top": 0.85, "bottom": 0.12, "wspace": 0.28}
    figure, axes = subplots(1, 3, (12.6, 4.8), margins=margins, gridspec_kw={"width_ratios": [4, 4, 3]})
    prompt, real, dots = axes
    box = dots.get_position()
    dots.set_position((box.x0 + 0.06, box.y0, box.width - 0.06, box.height))
    prompt.sharey(real)
    x = [*results["sizes"], results["sizes"][-1] * 4]
    ticks = [str(size) if size < 1000 else f"{size // 1000}k" for size in results["sizes"]]
    methods = list(dict.fromkeys(curve["method"] for curve in results["curves"]))
    rows = [(method, setting) for method in methods for setting in SETTINGS]
    for curve in results["curves"]:
        color = METHOD_COLORS[curve["method"]]
        _, dash, marker = SETTINGS[curve["setting"]]
        axis = real if curve["setting"] == "real" else prompt
        share = curve["share"]
        axis.errorbar(x, share["mean"], yerr=share["se"], color=color, ls=dash, marker=marker, ms=4.5, lw=1.6)
        y = -rows.index((curve["method"], curve["setting"]))
        low, high = curve["needed_between"]
        dots.plot([low, high], [y, y], color=color, lw=2)
        dots.plot(curve["needed"], y, marker=marker, color=color, ms=7)
    for axis, title in ((prompt, "deployed, the prompt alone"), (real, "with a real y'")):
        axis.set(xscale="log", xlabel="preference pairs", ylabel="share of the possible gain at this KL")
        axis.set_xticks(x, [*ticks, "inf"])
        axis.minorticks_off()
        axis.axhline(1, color="0.3", lw=1)
        axis.set_title(title, loc="left")
    dots.set(xscale="log", xlabel=f"pairs for {results['level']:.0%} of the population's share", xlim=(8, 13000))
    dots.set_yticks([-i for i in range(len(rows))], [f"{METHOD_NAMES[m]}: {SETTINGS[s][0]}" for m, s in rows], size=8)
    handles = [plt().Line2D([], [], color=METHOD_COLORS[m], lw=2.2, label=METHOD_NAMES[m]) for m in methods]
    handles += [
        plt().Line2D([], [], color="0.3", ls=dash, marker=marker, ms=5, label=label)
        for label, dash, marker in SETTINGS.values()
    ]
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.04, 0.99), ncols=len(handles))
    return figure

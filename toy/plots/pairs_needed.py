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
from inspo.preferences import PreferenceTable
from toy.baselines import frontier_value, worth
from toy.config import ToyConfig
from toy.estimates import Floats, estimate
from toy.problems import random_problems, reference
from toy.style import BLUE, GREEN, INS, METHOD_NAMES, Page, line, sheet
from toy.training import kl_to_reference, pair_distribution, sample_pairs, train
from toy.words import KL, PI_REF, Y_, Caption, V, key, spaced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (10, 30, 100, 300, 1000, 3000, 10000)
K = 5
SHARE = 0.9
RESAMPLES = 200
PLATEAU = 0.6  # of a share below this few pairs reach 90 %, which is said
SETTINGS = {
    "plain": ("baseline", BLUE, (0, (4, 2)), "o"),
    "deployed": ("INS, deployed", INS, "-", "s"),
    "real": (f"INS, a real {Y_}", GREEN, "-.", "D"),
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
                V = worth(policy, tables, references, config.psi).reshape(levels, n)
                kl = kl_to_reference(policy, references)
                best = frontier_value(tables, references, kl, config.psi, conditioned=setting == "real")
                start = worth(mu, P, mu, config.psi)
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
    low = [
        f"{METHOD_NAMES[method]}: {SETTINGS[setting][0]}"
        for (method, setting), curve in curves.items()
        if 0 < curve["share"]["mean"][-1] < PLATEAU
    ]
    little = f" Few pairs are enough for 90% of little: {' and '.join(low)} end below {PLATEAU:.0%}." if low else ""
    return Caption(
        f"At equal KL INS needs more pairs for its deployed policy with {more} of {len(methods)} methods, "
        f"and ends lower with {lower}",
        f"{results['datasets']} datasets per size on {source} ($K={results['responses']}$). Lines: gain in {V} "
        f"over {PI_REF} "
        f"as a share of the largest possible gain at the same KL (IPO's closed form; with {Y_} in view the "
        f"Gibbs policy "
        "of the preferences), with bootstrap standard errors; all: the whole population. Bars below: pairs for "
        f"{results['level']:.0%} of the population's share, with 68 % intervals over problems; more is where they are "
        f"apart.{little}",
        f"{name} needs {plain:.0f} pairs; with INS {deployed:.0f} for the deployed policy, {real:.0f} for the one that "
        f"sees {Y_}.",
        key(
            "V",
            "mu",
            "KL",
            "K",
            "y'",
            "INS",
            "deployed",
            "population",
            *(["non-separable"] if "random" in source else []),
        ),
    )


def draw(results: dict[str, Any], page: Page) -> Figure:
    """A panel per method: gain against pairs, and below it the pairs needed."""
    sizes = results["sizes"]
    methods = list(dict.fromkeys(curve["method"] for curve in results["curves"]))
    panels = sheet(page, len(methods), least=2.4, aspect=1.0)
    ticks = [str(size) if size < 1000 else f"{size // 1000}k" for size in sizes]
    everything = sizes[-1] * 6
    low = min(0.0, *(m - s for c in results["curves"] for m, s in zip(*c["share"].values(), strict=True)))
    for i, (axis, method) in enumerate(zip(panels.axes, methods, strict=True)):
        for curve in results["curves"]:
            if curve["method"] != method:
                continue
            _, color, dash, marker = SETTINGS[curve["setting"]]
            share: dict[str, list[float]] = curve["share"]
            look: dict[str, Any] = {"color": color, "marker": marker, "ms": 5, "lw": 1.7}
            at = {name: np.array(share[name]) for name in ("mean", "se")}
            axis.errorbar(sizes, at["mean"][:-1], yerr=at["se"][:-1], ls=dash, **look)
            axis.errorbar(everything, at["mean"][-1], yerr=at["se"][-1], ls="none", **look)
            y = low - 0.07 * (1 + list(SETTINGS).index(curve["setting"]))
            axis.plot(curve["needed_between"], [y, y], color=color, lw=2.2, solid_capstyle="butt")
            axis.plot(curve["needed"], y, color=color, marker=marker, ms=5.5, mec="white", mew=0.6)
        axis.set(
            xscale="log", xlabel="preference pairs", xlim=(sizes[0] / 1.5, everything * 1.8), ylim=(low - 0.29, 1.06)
        )
        axis.set_xticks([*sizes, everything], [*(tick if j % 2 == 0 else "" for j, tick in enumerate(ticks)), "all"])
        axis.minorticks_off()
        axis.axvline(sizes[-1] * 2.4, color="0.6", lw=1, ls=":")
        axis.axhline(1, color="0.3", lw=1)
        axis.axhline(low - 0.02, color="0.6", lw=0.8)
        axis.set_yticks([tick / 5 for tick in range(int(low * 5), 6)])
        if i % panels.columns == 0:
            axis.set_ylabel(f"share of the possible gain at this {KL}")
        panels.title(axis, METHOD_NAMES[method])
    panels.legend(
        [line(label, color=color, ls=dash, marker=marker, ms=5) for label, color, dash, marker in SETTINGS.values()]
    )
    return panels.figure

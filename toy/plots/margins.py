"""What a trained policy's margin knows of the preferences, from Bradley-Terry to cyclic ones.

A margin, read as log-odds, is a judge of pairs. DPO's is a difference of K rewards, and so at best the Bradley-Terry
fit; that of a policy which sees the comparator has a number of its own for every pair. With all labels there are the
second loses nothing; with few it pays for its numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from inspo.preferences import PreferenceTable, bradley_terry, fit_bradley_terry
from toy.baselines import TIE, anchored, anchored_margin, bradley_terry_reward, symmetric_margin
from toy.config import ToyConfig
from toy.estimates import Floats, estimate
from toy.minimizers import largest_u, one_number_family
from toy.problems import NotApplicableError, reference, require_interior
from toy.style import ANCHORED, BLACK, DPO, INS, Page, handles_of, line, sheet
from toy.training import pair_distribution, sample_pairs
from toy.words import Caption, key, spaced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KNOB = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SAMPLED = (0.0, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)
SHOWN = (0.0, 0.2, 1.0)
SIZES = tuple(np.logspace(1, 5, 17).round().astype(int).tolist())
STRENGTHS = (16, 8, 4, 2, 1)
AHEAD = 0.75  # with what probability each of the five beats the next two, where preferences are cyclic
BETA = 1.0
SMOOTHING = 0.5
RESAMPLES = 200
LINES = {
    "dpo": ("DPO's margin", DPO, "o", "-"),
    "symmetric": ("symmetric INS margin", INS, "s", "-"),
    "anchored": ("anchored INS margin", ANCHORED, "x", (0, (4, 2))),
}


def mixture(turn: float, user: Floats | None = None) -> Floats:
    """(K, K) preferences whose log-odds are 1 - turn parts Bradley-Terry's and turn parts of a cycle of five.

    Args:
        turn: in [0, 1].
        user: (K, K) another table in the place of the cycle, and its own Bradley-Terry fit, by all pairs alike.
    """
    if user is None:
        ahead = (np.arange(5)[None] - np.arange(5)[:, None]) % 5
        ends = bradley_terry(np.log(STRENGTHS)), np.choose(ahead, [0.5, AHEAD, AHEAD, 1 - AHEAD, 1 - AHEAD])
    else:
        ends = bradley_terry(fit_bradley_terry(user)), user
    separable, cyclic = (logit(P) for P in ends)
    return np.asarray(expit((1 - turn) * separable + turn * cyclic))


def compute(config: ToyConfig, user: PreferenceTable | None) -> dict[str, Any]:
    """Excess log-loss and accuracy of the three margins, over the population and from sampled labels."""
    require_interior(user)
    k = len(STRENGTHS) if user is None else len(user.P)
    if k < 3:
        raise NotApplicableError("with two responses a reward explains every preference")
    mu = reference(config.reference, k)
    levels = [mixture(turn, None if user is None else user.P) for turn in KNOB]
    known = [population(P, mu) for P in levels]
    return {
        "problem": "built-in" if user is None else user.name,
        "responses": k,
        "datasets": config.replicates,
        "knob": list(KNOB),
        "best_accuracy": [accuracy(P, pair_distribution(P, mu)).item() for P in levels],
        "margins": {
            name: {
                "excess": [excess(Q[name], P, mu).item() for Q, P in zip(known, levels, strict=True)],
                "accuracy": [
                    accuracy(Q[name], pair_distribution(P, mu)).item() for Q, P in zip(known, levels, strict=True)
                ],
            }
            for name in LINES
        },
        "sizes": list(SIZES),
        "sampled": [
            {"knob": turn, **_sampled(levels[KNOB.index(turn)], mu, config, stream)}
            for stream, turn in enumerate(SAMPLED)
        ],
    }


def population(P: Floats, mu: Floats) -> dict[str, Floats]:
    """(K, K) by name: the preferences that each margin tells, at the least of its population loss.

    Eq. (9) has many such policies; this is one in the middle of the family that has a closed form.
    """
    reward = bradley_terry_reward(P, mu)
    middle = one_number_family(P, mu, BETA, largest_u(P, mu, BETA) / 2)
    return {
        "dpo": bradley_terry(reward),
        "symmetric": np.asarray(expit(symmetric_margin(middle, mu, BETA))),
        "anchored": np.asarray(expit(anchored_margin(anchored(P, mu, BETA), mu, BETA))),
    }


def excess(told: Floats, P: Floats, mu: Floats) -> Floats:
    """(...) log-loss of told preferences (..., K, K), minus that of the true ones, in nats a pair."""
    return np.asarray((pair_distribution(P, mu) * (np.log(P) - np.log(told))).sum(axis=(-2, -1)))


def accuracy(told: Floats, pairs: Floats) -> Floats:
    """(...) share of the labels that told preferences (..., K, K) call more probable; a tie counts one half."""
    return np.asarray((pairs * np.where(np.abs(told - 0.5) <= TIE, 0.5, told > 0.5)).sum(axis=(-2, -1)))


def _sampled(P: Floats, mu: Floats, config: ToyConfig, stream: int) -> dict[str, Any]:
    """Excess log-loss of both kinds of margin by number of labels, on the same datasets, and where they cross."""
    rng = np.random.default_rng([config.seed, 15, stream])
    pairs = np.broadcast_to(pair_distribution(P, mu), (config.replicates, *P.shape))
    found: dict[str, list[Floats]] = {"dpo": [], "ins": []}
    for size in SIZES:
        dpo, ins = fitted(sample_pairs(pairs, size, rng) * size)
        found["dpo"].append(excess(dpo, P, mu))
        found["ins"].append(excess(ins, P, mu))
    by_dataset = {name: np.stack(rows) for name, rows in found.items()}
    lead = by_dataset["dpo"] - by_dataset["ins"]
    drawn = rng.integers(config.replicates, size=(RESAMPLES, config.replicates))
    crossings = np.array([crossover(lead[:, some].mean(axis=1)) for some in drawn])
    between = np.quantile(crossings, [0.16, 0.84], method="nearest")
    return {
        **{name: estimate(rows) for name, rows in by_dataset.items()},
        "crossover": _finite(crossover(lead.mean(axis=1))),
        "between": [_finite(end) for end in between.tolist()],
    }


def _finite(pairs: float) -> float | None:
    return pairs if np.isfinite(pairs) else None


def fitted(counts: Floats) -> tuple[Floats, Floats]:
    """What DPO's margin and an INS margin tell after so many labels, (..., K, K) each, half a win added to every side.

    The Bradley-Terry fit, and every pair's own share: where both losses are least on a sample, as on the population.

    Args:
        counts: (..., K, K) how often i was chosen over j.
    """
    wins = counts + SMOOTHING
    return bradley_terry(fit_bradley_terry(wins)), np.asarray(wins / (wins + np.swapaxes(wins, -1, -2)))


def crossover(lead: Floats) -> float:
    """Pairs from which a lead is positive for good, interpolated in log n; inf where it is not at the largest size.

    Args:
        lead: (sizes,) for every size of :data:`SIZES`.
    """
    behind = np.flatnonzero(lead <= 0)
    if not len(behind):
        return float(SIZES[0])
    last = int(behind[-1])
    if last == len(SIZES) - 1:
        return float("inf")
    part = lead[last] / (lead[last] - lead[last + 1])
    return float(np.exp(np.log(SIZES[last]) * (1 - part) + np.log(SIZES[last + 1]) * part))


def expected_crossover(responses: int, misfit: float) -> float:
    """Pairs at which (K - 1)(K - 2) / 2 more numbers, at 1 / 2n nats each, cost what DPO's misfit does, in nats."""
    return (responses - 1) * (responses - 2) / 4 / misfit


def describe(results: dict[str, Any]) -> Caption:
    """The finding, how to read it, and the number."""
    dpo, k = results["margins"]["dpo"], results["responses"]
    own = results["problem"] != "built-in"
    most = max(results["margins"][name]["excess"][i] for name in ("symmetric", "anchored") for i in range(len(KNOB)))
    ends = (
        (f"the Bradley-Terry fit of {spaced(results['problem'])}", "the table itself")
        if own
        else (
            f"Bradley-Terry, strengths {' : '.join(map(str, STRENGTHS))}",
            f"a cycle in which each beats two, {AHEAD}",
        )
    )
    crossings = {row["knob"]: row for row in results["sampled"]}
    numbers = ", ".join(f"{_pairs(crossings[turn])} at {turn:g}" for turn in (0.1, 0.2, 0.5))
    return Caption(
        _finding(results),
        f"Log-odds of the preferences: from 0, {ends[0]}, to 1, {ends[1]}, mixed ($K={k}$). First two: where each "
        "population loss is least. DPO's margin is the best Bradley-Terry fit, both INS margins are the log-odds "
        f"themselves (in excess by at most {most:.0e} nats); {_accurate(results)}. Third: fitted to $n$ "
        f"sampled labels, half a win added to both sides of every pair; {results['datasets']} datasets, means and "
        "standard errors. Of tables the two INS margins are fitted alike. Last: from which $n$ they are better (68 % "
        rf"intervals; at {SIZES[0]}: there already), and the rule $(K-1)(K-2)/(4\,\mathrm{{misfit}})$.",
        f"INS margins are better judges from {numbers}; at 1 DPO's loses {dpo['excess'][-1]:.3f} nats a pair, with an "
        f"accuracy of {dpo['accuracy'][-1]:.1%}, of {results['best_accuracy'][-1]:.1%} that can be.",
        key("margin", "INS", "anchored", "K", "population"),
    )


def _accurate(results: dict[str, Any]) -> str:
    """Up to where DPO's margin is as accurate as can be."""
    gaps = np.subtract(results["best_accuracy"], results["margins"]["dpo"]["accuracy"])
    wrong = np.flatnonzero(gaps > TIE)
    if not len(wrong):
        return "DPO's margin is as accurate as can be"
    return f"DPO's margin is as accurate as can be up to {KNOB[wrong[0] - 1]:g}, less so beyond"


def _pairs(row: dict[str, Any]) -> str:
    """From how many labels INS margins are better."""
    return f"{row['crossover']:,.0f} labels" if row["crossover"] else f"none up to {SIZES[-1]:,}"


def _finding(results: dict[str, Any]) -> str:
    if results["margins"]["dpo"]["excess"][-1] < TIE:
        return "Where a reward explains all, DPO's margin knows as much as INS margins do, from fewer labels"
    found = [row["crossover"] or np.inf for row in results["sampled"] if row["knob"]]
    know = "INS margins know every preference, DPO's the Bradley-Terry part alone"
    if max(found) <= SIZES[0]:
        return f"{know}; from {SIZES[0]} labels on they are the better judges"
    return f"{know}; with few labels DPO's is the better judge"


def draw(results: dict[str, Any], page: Page) -> Figure:
    """Excess and accuracy against the knob, excess against labels, and the number of labels that decides."""
    panels = sheet(page, 4, across=4 if page.width > 12 else 2, aspect=0.62)
    loss, right, few, crossing = panels.axes
    own = results["problem"] != "built-in"
    turn_label = f"from Bradley-Terry (0) to {'the table' if own else 'cyclic'} (1)"
    for name, (label, color, marker, dash) in LINES.items():
        margin = results["margins"][name]
        look: dict[str, Any] = {"color": color, "marker": marker, "ls": dash, "label": label, "lw": 1.8, "ms": 6}
        loss.plot(results["knob"], margin["excess"], **look)
        right.plot(results["knob"], margin["accuracy"], **look)
    loss.set(xlabel=turn_label, ylabel="excess log-loss, nats a pair")
    right.set(xlabel=turn_label, ylabel="accuracy")
    panels.title(loss, "population")
    panels.title(right, "population")
    _draw_sampled(few, results)
    panels.title(few, "$n$ sampled labels")
    _draw_crossings(crossing, results)
    crossing.set(xlabel=turn_label, ylabel="labels $n$", yscale="log", xlim=(-0.04, 1.04))
    panels.title(crossing, "from where INS margins are better")
    panels.legend(handles_of([loss]))
    return panels.figure


def _draw_sampled(axis: Any, results: dict[str, Any]) -> None:
    dashes = dict(zip(SHOWN, ("-", (0, (4, 2)), (0, (1, 1))), strict=True))
    for row in results["sampled"]:
        if row["knob"] in dashes:
            for name, color, marker in (("dpo", DPO, "o"), ("ins", INS, "s")):
                mean, se = (np.array(row[name][part]) for part in ("mean", "se"))
                look = {"color": color, "marker": marker, "ms": 4, "ls": dashes[row["knob"]]}
                axis.errorbar(results["sizes"], mean, yerr=se, **look)
    axis.set(xscale="log", yscale="log", xlabel="labels $n$", ylabel="excess log-loss, nats a pair")
    axis.set_xticks([SIZES[0], 1000, SIZES[-1]])
    axis.minorticks_off()
    handles = [line(f"mixed {turn:g}", color=BLACK, ls=dash) for turn, dash in dashes.items()]
    axis.legend(handles=handles, loc="lower left")


def _draw_crossings(axis: Any, results: dict[str, Any]) -> None:
    misfit = np.array(results["margins"]["dpo"]["excess"])
    there = misfit > TIE
    knob = np.array(results["knob"])[there]
    rule = [expected_crossover(results["responses"], one) for one in misfit[there]]
    axis.plot(knob, rule, color="0.5", lw=1.5, ls=(0, (4, 2)), label=r"$(K-1)(K-2)/(4\,\mathrm{misfit})$")
    met = [row for row in results["sampled"] if row["crossover"]]
    at = [row["crossover"] for row in met]
    low = [row["crossover"] - (row["between"][0] or row["crossover"]) for row in met]
    high = [(row["between"][1] or SIZES[-1]) - row["crossover"] for row in met]
    spread = np.maximum([low, high], 0)
    axis.errorbar([row["knob"] for row in met], at, yerr=spread, color=INS, marker="s", ms=4, ls="none", capsize=3)
    axis.legend(loc="upper right")

"""Self-play on a cycle, exact: what is deployed is labeled, updated and deployed again, round by round.

A round draws both responses of a pair from the policy, has a labeler say which is preferred, and takes the policy
to where the update's population loss is least. Labelers: the true judge; DPO's implicit reward and an anchored
policy's margin, both fitted once. Updates: DPO's and IPO's, their reference being the policy of the round before, and
INPO's, a step of mirror descent toward the Nash policy with a pull to the first reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from inspo.objectives import gibbs_policy, scores, value
from inspo.preferences import PreferenceTable, bradley_terry
from toy.baselines import anchored, anchored_margin, bradley_terry_reward, ipo, nash, rlhf
from toy.config import ToyConfig
from toy.estimates import Floats
from toy.problems import RESPONSES, reference, require_interior, separable
from toy.style import ANCHORED, BLACK, BROWN, DPO, GREEN, ORANGE, SKY, Page, handles_of, heading, sheet
from toy.words import Caption, V, codes, key, spaced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROUNDS = 60
BETA = 1.0  # DPO's; of the anchored margin too
ETA = 0.25  # IPO's tau and INPO's step: near the uniform policy as long a step as DPO's, whose log-odds are 4 (P - 1/2)
TAU = 0.05  # INPO's pull to the reference
RAREST = 1e-9  # a response is drawn into pairs at least that often: which rewards feel by as much
SETTLED = 1e-3  # of a policy that moves less in a round
CYCLE = (0.8, 0.7, 0.6)  # P12, P23, P31
# (update, labeler): label, color, marker, dash.
RUNS: dict[tuple[str, str], tuple[str, str, str, Any]] = {
    ("dpo", "judge"): ("DPO, true judge", DPO, "", "-"),
    ("dpo", "margin"): ("DPO, anchored INS margin", ANCHORED, "D", "none"),
    ("dpo", "reward"): ("DPO, own implicit reward", ORANGE, "", (0, (4, 2))),
    ("ipo", "judge"): ("IPO, true judge", SKY, "", (0, (1, 1))),
    ("inpo", "judge"): ("INPO, true judge", GREEN, "", "-"),
    ("inpo", "margin"): ("INPO, anchored INS margin", BLACK, "x", "none"),
    ("inpo", "reward"): ("INPO, DPO's implicit reward", BROWN, "", (0, (6, 1.5, 1, 1.5))),
}

UPDATES, LABELERS = ("dpo", "inpo"), ("judge", "margin", "reward")


def uneven_cycle() -> PreferenceTable:
    """A cycle of three whose Nash policy, (1/3, 1/6, 1/2), is not the uniform reference: there is something to find."""
    a, b, c = CYCLE
    P = np.array([[0.5, a, 1 - c], [1 - a, 0.5, b], [c, 1 - b, 0.5]])
    return PreferenceTable(P, RESPONSES, "cyclic", f"P12 = {a:g}, P23 = {b:g}, P31 = {c:g}")


def compute(config: ToyConfig, user: PreferenceTable | None) -> dict[str, Any]:
    """Every run of every problem: exploitability, value and policy by round, and how it ends."""
    require_interior(user)
    tables = [user] if user is not None else [uneven_cycle(), separable()]
    return {
        "rounds": ROUNDS,
        "problems": [_problem(table, reference(config.reference, len(table.P))) for table in tables],
    }


def _problem(table: PreferenceTable, mu: Floats) -> dict[str, Any]:
    labels = labelers(table.P, mu)
    runs = []
    for update, labeler in RUNS:
        path = play(update, labels[labeler], mu)
        runs.append(
            {
                "update": update,
                "labeler": labeler,
                "exploitability": exploitability(path, table.P).tolist(),
                "value": value(path, table.P[None], mu).tolist(),
                "policies": path.tolist(),
                "end": ending(path),
            }
        )
    best = nash(table.P)
    return {
        "problem": table.name,
        "source": table.source,
        "labels": list(table.labels),
        "nash": best.tolist(),
        "nash_value": float(value(best, table.P, mu)),
        "runs": runs,
    }


def labelers(P: Floats, mu: Floats) -> dict[str, Floats]:
    """(K, K) by name: the probability that each labels i as preferred to j. Pairs from mu train reward and margin."""
    return {
        "judge": P,
        "reward": bradley_terry(bradley_terry_reward(P, mu)),
        "margin": np.asarray(expit(anchored_margin(anchored(P, mu, BETA), mu, BETA))),
    }


def play(update: str, labels: Floats, mu: Floats, rounds: int = ROUNDS, tau: float = TAU) -> Floats:
    """(rounds + 1, K) the deployed policies, from mu; arguments as of :func:`step`."""
    path = [mu]
    for _ in range(rounds):
        path.append(step(update, labels, path[-1], mu, tau))
    return np.stack(path)


def step(update: str, labels: Floats, policy: Floats, mu: Floats, tau: float = TAU) -> Floats:
    """(K,) the next policy: where the update's population loss is least, on pairs from this one.

    Args:
        update: ``dpo``, ``ipo`` or ``inpo``.
        labels: (K, K) preferences of the labeler.
        policy: (K,) the deployed one.
        mu: (K,) the first one.
        tau: INPO's pull to mu, in nats.

    Source: INPO's closed form, pi exp((P(. > pi) - tau log(pi / mu)) / eta), Zhang et al. 2024 (arXiv:2407.00617).
    """
    if update == "dpo":
        return rlhf(labels, policy, BETA, np.maximum(policy, RAREST))
    if update == "ipo":
        return ipo(labels, policy, ETA)
    gain = scores(labels, policy).astype(np.float64)
    return np.asarray(gibbs_policy(gain - tau * np.log(policy / mu), policy, ETA))


def exploitability(policies: Floats, P: Floats) -> Floats:
    """(...) the best response's probability to beat a draw from each of (..., K) policies, minus 1/2."""
    return np.asarray((policies @ P.T).max(axis=-1) - 0.5)


def ending(path: Floats) -> str:
    """How a path ends: ``one response`` or ``mixture`` that it stays at, ``circles``, or ``moving``.

    Over the second half of the rounds: circles have another favorite at least twice.
    """
    late = path[len(path) // 2 :]
    favorites = late.argmax(axis=-1)
    changes = int((favorites[1:] != favorites[:-1]).sum())
    if changes >= 2:
        return "circles"
    if np.abs(late[-1] - late[-2]).max() > SETTLED:
        return "moving"
    return "one response" if late[-1].max() > 0.99 else "mixture"


WORDS = {"circles": "circles", "one response": "ends at one response", "mixture": "settles", "moving": "still moves"}


def describe(results: dict[str, Any]) -> Caption:
    """The finding, how to read it, and the number."""
    first = results["problems"][0]
    ends = {(run["update"], run["labeler"]): run for run in first["runs"]}
    name = spaced(first["problem"])
    last = {update: ", ".join(f"{ends[update, by]['exploitability'][-1]:.3f}" for by in LABELERS) for update in UPDATES}
    ahead = max(first["runs"], key=lambda run: float(run["value"][-1]))
    late = max(ends["dpo", "judge"]["exploitability"][ROUNDS // 2 :])
    apart = max(
        float(np.abs(np.subtract(ends[update, "judge"]["policies"], ends[update, "margin"]["policies"])).max())
        for update in UPDATES
    )
    return Caption(
        f"Self-play on {name} preferences: {_finding(ends)}",
        f"Both responses of every pair come from the policy of the round before; all probabilities exact, {ROUNDS} "
        rf"rounds from the reference. DPO ($\beta={BETA:g}$) and IPO ($\tau={ETA:g}$) have that policy as their "
        rf"reference; INPO takes IPO's step and is pulled to the first one ($\tau={TAU:g}$): without that pull it is "
        f"IPO, which here {WORDS[ends['ipo', 'judge']['end']]}. Implicit reward and margin are fitted once, to all "
        "that the true judge says of pairs from the reference. The anchored margin's labels stay within "
        f"{apart:.0e} of the true judge's paths. {V} against the reference is largest at the end by "
        f"{RUNS[ahead['update'], ahead['labeler']][0]}: {ahead['value'][-1]:.3f}, with an exploitability of "
        f"{ahead['exploitability'][-1]:.3f}. Dotted line: Nash."
        + " Triangles: the policies; dots: the last ones; ring: Nash."
        * (len(first["labels"]) == 3),
        f"exploitability after {ROUNDS} rounds on {name}, labels by the true judge, the anchored margin and DPO's "
        f"implicit reward: DPO {last['dpo']}; INPO {last['inpo']}. The reference's: "
        f"{ends['dpo', 'judge']['exploitability'][0]:.3f}; in the second half DPO's by the judge is up to {late:.3f}.",
        key("V", "exploitability", "Nash", "margin", "implicit", "anchored", items=codes(first["labels"])[1]),
    )


def _finding(ends: dict[tuple[str, str], Any]) -> str:
    by = {run: WORDS[found["end"]] for run, found in ends.items()}
    return (
        f"DPO {by['dpo', 'judge']} with labels of the true judge or of an anchored margin, and {by['dpo', 'reward']} "
        f"with its own reward's; INPO {by['inpo', 'judge']} with the judge's or the margin's"
    )


def draw(results: dict[str, Any], page: Page) -> Figure:
    """For each problem exploitability and value by round, and with three responses the paths of the policies."""
    shown = results["problems"]
    triangles = [len(problem["labels"]) == 3 for problem in shown]
    panels = sheet(page, 2 * len(shown) + sum(triangles), across=3 if all(triangles) else 2, aspect=0.78)
    axes = iter(panels.axes)
    for problem, triangle in zip(shown, triangles, strict=True):
        name = heading(problem["problem"], problem["source"], 44)
        for quantity, label, best in (
            ("exploitability", "exploitability", 0.0),
            ("value", f"{V} against the reference", problem["nash_value"]),
        ):
            axis = next(axes)
            axis.axhline(best, color="0.5", lw=1, ls=":")
            _draw_runs(axis, problem, quantity)
            axis.set(xlabel="round", ylabel=label)
            panels.title(axis, name)
        if triangle:
            _draw_paths(next(axes), problem)
    panels.legend(handles_of(panels.axes[:1]))
    return panels.figure


def _draw_runs(axis: Any, problem: dict[str, Any], quantity: str) -> None:
    for run in problem["runs"]:
        label, color, marker, dash = RUNS[run["update"], run["labeler"]]
        numbers = run[quantity]
        every = 4 if marker else 1
        axis.plot(range(0, len(numbers), every), numbers[::every], color=color, marker=marker, ls=dash, label=label)


def _draw_paths(axis: Any, problem: dict[str, Any]) -> None:
    """Policies as points of the triangle; a ring at the Nash policy."""
    corners = np.array([[0, 0], [1, 0], [0.5, np.sqrt(3) / 2]])
    axis.plot(*np.append(corners, corners[:1], axis=0).T, color="0.6", lw=1)
    for run in problem["runs"]:
        _, color, marker, dash = RUNS[run["update"], run["labeler"]]
        if not marker:
            axis.plot(*(np.array(run["policies"]) @ corners).T, color=color, ls=dash, lw=1.3)
            axis.plot(*(np.array(run["policies"][-1]) @ corners), color=color, marker="o", ms=6, ls="none")
    axis.plot(*(np.array(problem["nash"]) @ corners), color=BLACK, marker="o", ms=11, mfc="none", ls="none")
    names, _ = codes(problem["labels"])
    for name, corner, at in zip(names, corners, ((-4, -4), (4, -4), (0, 6)), strict=True):
        sides = "right" if at[0] < 0 else "left" if at[0] else "center"
        axis.annotate(name, corner, at, textcoords="offset points", ha=sides, va="bottom" if at[1] > 0 else "top")
    axis.set_aspect("equal")
    axis.set_axis_off()

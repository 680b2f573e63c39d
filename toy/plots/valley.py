"""The valley of equal-loss policies for two responses, what picks a point in it, and the loss that has only one.

Eq. (9) compares pi(y1 | y2) with pi(y2 | y1) only. With P(y1 > y2) = 3/4, beta = 1 and a uniform
reference it has its minimum wherever the first is three times the second: on a line. The anchored loss compares
both responses with either in view, and has its minimum on that line at 3/4 and 1/4 alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from inspo.conditioning import Conditioning
from inspo.preference_loss import PreferenceLoss
from inspo.preferences import PreferenceTable
from toy.config import ToyConfig
from toy.estimates import Floats
from toy.minimizers import anchored_flow, conserved, conserved_partner, two_response_limit
from toy.problems import NotApplicableError
from toy.style import ANCHORED, BLACK, BLUE, GREEN, ORANGE, SKY, VERMILLION, Page, handles_of, sheet
from toy.training import Schedule, pair_distribution, train
from toy.words import PI_BAR, PI_REF, Y_, Caption, V, codes, key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Label -> (schedule, marker). Steps are enough for every path to arrive where P(y1 > y2) = 3/4.
OPTIMIZERS = {
    "SGD, lr 0.25": (Schedule(1000, 0.25, "sgd"), "o"),
    "SGD, lr 1.25": (Schedule(400, 1.25, "sgd"), "s"),
    "SGD, lr 0.05, momentum 0.9": (Schedule(800, 0.05, "momentum"), "^"),
    "Adam, lr 0.002": (Schedule(1500, 0.002, "adam"), "v"),
    "Adam, lr 0.1": (Schedule(400, 0.1, "adam"), "D"),
}
# So that the steps of --quick, too, are enough.
PER_STEP = 12
# The anchored loss is steep on all sides of its minimum: this share of a schedule's steps is enough there.
ANCHORED_SHARE = 0.5
# Where flow lines of the anchored loss start, beside the reference: (pi(y1 | y2), pi(y2 | y1)).
STARTS = ((0.04, 0.04), (0.04, 0.5), (0.2, 0.96), (0.6, 0.96), (0.96, 0.96), (0.96, 0.5), (0.96, 0.04), (0.4, 0.04))
FLOW_TIMES = np.concatenate([[0.0], np.logspace(-1, 4, 60)])
OPTIMIZER_COLORS = (BLUE, VERMILLION, GREEN, SKY, ORANGE)
# A path has arrived when this share of its way down to the minimum is left.
ARRIVED = 1e-4
BETA = 1.0
GRID = 61
LEVELS = [1e-9, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 10]


def _problem(user: PreferenceTable | None) -> tuple[float, tuple[str, str]]:
    """P(y1 > y2) of the pair to draw: the built-in one, or the user's most decided one that is not certain."""
    if user is None:
        return 0.75, ("y1", "y2")
    contested = np.where((user.P > 0.5) & (user.P < 0.99), user.P, 0)
    i, j = np.unravel_index(int(contested.argmax()), contested.shape)
    if not contested[i, j]:
        raise NotApplicableError("it needs a pair preferred with a probability above 1/2 and below .99")
    return float(user.P[i, j]), (user.labels[i], user.labels[j])


def compute(config: ToyConfig, user: PreferenceTable | None) -> dict[str, Any]:
    """Loss over the square, the valley, the conserved curve, and the optimizers' paths."""
    p, labels = _problem(user)
    mu = np.array([0.5, 0.5])
    limit = two_response_limit(p, mu, BETA)
    constant = float(conserved(logit(mu[1]), logit(mu[0])))
    t2 = np.linspace(logit(mu[0]), logit(limit[0]), GRID)
    b = np.linspace(0.002, 0.998, GRID)
    ratio = (1 - p) / p
    loss = _expected(p, np.log(b[None] / b[:, None]))
    anchored_loss = (_expected(p, logit(b))[None] + _expected(1 - p, logit(b))[:, None]) / 2
    minimum = float(-(p * np.log(p) + (1 - p) * np.log1p(-p)))
    return {
        "p": p,
        "labels": list(labels),
        "beta": BETA,
        "b": b.tolist(),
        "excess_loss": (loss - minimum).tolist(),
        "minimum_loss": minimum,
        "minimum_population_loss": float(mu[0] * mu[1] * minimum),
        "valley_slope": ratio,
        "value_range": [0.5, 0.5 + (1 - ratio) * (p - 0.5) / 2],
        "value_pi_bar": float((0.5 + p) / 2),
        "flow_curve": {"b1": expit(t2).tolist(), "b2": expit(conserved_partner(constant, t2)).tolist()},
        "flow_limit": list(limit),
        "flow_value": float(0.5 + (limit[0] - limit[1]) * (p - 0.5) / 2),
        "paths": [_path(label, p, mu, minimum, Conditioning.SYMMETRIC, config.steps) for label in OPTIMIZERS],
        "anchored": {
            "excess_loss": (anchored_loss - minimum).tolist(),
            "minimizer": [p, 1 - p],
            "value": float(0.5 + (2 * p - 1) * (p - 0.5) / 2),
            "flow_lines": [_flow_line(p, mu, start) for start in ((0.5, 0.5), *STARTS)],
            "paths": [_path(label, p, mu, minimum, Conditioning.ANCHORED, config.steps) for label in OPTIMIZERS],
        },
    }


def _expected(p: float, margin: Floats) -> Floats:
    """DPO's loss at this margin of the first over the second, preferred with probability p, at beta = 1."""
    return np.asarray(p * np.logaddexp(0, -margin) + (1 - p) * np.logaddexp(0, margin))


def _flow_line(p: float, mu: Floats, start: tuple[float, float]) -> dict[str, list[float]]:
    """Gradient flow of the anchored loss from a policy with these two probabilities of not copying."""
    b1, b2 = start
    P, policy = np.array([[0.5, p], [1 - p, 0.5]]), np.array([[1 - b2, b1], [b2, 1 - b1]])
    path = anchored_flow(P, mu, BETA, policy, FLOW_TIMES)
    return {"b1": path[:, 0, 1].tolist(), "b2": path[:, 1, 0].tolist()}


def _path(label: str, p: float, mu: Floats, minimum: float, conditioning: Conditioning, steps: int) -> dict[str, Any]:
    """Where one optimizer goes from the reference, and whether it arrives at the smallest loss."""
    schedule, _ = OPTIMIZERS[label]
    share = ANCHORED_SHARE if conditioning is Conditioning.ANCHORED else 1
    schedule = replace(schedule, steps=min(int(share * schedule.steps), PER_STEP * steps))
    P = np.array([[[0.5, p], [1 - p, 0.5]]])
    loss = PreferenceLoss("dpo", conditioning, {"beta": BETA})
    every = max(1, schedule.steps // 100)
    trained = train(loss, "free", pair_distribution(P, mu), P, mu[None], schedule, record_every=every)
    excess = float(trained.history["training_loss"][-1, 0] - minimum)
    return {
        "optimizer": label,
        "steps": schedule.steps,
        "b1": trained.path[:, 0, 0, 1].tolist(),
        "b2": trained.path[:, 0, 1, 0].tolist(),
        "value": float(trained.history["value_conditioned"][-1, 0]),
        "excess_loss": excess,
        "arrived": excess <= ARRIVED * float(np.log(2) - minimum),
    }


def describe(results: dict[str, Any]) -> Caption:
    """The finding, how to read it, and the number."""
    ends = [path["b1"][-1] for path in results["paths"] if path["arrived"]]
    anchored = results["anchored"]
    short = [
        path["optimizer"] + also
        for paths, also in ((results["paths"], ""), (anchored["paths"], ", anchored"))
        for path in paths
        if not path["arrived"]
    ]
    low, high = results["value_range"]
    (a, b), items = codes(results["labels"])
    finding = (
        f"the optimizer alone puts {_pi(a, b)} anywhere from {min(ends):.2f} to {max(ends):.2f}"
        if len(ends) > 1
        else f"{'one optimizer' if ends else 'no optimizer'} reached it in the steps it had"
    )
    unfinished = f" Hollow, and not counted: stopped above the minimum, {'; '.join(short)}." if short else ""
    return Caption(
        f"One loss, a whole valley of policies: {finding}. The anchored loss has one policy",
        rf"Two responses, $P$({a} $\succ$ {b}) = {results['p']:.3g}, $\beta={results['beta']:.3g}$, uniform reference. "
        f"Shade: population loss above its minimum, nats. First: Eq. (9)'s, which the whole dashed line attains; paths "
        f"start at {PI_REF} and end at the markers.{unfinished} Black: gradient flow, on the curve that keeps "
        rf"$t_1+e^{{t_1}}+t_2+e^{{t_2}}$, the $t$ being the logits of not copying. Second: the anchored loss, least at "
        f"the cross alone, to which flow lines (gray) lead from everywhere. Third: {V} in view of {Y_} along the "
        f"dashed line, near those ends. Neither loss trains the policy that is deployed, which sees no {Y_}: where "
        f"nothing is shared it stays {PI_REF}, worth 1/2.",
        f"at Eq. (9)'s smallest loss {V} may be anything from {low:.3g} to {high:.3f}, at the anchored loss's it is "
        f"{anchored['value']:.4g}; {PI_BAR}, which sees no comparator, has {results['value_pi_bar']:.3f}.",
        key("V", "pi_bar", "mu", "beta", "y'", "anchored", "population", items=items),
    )


def _pi(response: str, comparator: str) -> str:
    """The probability of a response in view of another."""
    return rf"$\pi$({response} $\mid$ {comparator})"


def draw(results: dict[str, Any], page: Page) -> Figure:
    """The square of the two free probabilities under both losses, and V along the valley."""
    panels = sheet(page, 3, least=3, aspect=0.98)
    square, point, line_ = panels.axes
    (a, b), _ = codes(results["labels"])
    _draw_loss(square, results["excess_loss"], results, a, b)
    _draw_valley(square, results)
    panels.title(square, "Eq. (9): a valley")
    anchored = results["anchored"]
    shades = _draw_loss(point, anchored["excess_loss"], results, a, b)
    for flow in anchored["flow_lines"][1:]:
        point.plot(flow["b1"], flow["b2"], color="0.35", lw=1, zorder=1.5)
        point.plot(flow["b1"][0], flow["b2"][0], ".", color="0.35", ms=5)
    point.plot(anchored["flow_lines"][0]["b1"], anchored["flow_lines"][0]["b2"], color=BLACK, lw=2.5)
    panels.title(point, "anchored: a point")
    bar: Any = panels.figure.colorbar(
        shades, ax=point, shrink=0.9, pad=0.02, format=lambda level, _: f"{level:.3g}" if level > LEVELS[0] else "0"
    )
    bar.ax.set_title("nats", loc="left", weight="normal")
    low, high = results["value_range"]
    line_.plot([0, 1], [low, high], color="0.3", lw=1.2, ls="--", zorder=1)
    line_.plot(results["flow_limit"][0], results["flow_value"], "*", color=BLACK, ms=13, zorder=2)
    line_.axhline(results["value_pi_bar"], color=BLACK, lw=1, ls=":")
    at_left: dict[str, Any] = {"transform": line_.get_yaxis_transform(), "va": "bottom"}
    line_.text(0.02, results["value_pi_bar"], f"{PI_BAR}: best without {Y_}", **at_left)
    line_.set(xlabel=_pi(a, b), ylabel=f"{V}, in view of {Y_}")
    panels.title(line_, "what the policies are worth")
    for i, (path, color, (_, marker)) in enumerate(
        zip(results["paths"], OPTIMIZER_COLORS, OPTIMIZERS.values(), strict=True)
    ):
        # The first are larger, so that none hides another that ends at the same place.
        end = _end(path, color, marker) | {"ms": 11 - 1.3 * i, "zorder": 3 + 0.1 * i}
        square.plot(path["b1"], path["b2"], color=color, lw=1.8)
        square.plot(path["b1"][-1], path["b2"][-1], **end, label=path["optimizer"])
        if path["arrived"]:  # off the valley V is not what the line says of that place
            line_.plot(path["b1"][-1], path["value"], **end | {"ms": 7})
        other = anchored["paths"][i]
        point.plot(other["b1"], other["b2"], color=color, lw=1.8)
        if not other["arrived"]:
            point.plot(other["b1"][-1], other["b2"][-1], **_end(other, color, marker))
    cross: dict[str, Any] = {"ls": "none", "marker": "X", "color": ANCHORED, "mec": BLACK, "ms": 9, "zorder": 6}
    for axis in (square, point):
        axis.plot(*anchored["minimizer"], **cross, label="the anchored minimizer")
    line_.plot(anchored["minimizer"][0], anchored["value"], **cross | {"zorder": 2.5, "ms": 11})
    _show_ends(line_, results)
    panels.legend(handles_of([square]))
    return panels.figure


def _show_ends(axis: Any, results: dict[str, Any]) -> None:
    """Show of the line the part where policies end, which lie close together, and the bound above it."""
    low, high = results["value_range"]
    ends = [path["b1"][-1] for path in results["paths"] if path["arrived"]]
    ends += [results["flow_limit"][0], results["anchored"]["minimizer"][0]]
    left, right = max(0.0, min(ends) - 0.05), min(1.0, max(ends) + 0.05)
    bottom, top = low + left * (high - low), results["value_pi_bar"]
    axis.set(xlim=(left, right), ylim=(bottom - 0.03 * (top - bottom), top + 0.12 * (top - bottom)))


def _end(path: dict[str, Any], color: str, marker: str) -> dict[str, Any]:
    """The marker at a path's end, hollow where it has not arrived."""
    look = {"mec": "white"} if path["arrived"] else {"mec": color, "mfc": "white", "mew": 1.8}
    return {"marker": marker, "color": color, "ms": 9, "ls": "none", **look}


def _draw_loss(axis: Any, excess: list[list[float]], results: dict[str, Any], a: str, b: str) -> Any:
    """The loss over the square and the start; returns the shades."""
    from matplotlib import colormaps

    grid = np.array(results["b"])
    colors = colormaps["Greys"](np.linspace(0.06, 0.5, len(LEVELS) - 1))
    shades = axis.contourf(grid, grid, np.array(excess), levels=LEVELS, colors=colors)
    axis.plot(0.5, 0.5, "o", color="white", mec=BLACK, ms=8, zorder=3)
    axis.annotate(PI_REF, (0.5, 0.5), xytext=(-8, -4), textcoords="offset points", ha="right", va="top")
    axis.set(xlabel=_pi(a, b), ylabel=_pi(b, a), xlim=(0, 1), ylim=(0, 1))
    return shades


def _draw_valley(axis: Any, results: dict[str, Any]) -> None:
    """The line of minimizers, and gradient flow on its conserved curve."""
    slope = results["valley_slope"]
    valley = np.array([0, min(1, 1 / slope)])
    axis.plot(valley, valley * slope, color="white", lw=5)
    axis.plot(valley, valley * slope, color="0.3", lw=0.8, ls="--")
    curve = results["flow_curve"]
    axis.plot(curve["b1"], curve["b2"], color=BLACK, lw=2.5, label="gradient flow")
    axis.plot(results["flow_limit"][0], results["flow_limit"][1], "*", color=BLACK, mec="white", ms=11, zorder=5)
    axis.annotate(
        "the loss is smallest\nall along this line",
        (0.45, 0.45 * slope),
        xytext=(0.98, 0.02) if slope > 0.2 else (0.03, 0.2),
        ha="right" if slope > 0.2 else "left",
        arrowprops={"arrowstyle": "-", "color": "0.3"},
    )

"""The valley of equal-loss policies for two responses, and what picks a point in it.

Eq. (9) compares pi(y1 | y2) with pi(y2 | y1) only. With P(y1 > y2) = 3/4, beta = 1 and a uniform
reference it has its minimum wherever the first is three times the second: on a line.
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
from toy.minimizers import conserved, conserved_partner, two_response_limit
from toy.problems import NotApplicableError
from toy.style import BLACK, COLORS, Page, handles_of, sheet
from toy.training import Schedule, pair_distribution, train
from toy.words import PI_BAR, PI_REF, Caption, V, codes, key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Label -> (schedule, marker). Steps are enough for every path to arrive where P(y1 > y2) = 3/4.
OPTIMIZERS = {
    "SGD, lr 0.25": (Schedule(1000, 0.25, "sgd"), "o"),
    "SGD, lr 1.25": (Schedule(400, 1.25, "sgd"), "s"),
    "SGD, lr 0.05, momentum 0.9": (Schedule(800, 0.05, "momentum"), "^"),
    "Adam, lr 0.001": (Schedule(3000, 0.001, "adam"), "v"),
    "Adam, lr 0.1": (Schedule(400, 0.1, "adam"), "D"),
}
# So that the steps of --quick, too, are enough.
PER_STEP = 12
# A path has arrived when this share of its way down to the minimum is left.
ARRIVED = 1e-4
BETA = 1.0
GRID = 61


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
    loss = p * np.logaddexp(0, -np.log(b[None] / b[:, None])) + (1 - p) * np.logaddexp(0, np.log(b[None] / b[:, None]))
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
        "paths": [_path(label, p, mu, minimum, config.steps) for label in OPTIMIZERS],
    }


def _path(label: str, p: float, mu: Floats, minimum: float, steps: int) -> dict[str, Any]:
    """Where one optimizer goes from the reference, and whether it arrives in the valley."""
    schedule, _ = OPTIMIZERS[label]
    schedule = replace(schedule, steps=min(schedule.steps, PER_STEP * steps))
    P = np.array([[[0.5, p], [1 - p, 0.5]]])
    loss = PreferenceLoss("dpo", Conditioning.SYMMETRIC, {"beta": BETA})
    every = max(1, schedule.steps // 200)
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
    short = [path["optimizer"] for path in results["paths"] if not path["arrived"]]
    low, high = results["value_range"]
    (a, b), items = codes(results["labels"])
    finding = (
        f"the optimizer alone puts {_pi(a, b)} anywhere from {min(ends):.2f} to {max(ends):.2f}"
        if len(ends) > 1
        else f"{'one optimizer' if ends else 'no optimizer'} reached it in the steps it had"
    )
    unfinished = f" Hollow, and not counted: stopped above the minimum, {'; '.join(short)}." if short else ""
    return Caption(
        f"One loss, a whole valley of policies: {finding}",
        rf"Two responses, $P$({a} $\succ$ {b}) = {results['p']:.3g}, $\beta={results['beta']:.3g}$, uniform reference. "
        f"Shade: population loss above its minimum, which the whole white line attains. Paths start at {PI_REF} "
        f"and end "
        rf"at the markers.{unfinished} Black: gradient flow, on the curve that keeps "
        rf"$t_1+e^{{t_1}}+t_2+e^{{t_2}}$, the "
        f"$t$ being the logits of not copying. Second: {V} along the line.",
        f"at the same loss, {V} may be anything from {low:.3g} to {high:.3f}; "
        f"{PI_BAR}, which sees no comparator, has {results['value_pi_bar']:.3f}.",
        key("V", "pi_bar", "mu", "beta", "population", items=items),
    )


def _pi(response: str, comparator: str) -> str:
    """The probability of a response in view of another."""
    return rf"$\pi$({response} $\mid$ {comparator})"


def draw(results: dict[str, Any], page: Page) -> Figure:
    """The square of the two free probabilities, and V along the valley."""
    panels = sheet(page, 2, least=3, aspect=0.86, ratios=(5, 4))
    square, line = panels.axes
    (a, b), _ = codes(results["labels"])
    shades = _draw_square(square, results, a, b)
    panels.title(square, "where the optimizers go")
    bar: Any = panels.figure.colorbar(shades, ax=square, shrink=0.9, pad=0.02)
    bar.set_label("population loss above its minimum, nats")
    low, high = results["value_range"]
    line.plot([0, 1], [low, high], color="0.3", lw=1.2, ls="--", zorder=1)
    flow = results["flow_limit"][0], results["flow_value"]
    line.plot(*flow, "*", color=BLACK, ms=13, zorder=5)
    line.axhline(results["value_pi_bar"], color=BLACK, lw=1, ls=":")
    line.text(0.01, results["value_pi_bar"], f"{PI_BAR}: best without a comparator", va="bottom")
    line.set(xlabel=f"{_pi(a, b)} in the valley", ylabel=f"{V}, in view of the comparator", xlim=(0, 1))
    panels.title(line, "what the policies there are worth")
    for i, (path, color, (_, marker)) in enumerate(zip(results["paths"], COLORS, OPTIMIZERS.values(), strict=False)):
        # The first are larger, so that none hides another that ends at the same place.
        end = _end(path, color, marker) | {"ms": 13 - 1.6 * i, "zorder": 3 + 0.1 * i}
        square.plot(path["b1"], path["b2"], color=color, lw=1.8)
        square.plot(path["b1"][-1], path["b2"][-1], **end, label=path["optimizer"])
        if path["arrived"]:  # off the valley V is not what the line says of that place
            line.plot(path["b1"][-1], path["value"], **end)
    panels.legend(handles_of([square]))
    return panels.figure


def _end(path: dict[str, Any], color: str, marker: str) -> dict[str, Any]:
    """The marker at a path's end, hollow where it has not arrived."""
    look = {"mec": "white"} if path["arrived"] else {"mec": color, "mfc": "white", "mew": 1.8}
    return {"marker": marker, "color": color, "ms": 9, "ls": "none", **look}


def _draw_square(square: Any, results: dict[str, Any], a: str, b: str) -> Any:
    """The loss, the valley, the conserved curve and the start; returns the shades."""
    from matplotlib import colormaps

    grid = np.array(results["b"])
    levels = [1e-9, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 10]
    colors = colormaps["Greys"](np.linspace(0.06, 0.5, len(levels) - 1))
    shades = square.contourf(grid, grid, np.array(results["excess_loss"]), levels=levels, colors=colors)
    slope = results["valley_slope"]
    valley = np.array([0, min(1, 1 / slope)])
    square.plot(valley, valley * slope, color="white", lw=5)
    square.plot(valley, valley * slope, color="0.3", lw=0.8, ls="--")
    curve = results["flow_curve"]
    square.plot(curve["b1"], curve["b2"], color=BLACK, lw=2.5, label="gradient flow")
    square.plot(results["flow_limit"][0], results["flow_limit"][1], "*", color=BLACK, ms=13, zorder=5)
    square.plot(0.5, 0.5, "o", color="white", mec=BLACK, ms=8, zorder=3)
    square.annotate(PI_REF, (0.5, 0.5), xytext=(-8, 6), textcoords="offset points", ha="right")
    square.annotate(
        "every policy on this line\nhas the same, smallest loss",
        (0.3, 0.3 * slope),
        xytext=(0.36, 0.02) if slope > 0.2 else (0.03, 0.26),
        arrowprops={"arrowstyle": "-", "color": "0.3"},
    )
    square.set(xlabel=_pi(a, b), ylabel=_pi(b, a), xlim=(0, 1), ylim=(0, 1))
    return shades

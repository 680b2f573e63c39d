"""Where the one-sided loss goes, against its closed form.

Contrasting pi(y_w | y_l) with pi(y_l | y_l) has no minimizer: whatever P is, the loss falls to 0 as
copying the comparator becomes impossible. Gradient flow from mu still has a limit, in which P only
enters through a power of mu P.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inspo.objectives import value
from inspo.preferences import PreferenceTable
from toy.baselines import pi_bar, pi_star
from toy.config import ToyConfig
from toy.minimizers import one_sided_flow, one_sided_limit
from toy.problems import NotApplicableError, reference, require_interior, witness
from toy.style import BLACK, COLORS, Caption, plt, spaced, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TIMES = np.concatenate([[0.0], np.logspace(-1, 10, 89)])
BETA = 1.0
MARKERS = ("o", "s", "^", "v", "D", "P", "X")


def compute(config: ToyConfig, user: PreferenceTable | None) -> dict[str, Any]:
    """The path of gradient flow, its loss, and the limit that the closed form predicts."""
    require_interior(user)
    table = witness() if user is None else user
    k = len(table.P)
    if k > len(MARKERS):
        raise NotApplicableError(f"it draws a line per response, legible up to {len(MARKERS)}, and yours has {k}")
    mu = reference(config.reference, k)
    path = one_sided_flow(table.P, mu, BETA, TIMES)
    limit = one_sided_limit(table.P, mu, BETA)
    weights = np.outer(mu, mu) * table.P * (1 - np.eye(k))
    ratio = np.log(path / mu[:, None])
    own = np.diagonal(ratio, axis1=1, axis2=2)[:, None, :]
    loss = (weights * np.logaddexp(0, -BETA * (ratio - own))).sum(axis=(1, 2)) / weights.sum()
    return {
        "problem": table.name,
        "source": table.source,
        "labels": list(table.labels),
        "beta": BETA,
        "times": TIMES.tolist(),
        "path": path.tolist(),
        "limit": limit.tolist(),
        "largest_error": float(np.abs(path[-1] - limit).max()),
        "loss": loss.tolist(),
        "value": {
            "one-sided limit": float(value(limit, table.P, mu)),
            "pi_star": float(value(pi_star(table.P), table.P, mu)),
            "pi_bar": float(value(pi_bar(table.P, mu), table.P, mu)),
        },
    }


def describe(results: dict[str, Any]) -> Caption:
    """The finding, how to read it, and the number."""
    V, problem = results["value"], spaced(results["problem"])
    return Caption(
        "The one-sided loss has no minimizer: for any preferences it falls to 0 as copying y' becomes impossible",
        f"Gradient flow from pi_ref on {problem}, beta = {results['beta']:g}. A panel per comparator: "
        "pi(y | y') over training time (lines) and the closed form of the limit, mu_i (mu_i P_ij)^(1/beta) normalized "
        "without the comparator itself (markers at the right). Last panel: the loss, and the probability of copying.",
        f"the flow ends within {results['largest_error']:.0e} of the closed form; V = {V['one-sided limit']:.3f} "
        f"(pi* {V['pi_star']:.3f}, pi_bar {V['pi_bar']:.3f}), while the loss "
        f"went from {results['loss'][0]:.3f} to {results['loss'][-1]:.0e}.",
    )


def draw(results: dict[str, Any]) -> Figure:
    """One panel per comparator and one for loss and copying."""
    labels, times = results["labels"], np.array(results["times"])[1:]
    path, limit = np.array(results["path"])[1:], np.array(results["limit"])
    panels = len(labels) + 1
    rows = 1 if panels <= 4 else 2
    columns = -(-panels // rows)
    margins = {"left": 0.055, "top": 0.955 - 0.12 / rows, "bottom": 0.17 / rows, "wspace": 0.25, "hspace": 0.4}
    figure, axes = subplots(rows, columns, (3.1 * columns, 1 + 3.1 * rows), margins=margins, squeeze=False)
    flat = axes.ravel()
    for j, axis in enumerate(flat[: len(labels)]):
        for i, label in enumerate(labels):
            axis.plot(times, path[:, i, j], color=COLORS[i], lw=2, label=label)
            axis.plot(times[-1] * 8, limit[i, j], MARKERS[i], color=COLORS[i], ms=8, mec="white", clip_on=False)
        axis.set_title(f"given y' = {labels[j]}", loc="left")
        axis.set(xscale="log", ylim=(-0.02, 1), xlabel="training time")
    flat[0].set_ylabel("pi(y | y')")
    last = flat[len(labels)]
    last.plot(times, results["loss"][1:], color=BLACK, lw=2.2, label="loss")
    copying = np.diagonal(path, axis1=1, axis2=2).mean(axis=1)
    last.plot(times, copying, color="0.5", lw=2, ls="--", label="mean pi(y' | y')")
    last.set(xscale="log", yscale="log", xlabel="training time")
    last.set_title("no minimum is reached", loc="left")
    last.legend(loc="lower left")
    for axis in flat[panels:]:
        axis.set_visible(False)
    handles = [
        plt().Line2D([], [], color=COLORS[i], marker=MARKERS[i], mec="white", ms=8, lw=2, label=f"y = {label}")
        for i, label in enumerate(labels)
    ]
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.045, 0.99), ncols=len(handles))
    return figure

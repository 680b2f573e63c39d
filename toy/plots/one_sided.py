"""Where the one-sided loss goes, against its closed form.

Contrasting pi(y_w | y_l) with pi(y_l | y_l) has no minimizer: whatever P is, the loss falls to 0 as
copying the comparator becomes impossible. Gradient flow from mu still has a limit, in which P only
enters through a power of mu P.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inspo.objectives import conditioned_value, value
from inspo.preferences import PreferenceTable
from toy.baselines import pi_bar, pi_star
from toy.config import ToyConfig
from toy.minimizers import one_sided_flow, one_sided_limit
from toy.problems import NotApplicableError, reference, require_interior, witness
from toy.style import BLACK, COLORS, Page, handles_of, line, sheet
from toy.words import PI_BAR, PI_REF, PI_STAR, Y_, Caption, V, codes, key, spaced

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
            "one-sided limit": float(conditioned_value(limit, table.P, mu)),
            "pi_star": float(conditioned_value(pi_star(table.P), table.P, mu)),
            "pi_bar": float(value(pi_bar(table.P, mu), table.P, mu)),
        },
    }


def describe(results: dict[str, Any]) -> Caption:
    """The finding, how to read it, and the number."""
    worth, problem = results["value"], spaced(results["problem"])
    return Caption(
        f"The one-sided loss has no minimizer: for any preferences it falls to 0 as copying {Y_} becomes impossible",
        rf"Gradient flow from {PI_REF} on {problem}, $\beta={results['beta']:g}$. A panel per comparator: "
        rf"$\pi(y\mid y')$ over training time (lines) and the closed form of the limit, "
        r"$\mu_i\,(\mu_i P_{ij})^{1/\beta}$ normalized without the comparator itself (markers at the right). "
        r"Last panel: "
        "the loss, and the probability of copying.",
        f"the flow ends within {results['largest_error']:.0e} of the closed form; {V} = {worth['one-sided limit']:.3f} "
        f"({PI_STAR} {worth['pi_star']:.3f}, {PI_BAR} {worth['pi_bar']:.3f}), while the loss "
        f"went from {results['loss'][0]:.3f} to {results['loss'][-1]:.0e}.",
        key("V", "pi_bar", "pi_star", "mu", "beta", "y'", items=codes(results["labels"])[1]),
    )


def draw(results: dict[str, Any], page: Page) -> Figure:
    """One panel per comparator and one for loss and copying."""
    times, (names, _) = np.array(results["times"])[1:], codes(results["labels"])
    path, limit = np.array(results["path"])[1:], np.array(results["limit"])
    count = len(names) + 1
    panels = sheet(page, count, across=4 if count in (3, 4, 7, 8) else 3, aspect=0.8)
    for j, axis in enumerate(panels.axes[:-1]):
        for i in range(len(names)):
            axis.plot(times, path[:, i, j], color=COLORS[i], lw=2)
            axis.plot(times[-1] * 8, limit[i, j], MARKERS[i], color=COLORS[i], ms=8, mec="white", clip_on=False)
        panels.title(axis, f"given {Y_} = {names[j]}")
        axis.set(xscale="log", ylim=(-0.02, 1), xlabel="training time")
        axis.set_xticks([1, 1e4, 1e8])
        if j % panels.columns == 0:
            axis.set_ylabel(r"$\pi(y\mid y')$")
    last = panels.axes[-1]
    last.plot(times, results["loss"][1:], color=BLACK, lw=2.2, label="loss")
    copying = np.diagonal(path, axis1=1, axis2=2).mean(axis=1)
    last.plot(times, copying, color="0.5", lw=2, ls="--", label=r"mean $\pi(y'\mid y')$")
    last.set(xscale="log", yscale="log", xlabel="training time")
    last.set_xticks([1, 1e4, 1e8])
    panels.title(last, "no minimum is reached")
    handles = [
        line(f"$y$ = {name}", color=COLORS[i], marker=MARKERS[i], mec="white", ms=8, lw=2)
        for i, name in enumerate(names)
    ]
    panels.legend([*handles, *handles_of([last])])
    return panels.figure

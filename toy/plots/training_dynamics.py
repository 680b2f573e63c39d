"""Training dynamics in the form of the paper's Figure 2, INS solid and baselines dashed.

On a cyclic problem, where no Bradley-Terry score helps, and on a Bradley-Terry problem, where a
comparator carries no information. Beside Figure 2's accuracy, margin and loss stands what it leaves
out: the value of the policy that is deployed, pi(. | x).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inspo.objectives import optimality_gap, scores
from inspo.preference_loss import PreferenceLoss
from inspo.preferences import PreferenceTable
from toy.config import ToyConfig
from toy.estimates import Floats, estimate
from toy.problems import cyclic, reference, separable
from toy.style import ANCHORED, BLUE, BROWN, GREEN, INS, METHOD_NAMES, Page, Sheet, line, sheet
from toy.training import Trained, pair_distribution, sample_pairs, train
from toy.words import DEPLOYED, Caption, V, key, spaced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORDS = 50
# Each conditioning's label, color and dash.
STYLES: dict[str, tuple[str, str, Any]] = {
    "none": ("baseline", BLUE, (0, (4, 2))),
    "symmetric": ("INS (cross-conditioned)", INS, "-"),
    "averaged": ("averaged", GREEN, "-."),
    "one_sided": ("one-sided", BROWN, (0, (1, 1))),
    "anchored": ("anchored", ANCHORED, (0, (6, 1.5, 1, 1.5, 1, 1.5))),
}
# What is kept of a run, and what of it is drawn: the loss is not, which falls for all; margins have each method's unit.
KEPT = ("accuracy", "margin", "relative_loss", "value_deployed", "value_conditioned")
PANELS = (("accuracy", "accuracy"), ("margin", "margin"), ("value_deployed", f"{V} deployed"))


def problems(user: PreferenceTable | None) -> list[PreferenceTable]:
    """The two built-in problems, which train in one batch, or the user's own."""
    return [user] if user is not None else [cyclic(0.75), separable()]


def compute(config: ToyConfig, user: PreferenceTable | None) -> dict[str, Any]:
    """Train every method under every conditioning, on `config.replicates` datasets of each problem.

    Returns:
        For each problem ``best`` (bounds) and ``runs``: for each method and conditioning the steps
        and, for each panel, mean and standard error over datasets.
    """
    rng = np.random.default_rng([config.seed, 1])
    shown = problems(user)
    n, k = config.replicates, len(shown[0].P)
    mu = np.tile(reference(config.reference, k), (n * len(shown), 1))
    P = np.concatenate([np.broadcast_to(problem.P, (n, k, k)) for problem in shown])
    pairs = pair_distribution(P, mu)
    data = sample_pairs(pairs, config.samples, rng) if config.samples else pairs
    runs: list[list[dict[str, Any]]] = [[] for _ in shown]
    for method in config.methods:
        for conditioning in config.conditionings:
            loss = config.loss(method, conditioning)
            every = max(1, config.steps // RECORDS)
            trained = train(
                loss, config.parametrization, data, P, mu, config.schedule(), psi=config.psi, record_every=every
            )
            for i, kept in enumerate(runs):
                kept.append(_run(loss, trained, slice(i * n, (i + 1) * n)))
    results = [
        {
            "problem": problem.name,
            "source": problem.source,
            "best": _best(problem, pairs[i * n], mu[0], config),
            "runs": kept,
        }
        for i, (problem, kept) in enumerate(zip(shown, runs, strict=True))
    ]
    return {"problems": results, "datasets": n, "samples": config.samples}


def _run(loss: PreferenceLoss, trained: Trained, datasets: slice) -> dict[str, Any]:
    """One curve per panel over the datasets of one problem."""
    history = {name: rows[:, datasets] for name, rows in trained.history.items()}
    history["relative_loss"] = history["training_loss"] / history["training_loss"][0]
    return {
        "method": loss.method,
        "conditioning": loss.conditioning.value,
        "hyperparameters": dict(loss.hyperparameters),
        "steps": trained.steps.tolist(),
        **{name: estimate(history[name]) for name in KEPT},
    }


def _best(problem: PreferenceTable, pairs: Floats, mu: Floats, config: ToyConfig) -> dict[str, float]:
    best_prompt = float(scores(problem.P, mu, config.psi).max())
    return {
        "accuracy": float((pairs * (problem.P > 0.5) + pairs * (problem.P == 0.5) / 2).sum()),
        "value_deployed": best_prompt,
        "value_conditioned": best_prompt + float(optimality_gap(problem.P, mu, config.psi)),
    }


def describe(results: dict[str, Any]) -> Caption:
    """The finding, how to read it, and the number."""
    sample = f"{results['samples']} pairs each" if results["samples"] else "the whole population"
    last = results["problems"][-1]
    ends = {(run["method"], run["conditioning"]): run for run in last["runs"]}
    method = last["runs"][0]["method"]
    numbers = [
        f"{text} accuracy {ends[method, name]['accuracy']['mean'][-1]:.3f} and deployed {V} "
        f"{ends[method, name]['value_deployed']['mean'][-1]:.3f}"
        for name, text in (("none", METHOD_NAMES[method]), ("symmetric", f"INS-{METHOD_NAMES[method]}"))
        if (method, name) in ends
    ]
    return Caption(
        f"Figure 2's dynamics: {_finding(results)}",
        f"Mean and standard error over {results['datasets']} datasets ({sample}); higher and better: by two standard "
        "errors. Accuracy and margin, on unseen pairs, let an INS policy see the other response; a margin has "
        "its method's "
        f"unit, so each has an axis of its own. {V} is of the deployed policy, {DEPLOYED}, which sees none, and "
        f"not at equal "
        "KL. The training loss is in results.json. R-DPO is DPO where, as here, lengths are equal.",
        f"on {spaced(last['problem'])} preferences {', '.join(numbers)}.",
        key("V", "INS", "deployed", "KL"),
    )


def _finding(results: dict[str, Any]) -> str:
    """In how many pairs of runs INS ends with the higher accuracy, in how many with the higher deployed V."""
    ends = [{(run["method"], run["conditioning"]): run for run in problem["runs"]} for problem in results["problems"]]
    pairs = [
        (runs[method, "symmetric"], runs[method, "none"])
        for runs in ends
        for method, conditioning in runs
        if conditioning == "symmetric" and (method, "none") in runs
    ]
    if not pairs:
        return "accuracy and margin, and what the deployed policy is worth"
    accuracy, value = (sum(_ends_higher(*pair, name) for pair in pairs) for name in ("accuracy", "value_deployed"))
    return (
        f"INS ends with higher accuracy in {accuracy} of {len(pairs)} pairs of runs, "
        f"with a better deployed policy in {value}"
    )


def _ends_higher(first: dict[str, Any], second: dict[str, Any], name: str) -> bool:
    """Whether the first run ends above the second by two standard errors, and by more than rounding."""
    means, errors = ([run[name][what][-1] for run in (first, second)] for what in ("mean", "se"))
    return bool(means[0] - means[1] > max(2 * np.hypot(*errors), 1e-9))


def draw(results: dict[str, Any], page: Page) -> Figure:
    """A column per method; for each problem a row per quantity."""
    rows = results["problems"]
    methods = list(dict.fromkeys(run["method"] for run in rows[0]["runs"]))
    conditionings = list(dict.fromkeys(run["conditioning"] for run in rows[0]["runs"]))
    places = [(row, quantity, method) for row in rows for quantity in PANELS for method in methods]
    panels = sheet(
        page, len(places), across=len(methods), least=1.6, row=1.55 if len(methods) > 1 else 2.4, sharex=True
    )
    whole = panels.columns == len(methods)
    alike: dict[tuple[str, str], Any] = {}
    for i, (axis, (row, (name, label), method)) in enumerate(zip(panels.axes, places, strict=True)):
        for run in row["runs"]:
            if run["method"] == method:
                _draw_run(axis, run, name)
        if name in row["best"]:
            axis.axhline(row["best"][name], color="0.35", lw=1, ls=":", zorder=1)
        if name != "margin":
            first = alike.setdefault((row["problem"], name), axis)
            if first is not axis:
                axis.sharey(first)
        _name_panel(
            panels, i, f"{spaced(row['problem'])}\n{label}" if len(rows) > 1 else label, METHOD_NAMES[method], whole
        )
        if i >= len(places) - panels.columns:
            axis.set_xlabel("step")
    looks = [line(label, color=color, ls=dash, lw=2) for label, color, dash in (STYLES[name] for name in conditionings)]
    panels.legend([*looks, line("best possible", color="0.35", lw=1, ls=":")])
    return panels.figure


def _name_panel(panels: Sheet, i: int, row: str, column: str, whole: bool) -> None:  # noqa: FBT001
    """Name the rows at the left and the columns above; every panel where a column of methods is not one of panels."""
    axis = panels.axes[i]
    if not whole:
        panels.title(axis, f"{column}, {row.replace(chr(10), ': ')}")
        return
    if i % panels.columns == 0:
        axis.set_ylabel(row)
    if i < panels.columns:
        panels.title(axis, column)


def _draw_run(axis: Any, run: dict[str, Any], name: str) -> None:
    _, color, dash = STYLES[run["conditioning"]]
    steps, mean, se = np.array(run["steps"]), np.array(run[name]["mean"]), np.array(run[name]["se"])
    axis.plot(steps, mean, color=color, lw=1.8, ls=dash)
    axis.fill_between(steps, mean - se, mean + se, color=color, alpha=0.18, lw=0)

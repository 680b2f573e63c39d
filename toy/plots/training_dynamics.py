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
from toy.style import METHOD_COLORS, METHOD_NAMES, Caption, heading, plt, spaced, subplots
from toy.training import Trained, pair_distribution, sample_pairs, train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORDS = 50
DASHES: dict[str, Any] = {"none": (0, (4, 2)), "symmetric": "-", "averaged": "-.", "one_sided": (0, (1, 1))}
LABELS = {"none": "baseline", "symmetric": "INS (cross-conditioned)", "averaged": "averaged", "one_sided": "one-sided"}
PANELS = (
    ("accuracy", "accuracy\non unseen pairs"),
    ("margin", "margin on unseen pairs,\nnats"),
    ("relative_loss", "training loss,\nshare of its start"),
    ("value_deployed", "V of the deployed\npolicy pi(. | x)"),
)


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
        **{name: estimate(history[name]) for name in (*(name for name, _ in PANELS), "value_conditioned")},
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
        f"{text} accuracy {ends[method, name]['accuracy']['mean'][-1]:.3f} and deployed V "
        f"{ends[method, name]['value_deployed']['mean'][-1]:.3f}"
        for name, text in (("none", METHOD_NAMES[method]), ("symmetric", f"INS-{METHOD_NAMES[method]}"))
        if (method, name) in ends
    ]
    return Caption(
        f"Figure 2's dynamics: {_finding(results)}",
        f"Mean and standard error over {results['datasets']} datasets ({sample}); higher and better: by two "
        "standard errors. Accuracy and margin let an INS policy see the other response; the right column is the policy "
        "without it, not at equal KL. R-DPO is DPO where, as here, lengths are equal.",
        f"on {spaced(last['problem'])} preferences {', '.join(numbers)}.",
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


def draw(results: dict[str, Any]) -> Figure:
    """One row per problem, one column per panel; solid INS, dashed baseline."""
    rows = results["problems"]
    n = len(rows)
    margins = {"left": 0.065, "right": 0.99, "top": 0.94 - 0.13 / n, "bottom": 0.22 / n, "wspace": 0.42}
    grid: dict[str, Any] = {"squeeze": False, "sharex": True, "sharey": "col"}
    figure, axes = subplots(n, len(PANELS), (12.5, 1.2 + 2.5 * n), margins=margins, **grid)
    names = list(dict.fromkeys(run["method"] for run in rows[0]["runs"]))
    conditionings = list(dict.fromkeys(run["conditioning"] for run in rows[0]["runs"]))
    for row, line_of_axes in zip(rows, axes, strict=True):
        for axis, (name, label) in zip(line_of_axes, PANELS, strict=True):
            for run in row["runs"]:
                _draw_run(axis, run, name)
            if name in row["best"]:
                axis.axhline(row["best"][name], color="0.35", lw=1, ls=":", zorder=1)
            axis.set_ylabel(label)
            axis.set_xlabel("step" if row is rows[-1] else "")
        line_of_axes[0].set_title(heading(row["problem"], row["source"], 120), loc="left")
    handles = [plt().Line2D([], [], color=METHOD_COLORS[name], lw=2.2, label=METHOD_NAMES[name]) for name in names]
    styles = {LABELS[name]: DASHES[name] for name in conditionings} | {"best possible": ":"}
    handles += [plt().Line2D([], [], color="0.2", lw=1.6, ls=style, label=text) for text, style in styles.items()]
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.05, 0.99), ncols=len(handles))
    return figure


def _draw_run(axis: Any, run: dict[str, Any], name: str) -> None:
    color = METHOD_COLORS[run["method"]]
    steps, mean, se = np.array(run["steps"]), np.array(run[name]["mean"]), np.array(run[name]["se"])
    axis.plot(steps, mean, color=color, lw=1.8, ls=DASHES[run["conditioning"]])
    axis.fill_between(steps, mean - se, mean + se, color=color, alpha=0.18, lw=0)

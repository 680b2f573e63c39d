"""Plot (b): training dynamics in the form of the paper's Figure 2, INS solid and baselines dashed.

On a cyclic problem, where no Bradley-Terry score helps, and on a Bradley-Terry problem, where a
comparator carries no information. Beside Figure 2's accuracy, margin and loss stands what it leaves
out: the value of the policy that is deployed, pi(. | x).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from inspo.conditioning import Conditioning
from inspo.objectives import optimality_gap, scores
from inspo.preferences import PreferenceTable, bradley_terry, rock_paper_scissors
from toy.config import ToyConfig
from toy.style import COLOURS, caption, plt
from toy.training import Objective, Schedule, pair_distribution, sample_pairs, train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORDS = 50
PANELS = (
    ("accuracy", "accuracy\non unseen pairs"),
    ("margin", "margin on unseen pairs,\nnats"),
    ("relative_loss", "training loss,\nshare of its start"),
    ("value_deployed", "V of the deployed\npolicy pi(. | x)"),
)


def methods(beta: float) -> dict[str, dict[str, float]]:
    """The methods shown and their hyperparameters; R-DPO equals DPO where all lengths are one."""
    return {
        "dpo": {"beta": beta},
        "ipo": {"tau": 0.1},
        "orpo": {"lam": 1.0},
        "simpo": {"beta": 2.0, "gamma": 0.5},
    }


def problems(user: PreferenceTable | None) -> list[PreferenceTable]:
    """The two built-in problems, or the user's own."""
    if user is not None:
        return [user]
    responses = ("y1", "y2", "y3")
    return [
        PreferenceTable(rock_paper_scissors(0.75), responses, "cyclic", "rock-paper-scissors with p = 3/4"),
        PreferenceTable(bradley_terry(np.log([4, 2, 1])), responses, "Bradley-Terry", "strengths 4 : 2 : 1"),
    ]


def total_steps(config: ToyConfig, user: PreferenceTable | None) -> int:
    """How many training steps :func:`compute` takes."""
    return len(problems(user)) * len(methods(config.beta)) * 2 * config.steps


def compute(config: ToyConfig, user: PreferenceTable | None, advance: Callable[[int], None]) -> dict[str, Any]:
    """Train every method, plain and cross-conditioned, on `config.replicates` datasets of each problem.

    Returns:
        Problem to ``best`` (bounds) and ``runs``: for each method and conditioning the steps and, for
        each panel, mean and standard error over datasets.
    """
    rng = np.random.default_rng([config.seed, 1])
    results = []
    for problem in problems(user):
        k, n = len(problem.P), config.replicates
        mu = np.full((n, k), 1 / k)
        P = np.broadcast_to(problem.P, (n, k, k))
        pairs = pair_distribution(P, mu)
        data = sample_pairs(pairs, config.samples, rng) if config.samples else pairs
        schedule = Schedule(config.steps, config.learning_rate, config.optimiser)
        runs = []
        for method, hyperparameters in methods(config.beta).items():
            for conditioning in (Conditioning.NONE, Conditioning.SYMMETRIC):
                trained = train(
                    Objective(method, conditioning, hyperparameters),
                    config.parametrisation,
                    data,
                    P,
                    mu,
                    schedule,
                    psi=config.psi,
                    record_every=max(1, config.steps // RECORDS),
                    advance=advance,
                )
                history = dict(trained.history)
                history["relative_loss"] = history["training_loss"] / history["training_loss"][0]
                runs.append(
                    {
                        "method": method,
                        "conditioning": conditioning.value,
                        "hyperparameters": hyperparameters,
                        "steps": trained.steps.tolist(),
                        **{
                            name: {
                                "mean": history[name].mean(axis=1).tolist(),
                                "se": (history[name].std(axis=1, ddof=1) / np.sqrt(n)).tolist(),
                            }
                            for name in (*(name for name, _ in PANELS), "value_conditioned")
                        },
                    }
                )
        best_prompt = float(scores(problem.P, mu[0], config.psi).max())
        results.append(
            {
                "problem": problem.name,
                "source": problem.source,
                "best": {
                    "accuracy": float((pairs[0] * (problem.P > 0.5) + pairs[0] * (problem.P == 0.5) / 2).sum()),
                    "value_deployed": best_prompt,
                    "value_conditioned": best_prompt + float(optimality_gap(problem.P, mu[0], config.psi)),
                },
                "runs": runs,
            }
        )
    return {"problems": results, "datasets": config.replicates, "samples": config.samples}


def draw(results: dict[str, Any]) -> Figure:
    """One row per problem, one column per panel; solid INS, dashed baseline."""
    rows = results["problems"]
    figure: Figure
    figure, axes = plt().subplots(
        len(rows), len(PANELS), figsize=(12.5, 1.2 + 2.5 * len(rows)), squeeze=False, sharex=True, sharey="col"
    )
    figure.subplots_adjust(left=0.065, right=0.99, top=0.94 - 0.13 / len(rows), bottom=0.22 / len(rows), wspace=0.42)
    names = list(dict.fromkeys(run["method"] for run in rows[0]["runs"]))
    colours = dict(zip(names, COLOURS, strict=False))
    for row, line_of_axes in zip(rows, axes, strict=True):
        for axis, (name, label) in zip(line_of_axes, PANELS, strict=True):
            for run in row["runs"]:
                _draw_run(axis, run, name, colours[run["method"]])
            if name in row["best"]:
                axis.axhline(row["best"][name], color="0.35", lw=1, ls=":", zorder=1)
            axis.set_ylabel(label)
            axis.set_xlabel("step" if row is rows[-1] else "")
        line_of_axes[0].set_title(f"{row['problem']}: {row['source']}", loc="left")
    handles = [
        plt().Line2D([], [], color=colour, lw=2.2, label=name.upper().replace("SIMPO", "SimPO"))
        for name, colour in colours.items()
    ]
    styles = {"INS (cross-conditioned)": "-", "baseline": (0, (4, 2)), "best possible": ":"}
    handles += [plt().Line2D([], [], color="0.2", lw=1.6, ls=style, label=text) for text, style in styles.items()]
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.05, 0.99), ncols=len(handles))
    sample = f"{results['samples']} pairs each" if results["samples"] else "the whole population"
    caption(
        figure,
        "Training dynamics in Figure 2's form: INS' accuracy and margin do not tell what the deployed policy is worth",
        f"Mean and standard error over {results['datasets']} datasets ({sample}). Accuracy and margin let an INS "
        "policy see the other response; the right column is the policy without it, not at equal KL. R-DPO is DPO "
        "where, as here, lengths are equal.",
    )
    return figure


def _draw_run(axis: Any, run: dict[str, Any], name: str, colour: str) -> None:
    ins = run["conditioning"] == Conditioning.SYMMETRIC.value
    steps, mean, se = np.array(run["steps"]), np.array(run[name]["mean"]), np.array(run[name]["se"])
    axis.plot(steps, mean, color=colour, lw=1.9 if ins else 1.6, ls="-" if ins else (0, (4, 2)))
    axis.fill_between(steps, mean - se, mean + se, color=colour, alpha=0.18, lw=0)

"""Plot (c): pi_bar, pi*, DPO and InSPO on tables of real human preferences (or the user's own).

Four published paired-comparison experiments, in ``toy/data`` with their citations. Relative
frequencies are taken for P and comparators are drawn uniformly.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inspo.conditioning import Conditioning
from inspo.objectives import apply_psi, best_responses, restricted_optima, value
from inspo.preferences import PreferenceTable, load_table, separability
from toy.config import ToyConfig
from toy.style import COLOURS, caption, plt
from toy.training import Floats, Objective, Schedule, kl_to_reference, pair_distribution, train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DATA = Path(__file__).parent / "data"
BUILT_IN = ("celebrities_1971", "school_subjects_1940_girls", "school_subjects_1940_boys", "weights_1975")
# pi* and pi_bar: the best conditioned and the best prompt-only policy; InSPO with and without the
# comparator it is judged against. (label, marker, colour, whether it sees that comparator)
POLICIES = {
    "pi_star": ("pi*", "D", COLOURS[6], True),
    "inspo_conditioned": ("InSPO, y' in view", "o", COLOURS[1], True),
    "pi_bar": ("pi_bar", "D", COLOURS[6], False),
    "dpo": ("DPO", "s", COLOURS[0], False),
    "inspo_deployed": ("InSPO, deployed", "o", COLOURS[1], False),
    "reference": ("reference", "|", COLOURS[6], False),
}


def tables(config: ToyConfig, user: PreferenceTable | None) -> tuple[list[PreferenceTable], dict[str, str]]:
    """The tables to train on, and for each one left out the reason."""
    if user is not None:
        return [user], {}
    kept, skipped = [], {}
    for name in BUILT_IN:
        table = load_table(DATA / f"{name}.json")
        try:
            apply_psi(table.P, config.psi)
        except ValueError as error:
            skipped[name] = str(error)
        else:
            kept.append(table)
    return kept, skipped


def total_steps(config: ToyConfig, user: PreferenceTable | None) -> int:
    """How many training steps :func:`compute` takes."""
    return len(tables(config, user)[0]) * 2 * config.steps


def compute(config: ToyConfig, user: PreferenceTable | None, advance: Callable[[int], None]) -> dict[str, Any]:
    """V and KL of every policy on every table, with standard errors where there are counts.

    Returns:
        ``tables``: for each, its facts, preferences, InSPO's conditioned policy and, for each policy
        of :data:`POLICIES`, ``value``, ``value_se``, ``kl`` and ``kl_se`` (nats); standard errors
        are those of `config.replicates` parametric bootstraps of the counts, each trained anew, or
        None without counts. ``skipped``: table to reason.
    """
    rng = np.random.default_rng([config.seed, 2])
    kept, skipped = tables(config, user)
    return {"tables": [_compute_table(table, config, rng, advance) for table in kept], "skipped": skipped}


def _compute_table(
    table: PreferenceTable, config: ToyConfig, rng: np.random.Generator, advance: Callable[[int], None]
) -> dict[str, Any]:
    resampled = _bootstrap(table, config, rng)
    P = np.stack([table.P, *resampled])
    n, k = P.shape[:2]
    mu = np.full((n, k), 1 / k)
    policies, conditioned = _policies(P, mu, config, advance)
    rows: dict[str, dict[str, float | None]] = {}
    for name, policy in policies.items():
        measured = {"value": value(policy, P, mu, config.psi), "kl": kl_to_reference(policy, mu)}
        rows[name] = {}
        for quantity, numbers in measured.items():
            rows[name][quantity] = float(numbers[0])
            rows[name][f"{quantity}_se"] = _standard_error(numbers[1:])
    gap = value(policies["pi_star"], P, mu, config.psi) - value(policies["pi_bar"], P, mu, config.psi)
    misfit = separability(table.P)
    return {
        "name": table.name,
        "source": table.source,
        "labels": list(table.labels),
        "preferences": table.P.tolist(),
        "cyclic_triads": misfit.cyclic_triads,
        "bradley_terry_mean_kl": misfit.mean_kl,
        "resamples": len(resampled),
        "gap": float(gap[0]),
        "gap_se": _standard_error(gap[1:]),
        "pi_bar_picks": [table.labels[i] for i in np.flatnonzero(policies["pi_bar"][0])],
        "inspo_policy": conditioned[0].tolist(),
        "policies": rows,
    }


def _standard_error(resampled: Floats) -> float | None:
    return float(resampled.std(ddof=1)) if len(resampled) > 1 else None


def _bootstrap(table: PreferenceTable, config: ToyConfig, rng: np.random.Generator) -> list[Floats]:
    """Resampled tables: each pair compared as often again, with its observed frequency.

    Fewer than `config.replicates` where psi is infinite on a resample (a unanimous pair under
    log-odds), none where there are no counts; the results say how many there were.
    """
    if table.counts is None:
        return []
    i, j = np.triu_indices(len(table.P), 1)
    compared = (table.counts + table.counts.T)[i, j]
    resampled = []
    for wins in rng.binomial(compared, table.P[i, j], (config.replicates, len(i))):
        P = np.full(table.P.shape, 0.5)
        P[i, j] = wins / compared
        P[j, i] = 1 - P[i, j]
        if config.psi == "identity" or ((P > 0) & (P < 1)).all():
            resampled.append(P)
    return resampled


def _policies(
    P: Floats, mu: Floats, config: ToyConfig, advance: Callable[[int], None]
) -> tuple[dict[str, Floats], Floats]:
    """Every policy of :data:`POLICIES` on every problem, and InSPO's conditioned one again."""
    schedule = Schedule(config.steps, config.learning_rate, config.optimiser)
    dpo, inspo = (
        train(
            Objective("dpo", conditioning, {"beta": config.beta}),
            config.parametrisation,
            pair_distribution(P, mu),
            P,
            mu,
            schedule,
            advance=advance,
        )
        for conditioning in (Conditioning.NONE, Conditioning.SYMMETRIC)
    )
    best = best_responses(P).astype(np.float64)
    single = restricted_optima(P, mu, config.psi).astype(np.float64)
    policies = {
        "pi_star": best / best.sum(axis=-2, keepdims=True),
        "inspo_conditioned": inspo.comparator_policy,
        "pi_bar": single / single.sum(axis=-1, keepdims=True),
        "dpo": dpo.prompt_policy,
        "inspo_deployed": inspo.prompt_policy,
        "reference": mu,
    }
    return policies, inspo.comparator_policy


def draw(results: dict[str, Any]) -> Figure:
    """Above each table's preferences with both optima marked, below the value of every policy."""
    shown = results["tables"]
    width = max(6.5, 3.9 * len(shown))
    figure: Figure
    figure, axes = plt().subplots(
        2, len(shown), figsize=(width, 8.2), squeeze=False, gridspec_kw={"height_ratios": [4, 3]}
    )
    figure.subplots_adjust(left=1.45 / width, right=0.99, top=0.93, bottom=0.09, wspace=0.3, hspace=0.3)
    for column, (table, (top, bottom)) in enumerate(zip(shown, axes.T, strict=True)):
        _draw_matrix(top, table)
        _draw_values(bottom, table, with_labels=column == 0)
    leads = [table["gap"] / table["gap_se"] for table in shown if table["gap_se"]]
    noise = f"at most {max(leads):.1f} standard errors of sampling" if leads else "what each panel says"
    caption(
        figure,
        f"Pairwise preferences: pi* leads pi_bar by {noise}; compare InSPO with y' in view (filled) "
        "and as deployed (hollow)",
        "Above: P(row preferred to column), blue above 1/2, rows by mean preference; dots: pi*'s best answers to each "
        "column, frame: pi_bar's one answer. Below: V against uniform comparators with bootstrap standard errors, and "
        "KL from the reference in nats. Filled: judged against the very y' it saw; hollow: prompt only.",
    )
    return figure


def _draw_matrix(axis: Any, table: dict[str, Any]) -> None:
    P = np.array(table["preferences"])
    order = np.argsort(-P.mean(axis=1), kind="stable")
    labels = [table["labels"][i] for i in order]
    axis.imshow(P[np.ix_(order, order)], cmap="RdBu", vmin=0, vmax=1)
    rows, columns = np.nonzero(best_responses(P)[np.ix_(order, order)])
    axis.plot(columns, rows, "o", color="black", ms=4.5, mec="white", mew=0.6)
    for i, label in enumerate(labels):
        if label in table["pi_bar_picks"]:
            axis.add_patch(plt().Rectangle((-0.5, i - 0.5), len(labels), 1, fill=False, lw=1.8))
    axis.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    axis.grid(visible=False)
    axis.set_title(table["name"].replace("_", " "))


def _draw_values(axis: Any, table: dict[str, Any], *, with_labels: bool) -> None:
    for y, (name, (_, marker, colour, conditioned)) in enumerate(reversed(POLICIES.items())):
        row = table["policies"][name]
        axis.errorbar(
            row["value"],
            y,
            xerr=row["value_se"],
            marker=marker,
            color=colour,
            mfc=colour if conditioned else "white",
            ms=7,
            capsize=2.5,
            lw=1.3,
        )
        axis.annotate(
            f"{row['value']:.3f}   KL {row['kl']:.2f}",
            (row["value"], y),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color="0.25",
        )
    names = [label for label, *_ in reversed(POLICIES.values())]
    axis.set_yticks(range(len(names)), names if with_labels else [""] * len(names))
    axis.set_ylim(-0.6, len(names) - 0.2)
    axis.margins(x=0.22)
    axis.set_xlabel(f"V: gap pi* - pi_bar {table['gap']:.4f}" + _plus_minus(table["gap_se"]))


def _plus_minus(se: float | None) -> str:
    return "" if se is None else f" +- {se:.4f}"

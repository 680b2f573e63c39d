"""What pi_bar, pi*, DPO and InSPO are worth on tables of human preferences, or on the user's own.

Four published paired-comparison experiments, in ``toy/data`` with their citations. Relative
frequencies are taken for P and comparators are drawn uniformly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inspo.conditioning import Conditioning
from inspo.objectives import apply_psi, best_responses, optimality_gap
from inspo.preferences import PreferenceTable, bradley_terry, separability
from toy import problems
from toy.baselines import TIE, least_regret, nash, pi_bar, pi_star, value_and_kl, worst_regret
from toy.config import ToyConfig
from toy.estimates import Floats
from toy.problems import FULL_NAMES, is_interior, reference
from toy.style import BLACK, BROWN, DPO, GREEN, INS, Page, drawable, line, patch, sheet
from toy.training import pair_distribution, train
from toy.words import BUILT_IN, PI_BAR, PI_REF, PI_STAR, Y_, Caption, V, codes, key, spaced, wrap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NULL_DRAWS = 400
# pi* and pi_bar: the best conditioned and the best prompt-only policy; InSPO with and without the
# comparator it is judged against. (label, marker, color, whether it sees that comparator)
POLICIES = {
    "pi_star": (PI_STAR, "D", BLACK, True),
    "inspo_conditioned": (f"InSPO, {Y_} in view", "o", INS, True),
    "pi_bar": (PI_BAR, "D", BLACK, False),
    "dpo": ("DPO", "s", DPO, False),
    "inspo_deployed": ("InSPO, deployed", "o", INS, False),
    "nash": ("Nash", "^", GREEN, False),
    "least_regret": ("least regret", "v", BROWN, False),
    "reference": ("reference", "|", BLACK, False),
}


def tables(config: ToyConfig, user: PreferenceTable | None) -> tuple[list[PreferenceTable], dict[str, str]]:
    """The tables to train on, and for each one left out the reason."""
    if user is not None:
        return [user], {}
    kept, skipped = [], {}
    for table in problems.human_tables():
        try:
            apply_psi(table.P, config.psi)
        except ValueError as error:
            skipped[table.name] = str(error)
        else:
            kept.append(table)
    return kept, skipped


def compute(config: ToyConfig, user: PreferenceTable | None) -> dict[str, Any]:
    """V and KL of every policy on every table, with what sampling alone would do to them.

    Returns:
        For each table its preferences, separability, optima and policies; standard errors by
        parametric bootstrap of the counts; ``gap_if_separable``, the gap V(pi*) - V(pi_bar) of
        counts drawn from the Bradley-Terry fit, which has none itself.
    """
    rng = np.random.default_rng([config.seed, 11])
    kept, skipped = tables(config, user)
    return {"tables": [_compute_table(table, config, rng) for table in kept], "skipped": skipped}


def _compute_table(table: PreferenceTable, config: ToyConfig, rng: np.random.Generator) -> dict[str, Any]:
    resampled = _bootstrap(table, table.P, config.replicates, config.psi, rng)
    P = np.stack([table.P, *resampled])
    n, k = P.shape[:2]
    mu = np.tile(reference(config.reference, k), (n, 1))
    policies = _policies(P, mu, config)
    rows: dict[str, dict[str, float | None]] = {}
    for name, policy in policies.items():
        rows[name] = {}
        measured = value_and_kl(policy, P, mu, config.psi) | {"worst_regret": worst_regret(policy, P, config.psi)}
        for quantity, numbers in measured.items():
            rows[name][quantity] = float(numbers[0])
            rows[name][f"{quantity}_se"] = _standard_error(numbers[1:])
    gap = optimality_gap(P, mu, config.psi)
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
        "gap_if_separable": _separable_gap(table, bradley_terry(misfit.scores), mu[0], float(gap[0]), config, rng),
        "pi_bar_picks": [table.labels[i] for i in np.flatnonzero(policies["pi_bar"][0])],
        "inspo_policy": policies["inspo_conditioned"][0].tolist(),
        "policies": rows,
    }


def _separable_gap(
    table: PreferenceTable, fit: Floats, mu: Floats, gap: float, config: ToyConfig, rng: np.random.Generator
) -> dict[str, float] | None:
    """What gap tables with as many comparisons show whose truth is Bradley-Terry, without any gap."""
    drawn = _bootstrap(table, fit, NULL_DRAWS, config.psi, rng)
    if len(drawn) < 2:
        return None
    gaps = optimality_gap(np.stack(drawn), mu, config.psi)
    # Ties in counts are common: half of them count as exceeding.
    exceeding = (gaps > gap + 1e-12).mean() + (np.abs(gaps - gap) <= 1e-12).mean() / 2
    return {"mean": float(gaps.mean()), "p95": float(np.quantile(gaps, 0.95)), "share_exceeding": float(exceeding)}


def _standard_error(resampled: Floats) -> float | None:
    return float(resampled.std(ddof=1)) if len(resampled) > 1 else None


def _bootstrap(table: PreferenceTable, P: Floats, draws: int, psi: str, rng: np.random.Generator) -> list[Floats]:
    """Tables with each pair compared as often as in `table`, won with the probabilities P, and smoothed like it.

    Fewer than `draws` where psi is infinite on one (a unanimous pair under log-odds), none where
    there are no counts; the results say how many there were.
    """
    if table.counts is None:
        return []
    i, j = np.triu_indices(len(table.P), 1)
    compared = (table.counts + table.counts.T)[i, j]
    resampled = []
    for wins in rng.binomial(compared, P[i, j], (draws, len(i))):
        drawn = np.full(table.P.shape, 0.5)
        drawn[i, j] = (wins + table.smoothing) / (compared + 2 * table.smoothing)
        drawn[j, i] = 1 - drawn[i, j]
        if psi == "identity" or is_interior(drawn):
            resampled.append(drawn)
    return resampled


def _policies(P: Floats, mu: Floats, config: ToyConfig) -> dict[str, Floats]:
    """Every policy of :data:`POLICIES` on every problem."""
    dpo, inspo = (
        train(config.loss("dpo", c), config.parametrization, pair_distribution(P, mu), P, mu, config.schedule())
        for c in (Conditioning.NONE, Conditioning.SYMMETRIC)
    )
    return {
        "pi_star": pi_star(P),
        "inspo_conditioned": inspo.comparator_policy,
        "pi_bar": pi_bar(P, mu, config.psi),
        "dpo": dpo.prompt_policy,
        "inspo_deployed": inspo.prompt_policy,
        "nash": nash(P),
        "least_regret": least_regret(P, config.psi),
        "reference": mu,
    }


def describe(results: dict[str, Any]) -> Caption:
    """The finding, how to read it, and the number."""
    shown = results["tables"]
    leads = [table["gap"] / table["gap_se"] for table in shown if table["gap_se"]]
    with_fit = [table for table in shown if table["gap_if_separable"]]
    beyond = [spaced(table["name"]) for table in with_fit if table["gap"] > table["gap_if_separable"]["p95"]]
    headline = f"On {spaced(shown[0]['name'])} {PI_STAR} leads {PI_BAR} by {shown[0]['gap']:.3f}"
    if len(shown) == 1 and leads:
        headline += f", {leads[0]:.1f} standard errors"
    elif leads:
        where = f"only on {', '.join(beyond)}" if beyond else "on no table"
        headline = (
            f"Human preferences: {PI_STAR} leads {PI_BAR} by at most {max(leads):.1f} standard errors, "
            f"and {where} by more than sampling from a Bradley-Terry fit shows"
        )
    largest = max(shown, key=lambda table: table["gap"])
    null = largest["gap_if_separable"]
    chance = f"; sampling from a Bradley-Terry truth would show {null['mean']:.3f} anyway" if null else ""
    named = dict.fromkeys(
        full for table in shown for part, full in FULL_NAMES.items() if table["name"].startswith(part)
    )
    own = [codes(table["labels"])[1] for table in shown if table["name"] not in BUILT_IN]
    errors = ", with bootstrap standard errors" if leads else ""
    sampling = (
        " Gray: where it would lie if it led by the gap that 95 % of samples from a Bradley-Terry fit stay below."
    )
    regrets = [largest["policies"][name]["worst_regret"] for name in ("least_regret", "pi_bar")]
    return Caption(
        headline,
        f"First: $P$(row preferred to column), rows by mean preference; dots: {PI_STAR}'s best answers to each column, "
        f"frame: what {PI_BAR} answers. Then: {V} against comparators from {PI_REF}{errors}. Filled: judged "
        f"against the "
        f"very {Y_} it saw; hollow: prompt only.{sampling * bool(with_fit)} Least regret knows no reference: "
        f"on {spaced(largest['name'])} it is at worst {regrets[0]:.3f} below the best answer to a comparator, {PI_BAR} "
        f"{regrets[1]:.3f}. KL and all numbers: results.json.",
        rf"the largest gap $V(\pi^*)-V(\bar\pi)$ is {largest['gap']:.3f} ({spaced(largest['name'])}){chance}.",
        key(
            "V",
            "pi_bar",
            "pi_star",
            "mu",
            "y'",
            "deployed",
            "Nash",
            "least regret",
            items="; ".join([*named, *filter(None, own)]),
        ),
    )


def draw(results: dict[str, Any], page: Page) -> Figure:
    """Each table's preferences with both optima marked, and the value of every policy."""
    shown = results["tables"]
    n = len(shown)
    single = n == 1
    # Several side by side or all below each other: a table's values stand below or beside its preferences.
    panels = sheet(
        page, 2 * n, across=max(n, 2), least=1.7, aspect=1.0, row=4.4 if single and page.width >= 5 else None
    )
    across = panels.columns == n > 1
    pairs = [
        (panels.axes[i], panels.axes[n + i]) if across else tuple(panels.axes[2 * i : 2 * i + 2]) for i in range(n)
    ]
    image: Any = None
    for i, (table, (top, bottom)) in enumerate(zip(shown, pairs, strict=True)):
        image = _draw_matrix(top, table, size=_letters(len(table["labels"]), page, panels.columns))
        top.set_title(wrap(spaced(table["name"]), page.characters(0.55 * page.width / panels.columns)), loc="left")
        _draw_values(bottom, table, with_labels=i == 0 or not across)
    bar: Any = panels.figure.colorbar(
        image, ax=pairs[-1][0] if single else panels.axes[: panels.columns], shrink=0.8, pad=0.02
    )
    bar.set_label("$P$(row preferred to column)")
    panels.legend(
        [
            line(f"{PI_STAR}'s best answer to the column", color=BLACK, marker="o", mec="white", ms=6, ls="none"),
            _frame(f"{PI_BAR}'s answer"),
            line(f"judged against the {Y_} it saw", color="0.3", marker="o", ms=7, ls="none"),
            line("prompt only", color="0.3", marker="o", mfc="white", ms=7, ls="none"),
            *([patch("gap of sampling alone, 95 %", "0.85")] if any(t["gap_if_separable"] for t in shown) else []),
        ]
    )
    return panels.figure


def _letters(k: int, page: Page, columns: int) -> float:
    """Size of tick labels that k rows of a matrix have room for, in points."""
    inches = 0.62 * page.width / columns
    return float(np.clip(0.72 * 72 * inches / k, 4.0, page.letters - 1))


def _frame(label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(fill=False, lw=1.8, label=label)


def _draw_matrix(axis: Any, table: dict[str, Any], size: float) -> Any:
    """The preferences with both optima; returns the image, for a bar of its colors."""
    from matplotlib.patches import Rectangle

    P = np.array(table["preferences"])
    order = np.argsort(-P.mean(axis=1), kind="stable")
    names, _ = codes(table["labels"])
    labels = [drawable(names[i]) for i in order]
    image = axis.imshow(P[np.ix_(order, order)], cmap="RdBu", vmin=0, vmax=1)
    rows, columns = np.nonzero(best_responses(P, atol=TIE)[np.ix_(order, order)])
    axis.plot(columns, rows, "o", color="black", ms=4.5 if len(labels) < 16 else 3, mec="white", mew=0.6)
    for row, i in enumerate(order):
        if table["labels"][i] in table["pi_bar_picks"]:
            axis.add_patch(Rectangle((-0.5, row - 0.5), len(labels), 1, fill=False, lw=1.8))
    upright = 0 if max(map(len, labels)) <= 2 else 90
    axis.set_xticks(range(len(labels)), labels, rotation=upright, fontsize=size)
    axis.set_yticks(range(len(labels)), labels, fontsize=size)
    axis.grid(visible=False)
    return image


def _draw_values(axis: Any, table: dict[str, Any], *, with_labels: bool) -> None:
    if null := table["gap_if_separable"]:
        bar = table["policies"]["pi_bar"]["value"]
        axis.axvspan(bar, bar + null["p95"], color="0.85", lw=0, zorder=0)
    for y, (name, (_, marker, color, conditioned)) in enumerate(reversed(POLICIES.items())):
        row = table["policies"][name]
        axis.errorbar(
            row["value"],
            y,
            xerr=row["value_se"],
            marker=marker,
            color=color,
            mfc=color if conditioned else "white",
            ms=7,
            capsize=2.5,
            lw=1.3,
        )
    names = [label for label, *_ in reversed(POLICIES.values())]
    axis.set_yticks(range(len(names)), names if with_labels else [""] * len(names))
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.margins(x=0.1)
    error = f" $\\pm$ {table['gap_se']:.3f}" if table["gap_se"] is not None else ""
    axis.set_xlabel(f"{V}\n$V(\\pi^*)-V(\\bar\\pi)$ = {table['gap']:.3f}{error}")

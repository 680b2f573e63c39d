"""Arena-Hard's numbers of every model judged against the baseline: win rates, plain and at equal style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scaled.evaluation.benchmarks.arena_hard import Row
from scaled.evaluation.scoring import bradley_terry, style
from scaled.evaluation.scoring.bradley_terry import Games
from scaled.evaluation.scoring.numbers import Number, influences, known, mean_and_error

WIN_RATE, STYLE_CONTROLLED = "arena_hard_wr", "arena_hard_sc"
ALONE = "fitted alone: not comparable with style-controlled numbers of other sets of models"

Styles = Mapping[str, Mapping[str, tuple[float, float, float, float]]]
"""Counts of tokens, headers, list items and bold texts, by model and question."""


def games(rows: Sequence[Row]) -> Games:
    """All games with a verdict, models in the order of their names, so that files' order changes nothing."""
    models = sorted({row.model for row in rows})
    ordered = sorted(rows, key=lambda row: (row.model, row.question))
    flat = [(models.index(row.model), row.question, *battle) for row in ordered for battle in row.battles()]
    model, question, points, weight = zip(*flat, strict=True) if flat else ((), (), (), ())
    return Games(
        tuple(models),
        np.array(model, dtype=np.int64),
        np.array(question, dtype=np.str_),
        np.array(points, dtype=np.float64),
        np.array(weight, dtype=np.int64),
    )


def plain(rows: Sequence[Row], seed: int) -> list[Number]:
    """Win rates in percent; intervals from battles of all models together, errors by question.

    A model none of whose games has a verdict has no number.
    """
    played = games(rows)
    if not len(played.points):
        return []
    rates = bradley_terry.win_rates(played)
    low, high = 100 * bradley_terry.intervals(played, seed=seed)
    found = []
    for place, model in enumerate(played.models):
        if np.isnan(rates[place]):
            continue
        mine = played.of(model)
        _, se = mean_and_error(influences(100 * mine.points, mine.question, mine.weight))
        asked = [row for row in rows if row.model == model]
        found.append(
            Number(
                WIN_RATE,
                model,
                100 * float(rates[place]),
                known(se),
                len(asked),
                interval=(float(low[place]), float(high[place])),
                counts=_counts(asked, mine),
                note="won no game, tied none" if rates[place] == 0 else "",
            )
        )
    return found


def _counts(rows: Sequence[Row], mine: Games) -> dict[str, int]:
    labels = [label for row in rows for label in row.labels]
    return {
        "battles": int(mine.weight.sum()),
        "won": int(mine.weight[mine.points == 1].sum()),
        "tied": int(mine.weight[mine.points == 0.5].sum()),
        "lost": int(mine.weight[mine.points == 0].sum()),
        "no label": sum(label is None for label in labels),
        "no verdict": len(labels) - len(mine.points) - labels.count(None),
    }


def controlled(
    rows: Sequence[Row],
    styles: Styles,
    baseline: Mapping[str, tuple[float, float, float, float]],
    seed: int,
    elements: Sequence[str] = style.ELEMENTS,
    metric: str = STYLE_CONTROLLED,
) -> list[Number]:
    """Win rates in percent at equal style, of all models of `styles` fitted together.

    Args:
        rows: of all models; those whose style is not known are left out.
        styles: of the models' answers.
        baseline: of the baseline's.
        seed: of the intervals.
        elements: of style that are controlled for.
        metric: what the numbers are called.
    """
    known_rows = [row for row in rows if row.model in styles]
    played = games(known_rows)
    if not len(played.points):
        return []
    own = np.array([styles[played.models[m]][q] for m, q in zip(played.model, played.question, strict=True)])
    theirs = np.array([baseline[q] for q in played.question])
    differences = style.differences(own, theirs)
    fit = style.fit(played, differences, elements)
    low, high = 100 * style.intervals(played, differences, elements, seed=seed)
    constant = [f"the same everywhere and left out: {', '.join(fit.left_out)}"] if fit.left_out else []
    note = "; ".join([*([ALONE] if len(played.models) == 1 else []), *constant])
    return [
        Number(
            metric,
            model,
            100 * float(fit.rates[place]),
            100 * float(fit.errors[place]),
            len({row.question for row in known_rows if row.model == model}),
            interval=(float(low[place]), float(high[place])),
            together=played.models,
            note=note,
        )
        for place, model in enumerate(played.models)
        if (played.model == place).any()
    ]

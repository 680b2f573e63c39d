"""MT-Bench's means: per turn, per category, and both averages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scaled.evaluation.benchmarks.mt_bench import TURNS, Row
from scaled.evaluation.scoring.numbers import Number, influences, known, mean_and_error

AVERAGE = "mt_bench"
"""Of all ratings together, as FastChat's show_result has it."""

MEAN_OF_TURNS = "mt_bench_mean_of_turns"


def numbers(rows: Sequence[Row], categories: Mapping[str, str]) -> list[Number]:
    """Means of one model's ratings by one judge; a rating of -1 is left out and counted.

    A question that is there twice counts twice, as in FastChat; standard errors keep a question's ratings together.

    Args:
        rows: of one model.
        categories: by question.
    """
    model = rows[0].model
    usable = [row for row in rows if row.score != -1]
    counts = {
        "ratings": len(rows),
        "without a rating": len(rows) - len(usable),
        "ratings of a question and turn that has one already": len(rows) - len({(r.question, r.turn) for r in rows}),
    }
    groups: dict[str, list[Row]] = {AVERAGE: usable}
    for turn in range(1, TURNS + 1):
        groups[f"{AVERAGE}_turn_{turn}"] = [row for row in usable if row.turn == turn]
    for category in sorted({categories[row.question] for row in rows}):
        mine = [row for row in usable if categories[row.question] == category]
        groups[f"{AVERAGE}_{category}"] = mine
        for turn in range(1, TURNS + 1):
            groups[f"{AVERAGE}_{category}_turn_{turn}"] = [row for row in mine if row.turn == turn]
    found = [_mean(name, model, group, counts if name == AVERAGE else {}) for name, group in groups.items() if group]
    turns = [groups[f"{AVERAGE}_turn_{turn}"] for turn in range(1, TURNS + 1)]
    return [*found, _mean_of_turns(model, turns)] if all(turns) else found


def _mean(name: str, model: str, rows: Sequence[Row], counts: Mapping[str, int]) -> Number:
    parts = influences([row.score for row in rows], [row.question for row in rows])
    value, se = mean_and_error(parts)
    return Number(name, model, value, known(se), len(parts), counts=counts)


def _mean_of_turns(model: str, turns: Sequence[Sequence[Row]]) -> Number:
    """The plain mean of the turns' means; its error from each question's pull on all of them."""
    questions = sorted({row.question for turn in turns for row in turn})
    pulls = np.zeros(len(questions))
    value = 0.0
    for turn in turns:
        mean = float(np.mean([row.score for row in turn]))
        value += mean / len(turns)
        for row in turn:
            pulls[questions.index(row.question)] += (row.score - mean) / (len(turn) * len(turns))
    _, se = mean_and_error(value + len(questions) * pulls)
    return Number(MEAN_OF_TURNS, model, value, known(se), len(questions))

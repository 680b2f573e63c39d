"""MT-Bench's means: per turn, per category, and both averages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

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
        "no rating": len(rows) - len(usable),
        "repeated": len(rows) - len({(r.question, r.turn) for r in rows}),
    }
    found: list[Number] = []
    for category in ("", *sorted({categories[row.question] for row in rows})):
        mine = [row for row in usable if category in ("", categories[row.question])]
        turns = [[row for row in mine if row.turn == turn] for turn in range(1, TURNS + 1)]
        name = f"{AVERAGE}_{category}" if category else AVERAGE
        groups = {name: mine} | {f"{name}_turn_{turn}": group for turn, group in enumerate(turns, start=1)}
        found += [_mean(metric, group, category) for metric, group in groups.items() if group]
        if not category and all(turns):
            found.append(_mean_of_turns(model, turns))
    return [replace(number, counts=counts) if number.metric == AVERAGE else number for number in found]


def _mean(name: str, rows: Sequence[Row], category: str) -> Number:
    parts = influences([row.score for row in rows], [row.question for row in rows])
    value, se = mean_and_error(parts)
    return Number(name, rows[0].model, value, known(se), len(parts), category=category)


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

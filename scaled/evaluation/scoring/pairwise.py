"""Numbers of a user's own comparisons and ratings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scaled.evaluation.benchmarks.pairwise import PARTS, SCORE, Row
from scaled.evaluation.scoring.numbers import Number, influences, known, mean_and_error

WIN_RATE, FIRST, RATING = "pairwise_wr", "pairwise_first_wins", "pairwise_score"


def numbers(rows: Sequence[Row], categories: Mapping[str, str]) -> list[Number]:
    """One model's: win rate (a tie is half a win) or mean rating, of all prompts and of each category.

    Of comparisons also how often the answer that stood first won, in percent of those that one answer won: 50
    without position bias.

    Args:
        rows: of one model, all comparisons or all ratings.
        categories: by question; empty for none.
    """
    name, scale = (RATING, 1.0) if rows[0].part == SCORE else (WIN_RATE, 100.0)
    found = _with_categories(name, scale, rows, categories)
    decided = [row for row in rows if row.part != SCORE and row.value in (0, 1)]
    if decided:
        first = [float((row.value == 1) == (row.part == PARTS[1])) for row in decided]
        value, se = mean_and_error(influences([100 * each for each in first], [row.question for row in decided]))
        found.append(Number(FIRST, rows[0].model, value, known(se), len({row.question for row in decided})))
    return found


def _with_categories(name: str, scale: float, rows: Sequence[Row], categories: Mapping[str, str]) -> list[Number]:
    found = []
    for category in ("", *sorted({categories[row.question] for row in rows} - {""})):
        group = [row for row in rows if category in ("", categories[row.question])]
        usable = [(row.question, row.value) for row in group if row.value is not None]
        if usable:
            questions, values = zip(*usable, strict=True)
            parts = influences([scale * value for value in values], questions)
            value, se = mean_and_error(parts)
            label, counts = (f"{name}_{category}", {}) if category else (name, _counts(group, name == WIN_RATE))
            found.append(Number(label, rows[0].model, value, known(se), len(parts), counts=counts, category=category))
    return found


def _counts(rows: Sequence[Row], compared: bool) -> dict[str, int]:  # noqa: FBT001  # which of two kinds of rows
    missing = {"no verdict": sum(row.value is None for row in rows)}
    if not compared:
        return {"ratings": len(rows)} | missing
    by_question: dict[str, list[float | None]] = {}
    for row in rows:
        by_question.setdefault(row.question, []).append(row.value)
    both = [values for values in by_question.values() if len(values) == len(PARTS) and None not in values]
    values = [row.value for row in rows]
    return {
        "won": values.count(1),
        "tied": values.count(0.5),
        "lost": values.count(0),
        **missing,
        "both orders": len(both),
        "same verdict": sum(first == second for first, second in both),
    }

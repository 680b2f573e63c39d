"""The paper's cells, ours beside them, and the notes below that all tables share."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from math import sqrt

from paper_figures import commands
from paper_figures.measured import Results
from paper_figures.names import METRICS
from paper_figures.printed import PaperTable, Printed, arrows
from paper_figures.table import Cell

# Standard error of one score in points, (least, most), about. AlpacaEval 2, 805 instructions: its leaderboard has
# 1.39 at a win rate of 30 and 1.48 at 51, less for lower ones; Table 2's counts are the same for any from 1.13 to
# 1.55. Arena-Hard, 500 questions: its 95 % intervals are about +-2.
STANDARD_ERRORS = {
    "alpaca_eval_lc": (1.3, 1.6),
    "alpaca_eval_wr": (1.3, 1.6),
    "arena_hard_wr": (2 / 1.96, 2 / 1.96),
}


def paper_cell(cell: Printed, table: PaperTable) -> Cell:
    """A cell as printed, its arrow in small type, bold where it is its column's best."""
    best = cell.value is not None and cell.value == table.best(cell.model, cell.metric)
    return Cell(cell.text, small=cell.arrow, strong=best)


def our_cells(results: Results, model: str, run: str, metrics: Sequence[str]) -> list[Cell]:
    """Our cells of one run: one across all that says what to run, or a number (or a dash) each."""
    found = [results.get((model, run, metric)) for metric in metrics]
    if not any(found):
        return [Cell(commands.not_run(run), quiet=True, span=len(metrics))]
    return [
        Cell(f"{number.value:.{METRICS[metric].decimals}f}", small=_error(number.se, METRICS[metric].decimals))
        if number
        else Cell("not run", quiet=True)
        for metric, number in zip(metrics, found, strict=True)
    ]


def _error(se: float | None, decimals: int) -> str:
    return "" if se is None else f"±{se:.{decimals}f}"


def filled(results: Results, table: PaperTable) -> str:
    """How many of a table's cells we have: ``3 of 140 cells``."""
    numbers = [key for key, cell in table.cells.items() if cell.value is not None]
    return f"{sum(key in results for key in numbers)} of {len(numbers)} cells"


def notes(
    table: PaperTable, results: Results, models: tuple[str, ...], contradictions: Sequence[str], *, legend: str
) -> tuple[str, ...]:
    """The paragraphs below a table of scores."""
    source = f"Paper: arXiv:2512.23126, Table {table.number} (Section {table.section}); {legend}"
    fill = [] if all(key in results for key in table.cells) else [commands.how_to_fill(models)]
    arrow = [arrow_note(table), noise_note(table)] if arrows([table]) else []
    return (source, *fill, *judge_notes(table, results), *arrow, *against_itself(contradictions), *table.remarks)


def against_itself(contradictions: Sequence[str]) -> list[str]:
    """What does not fit together in the paper's own numbers, as numbered paragraphs."""
    if not contradictions:
        return []
    head = "The paper's numbers against its text and against each other, as computed from its cells:"
    return [head, *[f"({index}) {sentence}" for index, sentence in enumerate(contradictions, start=1)]]


def arrow_note(table: PaperTable) -> str:
    """How many arrows equal the difference of the printed cells."""
    cells = arrows([table])
    right = sum(_base(table, cell) == cell.delta for cell in cells)
    return f"{right} of {len(cells)} arrows equal the difference of the printed cells."


def _base(table: PaperTable, cell: Printed) -> Decimal | None:
    base = table.cells[cell.model, cell.base or "", cell.metric]
    return cell.value - base.value if cell.value is not None and base.value is not None else None


def noise_note(table: PaperTable) -> str:
    """How many arrows lie within two standard errors; the paper gives none."""
    parts = []
    for name in ("AlpacaEval 2", "Arena-Hard"):
        cells = [cell for cell in arrows([table]) if METRICS[cell.metric].label.startswith(name)]
        least, most = STANDARD_ERRORS[cells[0].metric]
        single, difference = within(cells, 2 * least), within(cells, 2 * sqrt(2) * least)
        errors = f"{least:.1f}" if least == most else f"{least} to {most}"
        parts.append(
            f"{name} (standard error of a score about {errors}): {single} of {len(cells)} arrows within two standard "
            f"errors of one score, {difference} within two of a difference of independent scores"
        )
    text = f"The paper has one seed and no error bars. {'; '.join(parts)}; counted with the smaller error."
    fine = [cell for cell in arrows([table]) if cell.metric.startswith("mt_bench")]
    if fine:
        text += f" MT-Bench: {within(fine, 0.1)} of {len(fine)} arrows are at most 0.1, the last digit printed."
    return text


def within(cells: Sequence[Printed], bound: float) -> int:
    """How many arrows are at most `bound` in size."""
    return sum(cell.delta is not None and abs(float(cell.delta)) <= bound for cell in cells)


def judge_notes(table: PaperTable, results: Results) -> list[str]:
    """Which judges ours have had where they are not the paper's."""
    others = sorted(
        {
            f"{METRICS[key[2]].label} by {results[key].judge} (the paper: {METRICS[key[2]].judge})"
            for key in table.cells
            if key in results and results[key].judge != METRICS[key[2]].judge
        }
    )
    return [f"Ours have other judges: {', '.join(others)}."] if others else []

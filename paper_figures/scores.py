"""What Tables 2 to 4 share: the paper's row, ours below it, and the notes."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from paper_figures import commands
from paper_figures.measured import Measured, Results
from paper_figures.names import METRICS
from paper_figures.printed import PaperTable, Printed

# Standard error of one score in points, (least, most), about. AlpacaEval 2, 805 instructions: its leaderboard has
# 1.39 at a win rate of 30 and 1.48 at 51, less for lower ones; Table 2's counts are the same for any from 1.13 to
# 1.55. Arena-Hard, 500 questions: its 95 % intervals are about +-2.
STANDARD_ERRORS = {"AlpacaEval 2": (1.3, 1.6), "Arena-Hard": (2 / 1.96, 2 / 1.96)}

PARTIAL = "†"


def rows(
    paper: PaperTable, results: Results, model: str, run: str, metrics: Sequence[str], labels: Sequence[str]
) -> list[list[str]]:
    """The paper's row, and ours below it; where we have none, the last column says how to make it."""
    theirs = []
    for metric in metrics:
        cell = paper.cells[model, run, metric]
        text = f"{cell.text} {cell.arrow}".rstrip()
        theirs.append(f"**{text}**" if cell.value == paper.best(model, metric).value else text)
    ours = [results.get((model, run, metric)) for metric in metrics]
    if not any(ours):
        return [[*labels, *theirs, commands.not_run(model, run)]]
    texts = ["*not run*" if number is None else _text(number) for number in ours]
    return [[*labels, *theirs, "below"], [*[""] * (len(labels) - 1), "*ours*", *texts, ""]]


def _text(number: Measured) -> str:
    """``41.3 ±1.4``, and a mark where it is of fewer questions than the benchmark has."""
    error = "" if number.se is None else f" ±{number.se:.1f}"
    return f"{number.value:.1f}{error}{PARTIAL if _is_partial(number) else ''}"


def _is_partial(number: Measured) -> bool:
    return number.n < METRICS[number.metric].questions


def filled(results: Results, paper: PaperTable) -> str:
    """How many of a table's cells we have: ``3 of 150 cells``."""
    return f"{sum(key in results for key in paper.cells)} of {len(paper.cells)} cells"


def notes(paper: PaperTable, results: Results, legend: str) -> list[str]:
    """The paragraphs below a table of scores."""
    source = f"Paper: arXiv:2512.23126, Table {paper.number} (Section {paper.section}); {legend}"
    fill = [] if all(key in results for key in paper.cells) else [commands.how_to_fill(paper.number)]
    arrows = [arrow_note(paper), noise_note(paper)] if paper.arrows else []
    ours = [results[key] for key in paper.cells if key in results]
    return [source, *fill, *_judge_note(paper, results), *_reading_notes(ours), *arrows, *paper.remarks]


def _reading_notes(ours: Sequence[Measured]) -> list[str]:
    """On how many questions marked cells are, and which models each style-controlled one was fitted with."""
    partial = [
        f"{_place(number)} {number.n} of {METRICS[number.metric].questions}" for number in ours if _is_partial(number)
    ]
    fits: dict[str, list[str]] = {}
    for number in ours:
        if number.fitted_together:
            fits.setdefault(", ".join(number.fitted_together), []).append(_place(number))
    marked = [f"{PARTIAL} On fewer questions than the benchmark has: {'; '.join(partial)}."] if partial else []
    fitted = "; ".join(f"{models} ({', '.join(places)})" for models, places in fits.items())
    return [*marked, *([f"Style control depends on the models fitted together: {fitted}."] if fits else [])]


def _place(number: Measured) -> str:
    """``llama-3-8b/ins-dpo Arena-Hard WR``."""
    return f"{number.model}/{number.run} {METRICS[number.metric].label}"


def _judge_note(paper: PaperTable, results: Results) -> list[str]:
    """Which judges ours had where they are not the paper's."""
    others = {
        f"{METRICS[key[2]].label} by {results[key].judge} (the paper: {METRICS[key[2]].judge})"
        for key in paper.cells
        if key in results and results[key].judge != METRICS[key[2]].judge
    }
    return [f"Ours have other judges: {', '.join(sorted(others))}."] if others else []


def arrow_note(paper: PaperTable) -> str:
    """How many arrows equal the difference of the printed cells."""
    bases = [paper.cells[cell.model, cell.base, cell.metric] for cell in paper.arrows]
    right = sum(cell.value - base.value == cell.gain for cell, base in zip(paper.arrows, bases, strict=True))
    return f"{right} of {len(bases)} arrows equal the difference of the printed cells."


def noise_note(paper: PaperTable) -> str:
    """How many arrows lie within two standard errors; the paper gives none."""
    parts = []
    for benchmark, (least, most) in STANDARD_ERRORS.items():
        cells = [cell for cell in paper.arrows if METRICS[cell.metric].label.startswith(benchmark)]
        errors = f"{least:.1f}" if least == most else f"{least} to {most}"
        parts.append(
            f"{benchmark} (standard error of a score about {errors}): {within(cells, 2 * least)} of {len(cells)} arrows"
            f" within two standard errors of one score, {within(cells, 2 * sqrt(2) * least)} within two of a difference"
            " of independent scores"
        )
    text = f"The paper has one seed and no error bars. {'; '.join(parts)}; counted with the smaller error."
    fine = [cell for cell in paper.arrows if cell.metric.startswith("mt_bench")]
    if fine:
        text += f" MT-Bench: {within(fine, 0.1)} of {len(fine)} arrows are at most 0.1, the last digit printed."
    return text


def within(cells: Sequence[Printed], bound: float) -> int:
    """How many arrows are at most `bound` in size."""
    return sum(abs(float(cell.gain)) <= bound for cell in cells)

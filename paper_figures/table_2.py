"""Table 2: AlpacaEval 2, Arena-Hard and MT-Bench; the paper's rows and ours below them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from paper_figures import scores
from paper_figures.measured import Results
from paper_figures.names import BASES, METRICS, MODELS, RUNS
from paper_figures.printed import PaperTable, elsewhere, read, signed
from paper_figures.table import Item, grid, table

COLUMNS = ("alpaca_eval_lc", "alpaca_eval_wr", "arena_hard_wr", "mt_bench_gpt_4o", "mt_bench_gpt_4")
TRAINED = {"mistral-7b": "Mistral-7B-Instruct-v0.2", "llama-3-8b": "Llama-3-8B-Instruct"}
ORDER = ("instruct", "rrhf", "slic", "cpo", "kto", *(f"{ins}{base}" for base in BASES for ins in ("", "ins-")))
LEGEND = (
    "arrows against the same method without INS, bold the best of a column; Baseline is the instruct model as released."
    " LC and WR in percent, MT-Bench out of 10."
)


def make(results: Results) -> Item:
    """The table, one grid for each model."""
    paper = read(2)
    head = ("method", *(METRICS[metric].label for metric in COLUMNS), "ours")
    parts = []
    for model, name in TRAINED.items():
        body = [row for run in ORDER for row in scores.rows(paper, results, model, run, COLUMNS, [RUNS[run]])]
        parts += [f"**{name}**", grid(head, "lrrrrrl", body)]
    parts += [*scores.notes(paper, results, LEGEND), length_note(paper)]
    title = "Benchmarks: the paper's scores, and ours below them"
    return table(2, title, parts, ours=scores.filled(results, paper), against=contradictions(paper))


def contradictions(paper: PaperTable) -> list[str]:
    """Section 5's sentences about this table, against its cells."""
    lc, wr, hard, *bench = COLUMNS
    both = ("ins-dpo", "ins-simpo")
    gains = {
        "AlpacaEval 2 LC at 0.6 to 8.5": _outside(paper, [lc], "0.6", "8.5"),
        "Arena-Hard WR at 0.7 to 7.6": _outside(paper, [hard], "0.7", "7.6"),
        "AlpacaEval 2 WR at 3 to 6 for INS-DPO and INS-SimPO": _outside(paper, [wr], "3", "6", both),
        "Arena-Hard WR at 2 to 3 for INS-DPO and INS-SimPO": _outside(paper, [hard], "2", "3", both),
        "MT-Bench at 0.1 to 0.2": _outside(paper, bench, "0.1", "0.2"),
    }
    ahead = paper.ahead_of("ins-simpo", COLUMNS, among="ins-")
    return [
        *(f"Section 5.2 puts the gains in {claim}; {outside}." for claim, outside in gains.items()),
        f"Section 5.2 says that the SimPO variants consistently lead; another INS variant is ahead in {ahead}.",
        "Section 5.1 announces Arena-Hard SC; this table does not have it.",
        *elsewhere(2),
    ]


def _outside(paper: PaperTable, metrics: Sequence[str], low: str, high: str, runs: Sequence[str] = tuple(RUNS)) -> str:
    """Which arrows are outside a range; against a range in whole points they are rounded to whole points."""
    cells = [cell for cell in paper.arrows if cell.metric in metrics and cell.run in runs]
    outside = [cell for cell in cells if not Decimal(low) <= cell.gain.quantize(Decimal(low)) <= Decimal(high)]
    judges = [METRICS[cell.metric].label.partition(",")[2] for cell in outside]  # of MT-Bench
    listed = [
        f"{signed(cell.gain)} ({cell.place}{',' if judge else ''}{judge})"
        for cell, judge in zip(outside, judges, strict=True)
    ]
    return f"outside: {len(outside)} of {len(cells)}, {', '.join(listed)}"


def length_note(paper: PaperTable) -> str:
    """Where the raw win rate rises and the one that allows for length does not."""
    rises = []
    for model in TRAINED:
        for base, name in BASES.items():
            lc, wr = (paper.cells[model, f"ins-{base}", metric].gain for metric in COLUMNS[:2])
            if lc <= Decimal("0.1") and wr >= 1:
                rises.append(f"{name} on {MODELS[model]} (LC {signed(lc)}, WR {signed(wr)})")
    return f"WR gains a point or more, and LC, which allows for length, at most 0.1: {', '.join(rises)}."

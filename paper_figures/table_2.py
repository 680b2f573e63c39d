"""Table 2: AlpacaEval 2, Arena-Hard and MT-Bench; the paper's row and ours below it."""

from __future__ import annotations

from decimal import Decimal

from paper_figures import commands
from paper_figures.beside import filled, notes, our_cells, paper_cell
from paper_figures.claims import contradictions
from paper_figures.item import Item, table_item
from paper_figures.measured import Results
from paper_figures.names import BASES, RUNS
from paper_figures.names import MODELS as NAMES
from paper_figures.printed import PaperTable, read, signed
from paper_figures.table import Cell, Row, Table

METRICS = ("alpaca_eval_lc", "alpaca_eval_wr", "arena_hard_wr", "mt_bench_gpt_4o", "mt_bench_gpt_4")
MODELS = ("mistral-7b", "llama-3-8b")
OTHERS = ("rrhf", "slic", "cpo", "kto")
LEGEND = "arrows against the method's own baseline, bold the best of a column. LC and WR in percent, MT-Bench of 10."


def make(results: Results) -> Item:
    """The table in all formats."""
    paper = read(2)
    found = contradictions(2)
    body = [*_rows(paper, results, "instruct")]
    body += [row for run in OTHERS for row in _rows(paper, results, run, rule=run == OTHERS[0])]
    for base in BASES:
        body += [*_rows(paper, results, base, rule=True), *_rows(paper, results, f"ins-{base}")]
    table = Table(
        "Table 2",
        "Benchmarks: the paper's scores, and ours below them",
        "l" + "r" * len(METRICS) * len(MODELS),
        _head(),
        tuple(body),
        (*notes(paper, results, MODELS, found, legend=LEGEND), length_note(paper)),
    )
    return table_item(table, filled(results, paper), found)


def length_note(paper: PaperTable) -> str:
    """Where the raw win rate rises and the one that allows for length does not."""
    rises = []
    for model in MODELS:
        for base in BASES:
            lc, wr = (paper.cells[model, f"ins-{base}", metric].delta for metric in METRICS[:2])
            if lc is not None and wr is not None and lc <= Decimal("0.1") and wr >= 1:
                rises.append(f"{RUNS[base]} on {NAMES[model]} (LC {signed(lc)}, WR {signed(wr)})")
    return f"WR gains a point or more, and LC, which allows for length, at most 0.1: {', '.join(rises)}."


def _head() -> tuple[Row, ...]:
    groups = [Cell(), Cell("Mistral-7B-Instruct-v0.2", span=5), Cell("Llama-3-8B-Instruct", span=5)]
    benchmarks = [Cell("AlpacaEval 2", span=2), Cell("Arena-Hard"), Cell("MT-Bench", span=2)]
    names = [Cell(name) for name in ("LC", "WR", "WR", "GPT-4o", "GPT-4")]
    return Row(tuple(groups)), Row((Cell(), *benchmarks, *benchmarks)), Row((Cell("Method"), *names, *names))


def _rows(paper: PaperTable, results: Results, run: str, *, rule: bool = False) -> tuple[Row, Row]:
    theirs = [paper_cell(paper.cells[model, run, metric], paper) for model in MODELS for metric in METRICS]
    if any((model, run, metric) in results for model in MODELS for metric in METRICS):
        ours = [cell for model in MODELS for cell in our_cells(results, model, run, METRICS)]
    else:
        ours = [Cell(commands.not_run(run), quiet=True, span=len(MODELS) * len(METRICS))]
    shaded = run.startswith("ins-")
    label = "+ INS" if shaded else RUNS[run]
    return (
        Row((Cell(label), *theirs), shaded=shaded, rule=rule or run == "instruct"),
        Row((Cell("ours", quiet=True), *ours), shaded=shaded),
    )

"""Table 7: time and memory of INS-DPO as shares of DPO's, on three models."""

from __future__ import annotations

from paper_figures.beside import against_itself
from paper_figures.claims import contradictions
from paper_figures.item import Item, table_item
from paper_figures.measured import Results
from paper_figures.names import MODELS
from paper_figures.overhead import HOW, prompt_share, ratio, ratio_cell
from paper_figures.overhead import MODELS as MEASURED
from paper_figures.printed import PaperTable, read
from paper_figures.table import Cell, Row, Table

SOURCE = "Paper: arXiv:2512.23126, Table 7 (Section D.5), on A100 80 GB; DPO is 1.0× throughout and left out."
METRICS = ("training_time", "memory", "inference_time")


def make(results: Results) -> Item:
    """The table in all formats."""
    paper = read(7)
    found = contradictions(7)
    names = [Cell("training time"), Cell("memory"), Cell("inference time")]
    body = []
    for model in MEASURED:
        theirs = [Cell(paper.cells[model, "ins-dpo", metric].text) for metric in METRICS]
        body.append(Row((Cell(MODELS[model]), *theirs, *[ratio_cell(results, model, metric) for metric in METRICS])))
    table = Table(
        "Table 7",
        "INS-DPO's cost over DPO's",
        "lcccccc",
        (
            Row((Cell(), Cell("paper", span=3), Cell("ours", span=3))),
            Row((Cell("model"), *names, *names)),
        ),
        tuple(body),
        (SOURCE, HOW, _token_note(paper), *against_itself(found), *paper.remarks),
    )
    ratios = [ratio(results, model, metric) for model in MEASURED for metric in METRICS]
    return table_item(table, f"{sum(map(bool, ratios))} of {len(ratios)} ratios", found)


def _token_note(paper: PaperTable) -> str:
    """What the printed training times would need if time were proportional to tokens."""
    shares = [prompt_share(float(paper.cells[model, "ins-dpo", "training_time"].value or 0)) for model in MEASURED]
    return (
        "Two cross-conditioned rows hold each response twice, which plain rows do not. If time grew with tokens alone,"
        f" the printed overheads would need prompts {', '.join(f'{share:.1f}' for share in shares)} times as long as a"
        " response; attention only adds to that."
    )

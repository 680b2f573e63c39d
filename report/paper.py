"""The paper's figures and tables with ours beside them, as paper_figures makes them."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

from inspo.command_line import UserError, one_line
from paper_figures import figure_1, figure_2, table_1, table_2, table_3, table_4, table_5, table_7
from paper_figures.measured import Results, load
from paper_figures.table import Item
from report.markup import markdown
from report.sources import ROOT, Collection, Source, dated, relative

COMMAND = "python -m paper_figures"
PRINTED = ROOT / "paper_figures" / "paper"
TABLES = {2: table_2.make, 3: table_3.make, 4: table_4.make, 5: table_5.make, 7: table_7.make}
FIGURES = {
    "figure_1": "Figure 1. What a pair is scored by: DPO, the paper's two rows, and one tree",
    "figure_2": figure_2.TITLE,
}
WITHOUT = {
    6: "Table 6 is the paper's notation; what is wrong in it is the claim table-6.",
}


def collect(found: Collection, results: Path, toy: Path | None = None) -> None:
    """Figures 1 and 2 and every table; a note where a result file is foreign or none is there.

    Args:
        found: what it goes to.
        results: folder of evaluations, costs and runs.
        toy: folder of the toy's results, where it is another one than `results` has.
    """
    ours: Results = {}
    try:
        ours = load(results)
    except UserError as error:
        found.note("paper", f"not counted: {one_line(error)}")
    items = []
    for name, title in FIGURES.items():
        items.append(_figure(found, name, title, results, toy or results / "toy"))
    items.append(_table(found, 1, table_1.make(), ROOT / "paper_figures" / "table_1.py", "1, of the random pairs"))
    for number, make in TABLES.items():
        seeds = sorted({measured.seed for measured in ours.values()})
        item = make(ours)
        said = f"the paper's are not given; ours: {', '.join(map(str, seeds)) or 'not run'}"
        items.append(_table(found, number, item, PRINTED / f"table_{number}.json", said))
        if item.ours.startswith("0 "):
            found.note(
                f"table_{number}", f"No result of ours is committed ({item.ours}): the paper's rows stand alone."
            )
    found.parts["paper"] = items


def _figure(found: Collection, name: str, title: str, results: Path, toy: Path) -> dict[str, str | None]:
    """A figure as a picture that is held in its address."""
    path = ROOT / "paper_figures" / f"{name}.py"
    source = found.source(
        name, Source(relative(path), f"{COMMAND} --only {name}", "of the runs that it shows", dated(path))
    )
    html, ours = None, ""
    try:
        with tempfile.TemporaryDirectory() as folder:
            for run in (toy, *(results / run for run in figure_2.TINY_RUNS)):
                (Path(folder) / ("toy" if run == toy else run.name)).symlink_to(run.resolve())
            item = figure_1.make() if name == "figure_1" else figure_2.make(Path(folder))
            svg = next(file for file in item.write(Path(folder)) if file.suffix == ".svg")
            html = f"data:image/svg+xml;base64,{base64.b64encode(svg.read_bytes()).decode()}"
        ours = item.ours
        if "0 of" in ours:
            found.note(name, f"{ours}: make toy, make train-tiny and its baseline make what is drawn here.")
    except UserError as error:
        found.note(name, f"drawn without ours: {one_line(error)}")
    return {"id": name, "title": title, "picture": html, "html": None, "ours": ours, "source": source}


def _table(found: Collection, number: int, item: Item, file: Path, seeds: str) -> dict[str, str | None]:
    """A table as HTML."""
    name = f"table_{number}"
    source = found.source(name, Source(relative(file), f"{COMMAND} --only {name}", seeds, dated(file)))
    with tempfile.TemporaryDirectory() as folder:
        (path,) = item.write(Path(folder))
        text = path.read_text(encoding="utf-8")
    title, _, rest = text.partition("\n\n")
    if item.contradictions:
        found.number(f"{name}.contradictions", len(item.contradictions), str(len(item.contradictions)), source)
    plain = title.replace("**", "")
    return {"id": name, "title": plain, "picture": None, "html": markdown(rest), "ours": item.ours, "source": source}

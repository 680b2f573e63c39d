"""Make the items that are asked for, write them, say where they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from paper_figures import figure_1, figure_2, table_1, table_2, table_3, table_4, table_5, table_7
from paper_figures.item import Item
from paper_figures.measured import Results, load

# Name on the command line to what makes the item from our result files and their folder.
ITEMS: dict[str, Callable[[Results, Path], Item]] = {
    "figure_1": lambda _results, _folder: figure_1.make(),
    "figure_2": lambda _results, folder: figure_2.make(folder),
    "table_1": lambda _results, _folder: table_1.make(),
    "table_2": lambda results, _folder: table_2.make(results),
    "table_3": lambda results, _folder: table_3.make(results),
    "table_4": lambda results, _folder: table_4.make(results),
    "table_5": lambda results, _folder: table_5.make(results),
    "table_7": lambda results, _folder: table_7.make(results),
}


def run(out: Path, results: Path, only: Sequence[str]) -> None:
    """Make everything in memory, then write it, then print the closing table.

    Raises:
        ValueError: a result file that is not as it should be, or an output folder that cannot be written.
    """
    from rich.console import Console
    from rich.table import Table

    measured = load(results)
    items = [ITEMS[name](measured, results) for name in ITEMS if name in only]
    _write(out, {name: content for item in items for name, content in item.files.items()})
    table = Table(title="The paper's figures and tables", title_justify="left")
    for column in ("item", "ours", "the paper against itself", "files"):
        table.add_column(column)
    for item in items:
        endings = ", ".join(sorted(Path(name).suffix[1:] for name in item.files))
        count = len(item.contradictions)
        against = f"{count} contradiction{'s' if count > 1 else ''}" if count else "-"
        table.add_row(item.name, item.ours, against, endings)
    console = Console()
    console.print(table)
    console.print(f"files: {out}", highlight=False, markup=False, soft_wrap=True)


def _write(out: Path, files: dict[str, bytes]) -> None:
    """Write each file whole: beside its place first, then into it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            staged = out / f".{name}.new"
            staged.write_bytes(content)
            staged.replace(out / name)
    except OSError as error:
        raise ValueError(f"--out {out}: cannot be written ({error.strerror}); name a folder that can") from None

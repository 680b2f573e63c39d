"""``python -m paper_figures``: every figure and table of the paper, theirs and ours."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from inspo.command_line import OneLineParser, UserError, exit_code
from paper_figures import figure_1, figure_2, table_1, table_2, table_3, table_4, table_5, table_7
from paper_figures.measured import Results, load
from paper_figures.table import Item

# Name on the command line to what makes the item from our numbers and their folder.
ITEMS: dict[str, Callable[[Results, Path], Item]] = {
    "figure_1": lambda _ours, _folder: figure_1.make(),
    "figure_2": lambda _ours, folder: figure_2.make(folder),
    "table_1": lambda _ours, _folder: table_1.make(),
    "table_2": lambda ours, _folder: table_2.make(ours),
    "table_3": lambda ours, _folder: table_3.make(ours),
    "table_4": lambda ours, _folder: table_4.make(ours),
    "table_5": lambda ours, _folder: table_5.make(ours),
    "table_7": lambda ours, _folder: table_7.make(ours),
}


def run(out: Path, results: Path, only: Sequence[str]) -> None:
    """Make everything, then write it, then print what was made.

    Raises:
        UserError: a result file that is not as it should be, or an output folder that cannot be written.
    """
    from rich.console import Console
    from rich.table import Table

    ours = load(results)
    items = {name: make(ours, results) for name, make in ITEMS.items() if name in only}
    table = Table("item", "ours", "the paper against itself", "files", title="The paper's figures and tables")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, item in items.items():
            count = len(item.contradictions)
            against = f"{count} contradiction{'s' if count > 1 else ''}" if count else "-"
            table.add_row(name, item.ours, against, ", ".join(path.suffix[1:] for path in item.write(out)))
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror}); name a folder that can") from None
    console = Console()
    console.print(table)
    console.print(f"files: {out}", highlight=False, markup=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the figures; a user's mistake is one line and exit code 2."""
    parser = OneLineParser(
        prog="python -m paper_figures",
        description="Draw the paper's figures and tables, ours beside theirs. Reads result files, never trains.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--out", type=Path, default=Path("results/paper"), help="folder to write to")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the result files to read")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=ITEMS, default=list(ITEMS), help="make only these")

    def command() -> None:
        options = parser.parse_args(arguments)
        run(options.out, options.results, options.only)

    return exit_code(command, "stopped")


if __name__ == "__main__":
    sys.exit(main())

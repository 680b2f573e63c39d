"""``python -m paper_figures``: every figure and table of the paper, theirs and ours."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from paper_figures.report import ITEMS, run


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (--help lists the options)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the figures; a user's mistake is one line and exit code 2."""
    parser = _OneLineParser(
        prog="python -m paper_figures",
        description="Draw the paper's figures and tables, ours beside theirs. Reads result files, never trains.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--out", type=Path, default=Path("results/paper"), help="folder for what is made")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of the result files that are read"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=ITEMS, default=list(ITEMS), help="make only these")
    options = parser.parse_args(arguments)
    try:
        run(options.out, options.results, options.only)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  # the one line a user's mistake ends in
        return 2
    except KeyboardInterrupt:
        print("stopped: nothing was written", file=sys.stderr)  # noqa: T201
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

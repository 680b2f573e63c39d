"""``python -m report``: the page, from committed results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from inspo.command_line import OneLineParser, UserError, exit_code
from report import examples, generations, paper, told, verdicts, watched, worlds
from report.build import bundle, fill
from report.markup import FORMULAS, mathml
from report.sources import ROOT, Collection

OUT = ROOT / "report" / "index.html"


def gather(results: Path, experiments: Path) -> Collection:
    """Everything that the page shows, from result files."""
    found = Collection()
    found.parts["formulas"] = mathml(FORMULAS)
    verdicts.collect(found)
    examples.collect(found)
    toys = [results / "toy", results / "toy-quick"]
    watched.collect(found, toys)
    worlds.collect(found, experiments)
    generations.collect(found)
    paper.collect(found, results, watched.folder_of(toys))
    told.collect(found)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the page; a user's mistake is one line and exit code 2."""
    parser = OneLineParser(
        prog="python -m report",
        description="Build the page of all results, with the explorer in it. Reads result files, never trains.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="the page")
    parser.add_argument(
        "--results", type=Path, default=ROOT / "results", metavar="FOLDER", help="of toy, eval and cost"
    )
    parser.add_argument("--experiments", type=Path, default=worlds.RESULTS, metavar="FOLDER", help="of the worlds")

    def command() -> str:
        options = parser.parse_args(arguments)
        found = gather(options.results, options.experiments)
        page = fill(bundle(), found.as_dict())
        try:
            options.out.write_text(page, encoding="utf-8")
        except OSError as error:
            raise UserError(f"--out {options.out}: cannot be written ({error.strerror})") from None
        notes = [f"missing: {place}: {note}" for place, each in found.notes.items() for note in each]
        return "\n".join([*notes, f"{len(page.encode()) / 1e6:.2f} MB: {options.out}"])

    return exit_code(command, "stopped: nothing is written")


if __name__ == "__main__":
    sys.exit(main())

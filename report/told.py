"""What README, experiments and benchmarks say, word for word: the page has no judgment of its own."""

from __future__ import annotations

import re
from pathlib import Path

from report.markup import markdown, section
from report.sources import ROOT, Collection, Source, dated, relative

README = ROOT / "README.md"
EXPERIMENTS = ROOT / "docs" / "experiments.md"
BENCHMARKS = ROOT / "benchmarks" / "RESULTS.md"

# Place on the page: file and heading.
PIECES = {
    "use": (README, "Should you use this?"),
    "practice": (README, "What we found, for practitioners"),
    "status": (README, "Status"),
    "cost": (README, "What it costs"),
    "caveats": (EXPERIMENTS, "What it does not say"),
    "tables_5_7": (BENCHMARKS, "What INS-DPO costs over plain DPO (Tables 5 and 7)"),
    "training": (BENCHMARKS, "Whole training commands against TRL 1.16"),
}
_COMMAND = re.compile(r"^    (python \S.*)$", re.MULTILINE)
_DATE = re.compile(r"\b(20\d\d-\d\d-\d\d)\b")


def collect(found: Collection, pieces: dict[str, tuple[Path, str]] = PIECES) -> None:
    """Sections as HTML; a note for each that is missing."""
    told = {}
    for name, (path, heading) in pieces.items():
        try:
            text = section(path.read_text(encoding="utf-8"), heading)
        except (OSError, ValueError) as error:
            found.note(name, f"{relative(path)}: {error}")
            continue
        command = _COMMAND.search(text)
        date = _DATE.search(text) if command else None
        source = Source(
            f"{relative(path)}, {heading}",
            command[1].split("    ")[0] if command else "see the links in it",
            "of the files that it names",
            date[1] if date else dated(path),
        )
        told[name] = {"html": markdown(text), "source": found.source(f"told-{name}", source)}
    found.parts["told"] = told

"""The verdicts of theory/, as its page has them, which a test there holds to the checks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from report.sources import ROOT, Collection, Source, dated, relative

PAGE = ROOT / "theory" / "VERDICTS.md"
COMMAND = "python -m theory --write"
VERDICTS = ("true", "true with assumption", "false", "not shown", "outside the model")
GROUPS = {"The claims": "paper", "Results of our own": "own", "Errata, of the paper's": "errata"}
_ROW = re.compile(r"(?<!\\)\|")
_CITED = re.compile(r" \[[\d, ]+\]$")


def collect(found: Collection, page: Path = PAGE) -> None:
    """All claims with their verdicts, and how many there are of each; a note where the page is not there."""
    try:
        text = page.read_text(encoding="utf-8")
        claims = parse(text)
    except (OSError, ValueError) as error:
        found.note("verdicts", f"{relative(page)} cannot be read ({error}): {COMMAND} makes it")
        found.parts["verdicts"] = []
        return
    seeds = "fixed in each check; exact and symbolic ones need none"
    source = found.source("verdicts", Source(relative(page), COMMAND, seeds, dated(page)))
    found.parts["verdicts"] = claims
    for group in ("paper", "own"):
        mine = [claim for claim in claims if (claim["group"] == "own") == (group == "own")]
        found.number(f"claims.{group}", len(mine), str(len(mine)), source)
        for verdict in VERDICTS:
            count = sum(claim["verdict"] == verdict for claim in mine)
            found.number(f"claims.{group}.{verdict.replace(' ', '_')}", count, str(count), source)


def parse(text: str) -> list[dict[str, Any]]:
    """Every claim of the page.

    Raises:
        ValueError: a section without a verdict, or no claims at all.
    """
    groups = _groups(text)
    sections = [part.partition("\n") for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]]
    known = [_claim(name, body, groups[name]) for name, _, body in sections if name in groups]
    if not known:
        raise ValueError("it has no claims")
    return known


def _groups(text: str) -> dict[str, str]:
    """Which part of the page's tables names a claim."""
    found, group = {}, ""
    for line in text.splitlines():
        for opening, name in GROUPS.items():
            if line.removeprefix("## ").startswith(opening):
                group = name
        if named := re.match(r"\| \[([\w.-]+)\]\(#", line):
            found[named[1]] = group
    return found


def _claim(name: str, body: str, group: str) -> dict[str, Any]:
    lines = body.splitlines()
    bold = [line.strip("*.").strip() for line in lines if re.fullmatch(r"\*\*.*\.\*\*", line)]
    verdicts = [line.lower() for line in bold if line.lower() in VERDICTS]
    if len(verdicts) != 1:
        raise ValueError(f"{name} has no verdict")
    truths = [_plain(line[2:]) for line in lines if line.startswith("- ")]
    return {
        "id": name,
        "anchor": name.replace(".", ""),
        "group": group,
        "paper": bold[0],
        "verdict": verdicts[0],
        "quote": _after(lines, "The paper: ").strip('"'),
        "reading": _after(lines, "Read as: "),
        "truth": [line for line in truths if not line.startswith("*")],
        "missing": next((line[22:] for line in truths if line.startswith("*Missing assumption:*")), ""),
        "witness": next((line[11:] for line in truths if line.startswith("*Witness:*")), ""),
        "evidence": [_cells(line) for line in lines if re.match(r"\| \d+ \|", line)],
    }


def _after(lines: list[str], opening: str) -> str:
    return next((line.removeprefix(opening) for line in lines if line.startswith(opening)), "")


def _plain(line: str) -> str:
    return _CITED.sub("", line)


def _cells(line: str) -> dict[str, str]:
    _, shows, kind, check, finding = (cell.replace("\\|", "|").strip() for cell in _ROW.split(line)[1:-1])
    return {"shows": shows, "kind": kind, "check": check.replace("`", ""), "finding": finding.replace("`", "")}

"""``python -m theory``: the verdict on every claim, computed from its evidence."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from inspo.command_line import OneLineParser, UserError, exit_code
from theory.evidence import Judgment, Role
from theory.judging import judge_all
from theory.registry import CLAIMS, find_claim
from theory.report import as_dict, markdown, story, table
from theory.strategies import examples

VERDICTS = Path(__file__).with_name("VERDICTS.md")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0; 1 where a claim is undecided because evidence failed, or VERDICTS.md is out of date; 2 for
        unknown options, claims and profiles, and for options that contradict each other.
    """
    return exit_code(lambda: run(parser().parse_args(arguments)), "stopped")


def run(options: argparse.Namespace) -> int:
    """Judge the claims that are asked for, and present them; the exit status.

    Raises:
        UserError: an unknown claim or profile, or options that contradict each other.
    """
    if options.thorough:
        os.environ["THEORY_PROFILE"] = "thorough"
    refuse_contradictions(options)
    claims = list(CLAIMS.values()) if options.claim is None else [find_claim(options.claim)]
    judgments = []
    for judgment in judge_all(claims):
        judgments.append(judgment)
        if sys.stderr.isatty():
            print(f"\r\033[K{judgment.claim.id}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return present(judgments, options)


def refuse_contradictions(options: argparse.Namespace) -> None:
    """VERDICTS.md holds all claims and the quick profile's counts: nothing else is written or checked.

    Raises:
        UserError: --write or --check with another choice, or an unknown THEORY_PROFILE.
    """
    quick = examples(1000) == 1000
    for option in ("write", "check"):
        if getattr(options, option) and options.claim is not None:
            raise UserError(f"--{option} covers all claims: leave out --claim {options.claim}")
        if getattr(options, option) and not quick:
            raise UserError(f"--{option} needs the quick profile: leave out --thorough and THEORY_PROFILE")


def present(judgments: list[Judgment], options: argparse.Namespace) -> int:
    """Print, write or compare what the options ask for; the exit status."""
    if options.json:
        print(json.dumps([as_dict(judgment) for judgment in judgments], indent=1, ensure_ascii=False))
    elif options.claim is not None:
        print(story(judgments[0]))
    elif options.write:
        VERDICTS.write_text(markdown(judgments), encoding="utf-8")
        print(f"wrote {len(judgments)} verdicts to theory/{VERDICTS.name}")
    elif options.check:
        if not VERDICTS.exists() or VERDICTS.read_text(encoding="utf-8") != markdown(judgments):
            print(f"theory/{VERDICTS.name} is out of date: run `python -m theory --write`", file=sys.stderr)
            return 1
        print(f"theory/{VERDICTS.name} is current")
    else:
        print(table(judgments))
    return int(any(not outcome.passed for judgment in judgments for outcome in judgment.outcomes))


def parser() -> OneLineParser:
    """The command line."""
    roles = ", ".join(f"{role.name.lower()} ({role.value})" for role in Role)
    result = OneLineParser(
        prog="python -m theory",
        description="The verdict on every claim, from its evidence.",
        epilog=f"Roles of evidence: {roles}.",
    )
    output = result.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print verdicts and evidence as JSON")
    output.add_argument("--write", action="store_true", help="write theory/VERDICTS.md")
    output.add_argument("--check", action="store_true", help="exit with 1 unless theory/VERDICTS.md is current")
    result.add_argument("--claim", metavar="ID", help="one claim alone, with all its evidence")
    result.add_argument("--thorough", action="store_true", help="twenty times as many random examples")
    return result


if __name__ == "__main__":
    sys.exit(main())

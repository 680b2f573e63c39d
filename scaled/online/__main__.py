"""``python -m scaled.online --config FILE``: train a policy in rounds on pairs of its own responses."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inspo.command_line import OneLineParser, exit_code
from scaled.config import add_configuration
from scaled.errors import NonFiniteError, SaveError, report_error
from scaled.online.config import OnlineConfig, help_lines, load

WIDTHS = (5, 13, 10, 12, 7, 7)
NAMES = ("round", "win rate", "length", "KL", "records", "updates")
HEADER = "  ".join(f"{name:>{width}}" for name, width in zip(NAMES, WIDTHS, strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; a mistake of the user's is one line and exit code 2, a failed training one line and 1."""
    from scaled.workarounds import quiet_deprecations

    quiet_deprecations()
    parser = OneLineParser(
        prog="python -m scaled.online",
        description=str(OnlineConfig.__doc__).splitlines()[0],
        epilog="keys of the configuration:\n\n" + help_lines(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_configuration(parser, "scaled/configs/online/tiny.yaml", required=True)

    def command() -> int:
        options = parser.parse_args(arguments)
        try:
            _run(load(options.config, options.set))
        except (NonFiniteError, SaveError) as error:
            report_error(str(error))
            return 1
        return 0

    return exit_code(command)


def _run(config: OnlineConfig) -> None:
    from scaled.online.rounds import Round, loop

    rows = [HEADER]

    def show(done: Round) -> None:
        rows.append(_row(done.number, done.facts))
        _say(f"\n{HEADER}\n{rows[-1]}\n")

    last = loop(config, each=show)[-1]
    table = "\n".join(rows)
    _say(f"""
{table}

win rate over the first policy, length in tokens, KL to the first policy in nats, each ± standard error
model:   {last.model}
rounds:  {Path(config.out)}/round-N: draws, verdicts, records, train, answers, facts.json""")


def _row(number: int, facts: Mapping[str, Any]) -> str:
    found = facts["measured"] or {}
    cells = [
        f"{found[name]:.{digits}f} ± {found[f'{name}_se']:.{digits}f}" if name in found else "-"
        for name, digits in (("win_rate", 3), ("length", 1), ("kl", 2))
    ]
    cells += [str(facts["pairs"]["records"]), str(facts["updates"])] if number else ["-", "-"]
    return "  ".join(f"{cell:>{width}}" for cell, width in zip([str(number), *cells], WIDTHS, strict=True))


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # a command line prints


if __name__ == "__main__":
    sys.exit(main())

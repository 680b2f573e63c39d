"""``python -m scaled.data prepare | inspect``: what a run will be trained on, made ahead and shown, before it is."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from inspo.command_line import OneLineParser, UserError, count, exit_code
from scaled.config import add_configuration


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; a mistake of the user's is one line and exit code 2."""
    from scaled.workarounds import quiet_deprecations

    quiet_deprecations()
    return exit_code(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> str:
    options = _parser().parse_args(arguments)
    return COMMANDS[options.command](options)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="python -m scaled.data", description=__doc__, allow_abbrev=False)
    choices = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=OneLineParser)
    tiny = "scaled/configs/tiny.yaml"
    prepare = choices.add_parser("prepare", help="write the pairs in tokens that a run trains on to a folder")
    add_configuration(prepare, tiny)
    add = prepare.add_argument
    add("--out", metavar="FOLDER", type=Path, required=True, help="folder to make, or to go on with after a stop")
    add("--processes", type=count, default=os.cpu_count() or 1, metavar="N", help="that tokenize at a time [CPUs]")
    bad = "share of records that may be such as no training could take, where filters leaves these out [0.01]"
    add("--max-bad", type=_share, default=0.01, metavar="SHARE", help=bad)
    inspect = choices.add_parser("inspect", help="show pairs token by token as the model will see them")
    add_configuration(inspect, tiny)
    add = inspect.add_argument
    add("--first", type=count, default=1, metavar="N", help="the first pairs that would be trained on [1]")
    add("--record", action="append", default=[], metavar="NAME", help="this one instead; may be repeated")
    add("--tokens", action="store_true", help="one line a token, with depth, row and id")
    add("--html", type=Path, metavar="FILE", help="write them as a page instead, to be opened in a browser")
    return parser


def prepare(options: argparse.Namespace) -> str:
    """Write prepared data."""
    from scaled.config import load

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # there are processes for that
    from scaled.run.prepare_data import prepare_data

    config = load(options.config, options.set)
    return prepare_data(config, options.out, processes=options.processes, max_bad=options.max_bad)


def inspect(options: argparse.Namespace) -> str:
    """Show pairs."""
    from scaled.config import load
    from scaled.data.inspection import as_page, as_text
    from scaled.files import write_atomically
    from scaled.run.seen import seen

    found, decode = seen(load(options.config, options.set), options.first, options.record)
    if options.html is None:
        color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        return "\n\n".join(as_text(one, decode, each=options.tokens, color=color) for one in found)
    try:
        options.html.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.html, as_page(found, decode))
    except OSError as error:
        raise UserError(f"--html {options.html}: {error.strerror}; name another file") from None
    return f"{len(found)} pairs: {options.html}"


COMMANDS = {"prepare": prepare, "inspect": inspect}


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError("must be a number in [0, 1]")
    return share


if __name__ == "__main__":
    sys.exit(main())

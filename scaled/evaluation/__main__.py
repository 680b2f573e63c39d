"""``python -m scaled.evaluation COMMAND``: from a trained folder to scores beside the paper's."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules

from inspo.command_line import OneLineParser, exit_code
from scaled.evaluation import commands


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; a mistake of the user's is one line and exit code 2."""
    from scaled.workarounds import quiet_deprecations

    quiet_deprecations()
    parser = OneLineParser(prog="python -m scaled.evaluation", description=__doc__, allow_abbrev=False)
    choices = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=OneLineParser)
    run = {}
    for found in iter_modules(commands.__path__):
        module = import_module(f"{commands.__name__}.{found.name}")
        about = str(module.__doc__).strip()
        module.add_options(choices.add_parser(found.name, description=about, help=about.splitlines()[0]))
        run[found.name] = module.run

    def command() -> str:
        options = parser.parse_args(arguments)
        said: str = run[options.command](options)
        return said

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main())

"""``python toy/run.py``: train tiny policies on preference matrices and draw what they learn."""

import sys
from pathlib import Path

# Run by path, Python puts this file's folder first on sys.path; the packages live one level up.
sys.path[0] = str(Path(__file__).resolve().parent.parent)


def main() -> int:
    """Run the toy; a user's mistake is one line and exit code 2."""
    from inspo.command_line import exit_code
    from toy.config import parse
    from toy.report import run

    return exit_code(lambda: run(parse()), "stopped: earlier results are as they were; the same command goes on")


if __name__ == "__main__":
    sys.exit(main())

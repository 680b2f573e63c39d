"""How long the theory takes, in fresh processes: ``python benchmarks/theory_speed.py``.

``python -m theory`` judges every claim; ``pytest theory`` does so too, checks that the evidence is
independent, and tests the mutation tool. Prints a Markdown table: wall and CPU seconds, children
included; the least of the repeats, which a busy machine disturbs least.
"""

from __future__ import annotations

from functools import partial

from side_by_side import Spent, at_least, command_line, finish, markdown, run_python, take_turns

COMMANDS = {
    "python -m theory": ["-m", "theory"],
    "pytest theory": ["-m", "pytest", "theory", "-q", "-p", "no:cacheprovider"],
}


def measure(arguments: list[str]) -> Spent:
    """Seconds of one command."""
    return run_python(arguments, THEORY_PROFILE="quick")[0]


def main() -> None:
    """Let the commands take turns and print the table."""
    parser = command_line(__doc__)
    parser.add_argument("--repeats", type=at_least(1), default=2, help="runs of each command; the least time counts")
    spent = take_turns(
        {name: partial(measure, arguments) for name, arguments in COMMANDS.items()}, parser.parse_args().repeats
    )
    least = {name: map(min, zip(*runs, strict=True)) for name, runs in spent.items()}
    rows = [[f"`{name}`", *(f"{seconds:.1f}" for seconds in numbers)] for name, numbers in least.items()]
    print(markdown([["command", "wall s", "CPU s"], *rows]))


if __name__ == "__main__":
    finish(main)

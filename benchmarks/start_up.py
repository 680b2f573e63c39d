"""How long the trainer takes to start, in fresh processes: ``python benchmarks/start_up.py [--against FOLDER]``.

Importing its configuration, its help, and a training of the shipped data under the deepspeed launcher up to the
first update, on one thread, since two would wait for each other where other programs run. Wall and CPU seconds,
launcher included, medians over the repeats; with ``--against`` this checkout and another one take turns, and a
ratio is this one's share of the other's seconds. A turn that fills caches comes first and does not count.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from side_by_side import (
    BIN,
    ROOT,
    Spent,
    at_least,
    checkout,
    command_line,
    finish,
    markdown,
    medians,
    ratios,
    run_python,
    take_turns,
    watch,
)


def import_configuration(folder: Path) -> Spent:
    """What ``import scaled.config`` takes, Python's own start included."""
    return run_python(["-c", "import scaled.config"], folder)[0]


def show_help(folder: Path) -> Spent:
    """What ``scaled/train.py --help`` takes."""
    return run_python(["scaled/train.py", "--help"], folder)[0]


def first_update(folder: Path) -> Spent:
    """What a training takes from its start to the first line of its metrics.jsonl."""
    with socket.socket() as free:  # the launcher's usual port may be taken by another training
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "run"
        launcher = [str(BIN / "deepspeed"), "--num_gpus", "1", "--master_port", port, "scaled/train.py"]
        options = ["--config", "scaled/configs/tiny.yaml", "--set", f"out={out}", "--set", "threads=1"]
        return watch([*launcher, *options], out / "metrics.jsonl", 1, folder)[0]


MEASURES: dict[str, tuple[Callable[[Path], Spent], str]] = {
    "import scaled.config": (import_configuration, "< 2 s"),
    "scaled/train.py --help": (show_help, "< 2 s"),
    "first update of tiny.yaml": (first_update, "ratio <= 1"),
}
"""What is measured, how, and what is wanted of it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = command_line(__doc__)
    parser.add_argument("--against", metavar="FOLDER", type=checkout, help="another checkout to compare with")
    parser.add_argument("--repeats", type=at_least(1), default=3, help="turns that count")
    options = parser.parse_args(arguments)
    folders = [ROOT, *([options.against] if options.against else [])]
    other = ["the other's wall s", "CPU s", "ratio: wall", "CPU"] if options.against else []
    rows = [["what", "wanted", "wall s", "CPU s", *other]]
    for what, (measure, wanted) in MEASURES.items():
        spent = take_turns({folder: partial(measure, folder) for folder in folders}, options.repeats, warm_up=True)
        numbers = [number for each in spent.values() for number in medians(each)]
        if options.against:
            numbers += ratios(*spent.values())
        rows.append([f"`{what}`", wanted, *(f"{number:.2f}" for number in numbers)])
    print(markdown(rows))


if __name__ == "__main__":
    finish(main)

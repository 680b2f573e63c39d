"""How long the theory takes, in fresh processes: ``python benchmarks/theory_speed.py``.

``python -m theory`` judges every claim; ``pytest theory`` does so too, checks that the evidence is
independent, and tests the mutation tool. Prints a Markdown table: wall and CPU seconds, children
included; the least of the repeats, which a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = {
    "python -m theory": ["-m", "theory"],
    "pytest theory": ["-m", "pytest", "theory", "-q", "-p", "no:cacheprovider"],
}


def measure(arguments: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of one Python process and its children.

    Raises:
        subprocess.CalledProcessError: it failed, so its time means nothing.
    """
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        check=True,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT), "THEORY_PROFILE": "quick"},
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Run each command, one at a time, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2, help="runs of each command; the least time counts")
    repeats = parser.parse_args().repeats
    if repeats < 1:
        parser.error(f"--repeats {repeats} must be at least 1")
    print("| command | wall s | CPU s |\n|---|---|---|")
    for name, arguments in COMMANDS.items():
        runs = [measure(arguments) for _ in range(repeats)]
        wall, cpu = (min(column) for column in zip(*runs, strict=True))
        print(f"| `{name}` | {wall:.1f} | {cpu:.1f} |", flush=True)


if __name__ == "__main__":
    main()

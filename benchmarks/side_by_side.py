"""What the benchmarks share: commands in fresh processes, contenders in turns, ratios, tables, the command line.

Only seconds of one run are compared, turn by turn: other programs and a shared host change them by more than
a contender does, but neighbors in time alike.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

from inspo.command_line import OneLineParser, UserError, exit_code

ROOT = Path(__file__).resolve().parent.parent
JUDGED_PAIRS = ROOT.parent / "shared" / "data" / "judged_pairs" / "alpacaeval2_gpt4_turbo.jsonl.gz"
BIN = Path(sys.executable).parent
PATIENCE = 600.0
"""Seconds after which a process is ended that has not done what it is watched for."""
POLL = 0.005

Key = TypeVar("Key", bound=Hashable)
T = TypeVar("T")


class Spent(NamedTuple):
    """Seconds: by the clock, and of processors, child processes included."""

    wall: float
    cpu: float


# --- fresh processes


def environment(checkout: Path = ROOT, **variables: str) -> dict[str, str]:
    """An environment in which a checkout's packages and this Python's commands come first (deepspeed calls python3)."""
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(checkout)} | variables


def run_python(arguments: Sequence[str], checkout: Path = ROOT, **variables: str) -> tuple[Spent, str]:
    """Run Python to its end.

    Args:
        arguments: of Python.
        checkout: where it runs.
        variables: of its environment.

    Returns:
        What it took, and what it printed.

    Raises:
        UserError: it failed, or did not end.
    """
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=checkout,
            env=environment(checkout, **variables),
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except subprocess.CalledProcessError as error:
        raise UserError(f"python {' '.join(arguments)} failed in {checkout}:\n{error.stderr[-2000:]}") from error
    except subprocess.TimeoutExpired as error:
        raise UserError(f"python {' '.join(arguments)} did not end within {PATIENCE:.0f} s in {checkout}") from error
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Spent(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime), done.stdout


def watch(command: Sequence[str], journal: Path, count: int, checkout: Path = ROOT, **variables: str) -> list[Spent]:
    """Start a command, wait until a file has so many lines, and end it with all its processes.

    Args:
        command: a training, say.
        journal: the file, such as its metrics.jsonl.
        count: lines to wait for.
        checkout: where the command runs.
        variables: of its environment.

    Returns:
        For each line what had been spent when it was there.

    Raises:
        UserError: the command ended before that, or took longer than ``PATIENCE``.
    """
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=checkout,
            env=environment(checkout, **variables),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        spent: list[Spent] = []
        try:
            while len(spent) < count:
                ended = process.poll() is not None  # asked first, so that its last lines are seen
                lines = journal.read_bytes().count(b"\n") if journal.exists() else 0
                if lines > len(spent):
                    spent += [Spent(time.perf_counter() - start, _cpu_seconds(process.pid))] * (lines - len(spent))
                elif ended or time.perf_counter() - start > PATIENCE:
                    why = f"ended with {process.returncode}" if ended else f"was not there within {PATIENCE:.0f} s"
                    raise UserError(f"{' '.join(command)} in {checkout}: {why}:\n{_last(output)}")
                time.sleep(POLL)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # asked politely, a training would save first
            process.wait()
    return spent[:count]


def _cpu_seconds(pid: int) -> float:
    """Processor time of a process, its descendants, and those of them that have ended."""
    import psutil

    total = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += sum(each.cpu_times()[:4])  # user, system, and of children that have ended
    return total


def _last(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read().decode(errors="replace")[-2000:]


# --- turns and ratios


def take_turns(contenders: Mapping[Key, Callable[[], T]], repeats: int, *, warm_up: bool = False) -> dict[Key, list[T]]:
    """Measure A B C, A B C, ...

    Args:
        contenders: by name, what measures once.
        repeats: turns that count.
        warm_up: whether one more comes first and does not count.
    """
    measured: dict[Key, list[T]] = {key: [] for key in contenders}
    for turn in range(repeats + warm_up):
        for key, measure in contenders.items():
            result = measure()
            if turn >= warm_up:
                measured[key].append(result)
    return measured


def medians(spent: Sequence[Spent]) -> Spent:
    """The median of each kind of seconds."""
    return Spent(*map(statistics.median, zip(*spent, strict=True)))


def ratios(first: Sequence[Spent], second: Sequence[Spent]) -> Spent:
    """The medians of what the first took as a share of the second, turn by turn."""
    return medians([Spent(a.wall / b.wall, a.cpu / b.cpu) for a, b in zip(first, second, strict=True)])


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table, its first row the heads."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


# --- the command line


def command_line(doc: str | None) -> OneLineParser:
    """A parser that describes a benchmark by its docstring."""
    return OneLineParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)


def at_least(least: int) -> Callable[[str], int]:
    """The type of an option that is a whole number and not below `least`."""

    def number(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} must be a whole number, at least {least}")
        return int(text)

    return number


def checkout(text: str) -> Path:
    """The type of an option that names a folder with a checkout of this repository."""
    folder = Path(text).resolve()
    if not (folder / "scaled" / "train.py").is_file():
        raise argparse.ArgumentTypeError(f"{text} must be a checkout: there is no scaled/train.py in it")
    return folder


def finish(main: Callable[[], int | None]) -> None:
    """Run a benchmark's main and exit; a user's mistake is one line and exit code 2."""
    sys.exit(exit_code(main, "stopped"))

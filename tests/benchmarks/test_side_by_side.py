"""Turns, ratios and the command line; and that a watched process ends, whatever it does."""

import argparse
import sys
import time
from pathlib import Path

import psutil
import pytest
import side_by_side
from side_by_side import Spent

from inspo.command_line import UserError


def test_contenders_take_turns_and_the_warm_up_does_not_count():
    order = []

    def measure(name):
        order.append(name)
        return len(order)

    contenders = {"a": lambda: measure("a"), "b": lambda: measure("b")}
    assert side_by_side.take_turns(contenders, 2, warm_up=True) == {"a": [3, 5], "b": [4, 6]}
    assert order == ["a", "b"] * 3


def test_a_ratio_is_of_seconds_of_the_same_turn():
    """Turns (2, 4), (4, 16), (3, 3): ratios 1/2, 1/4 and 1, median 1/2; of CPU seconds 2, 1 and 1, median 1."""
    first = [Spent(2, 2), Spent(4, 1), Spent(3, 5)]
    second = [Spent(4, 1), Spent(16, 1), Spent(3, 5)]
    assert side_by_side.ratios(first, second) == Spent(0.5, 1)
    assert side_by_side.medians(second) == Spent(4, 1)


def test_markdown():
    assert side_by_side.markdown([["a", "b"], ["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"


def test_what_an_option_refuses(tmp_path):
    assert side_by_side.at_least(2)("2") == 2
    for text in ("1", "two", "-3"):
        with pytest.raises(argparse.ArgumentTypeError, match=rf"{text} must be a whole number, at least 2"):
            side_by_side.at_least(2)(text)
    assert side_by_side.checkout(str(side_by_side.ROOT)) == side_by_side.ROOT
    with pytest.raises(argparse.ArgumentTypeError, match=r"no scaled/train\.py in it"):
        side_by_side.checkout(str(tmp_path))


def test_a_mistake_is_one_line_and_exit_code_2(capsys):
    parser = side_by_side.command_line("Speed.")
    with pytest.raises(SystemExit) as stopped:
        side_by_side.finish(lambda: parser.parse_args(["--what"]))
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: unrecognized arguments: --what (--help lists the options)\n"


# A command with a child of its own, as the launcher has; both would run for a minute. What it spends first is more than
# the hundredth of a second that processors' time is counted in.
COMMAND = """
import pathlib, subprocess, sys, time
while time.process_time() < 0.1:
    pass
journal, lines, then = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
journal.with_suffix(".pid").write_text(str(child.pid))
journal.write_text("line\\n" * lines)
if then == "fail":
    sys.exit("out of luck")
time.sleep(60)
"""


def watch(journal: Path, lines: int, then: str) -> list[Spent]:
    return side_by_side.watch([sys.executable, "-c", COMMAND, str(journal), str(lines), then], journal, 2)


def assert_nothing_left(journal: Path) -> None:
    child = int(journal.with_suffix(".pid").read_text())
    deadline = time.monotonic() + 10
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the command's child still runs"
        time.sleep(0.01)


@pytest.mark.slow
def test_a_command_is_ended_once_its_lines_are_there(tmp_path):
    journal = tmp_path / "metrics.jsonl"
    first, second = watch(journal, 3, "wait")
    assert 0 < first.wall <= second.wall < 30
    assert 0.05 < first.cpu <= second.cpu
    assert_nothing_left(journal)


@pytest.mark.slow
def test_a_command_that_fails_is_shown(tmp_path):
    journal = tmp_path / "metrics.jsonl"
    with pytest.raises(UserError, match=r"(?s)ended with 1:.*out of luck"):
        watch(journal, 1, "fail")
    assert_nothing_left(journal)


@pytest.mark.slow
def test_a_command_that_does_not_go_on_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(side_by_side, "PATIENCE", 2.0)
    journal = tmp_path / "metrics.jsonl"
    with pytest.raises(UserError, match="was not there within 2 s"):
        watch(journal, 1, "wait")
    assert_nothing_left(journal)


@pytest.mark.slow
def test_python_runs_in_the_checkout_that_is_named(tmp_path):
    (tmp_path / "here.py").write_text("where = 'the other checkout'")
    spent, printed = side_by_side.run_python(["-c", "import here; print(here.where)"], tmp_path)
    assert printed == "the other checkout\n"
    assert min(spent) > 0
    with pytest.raises(UserError, match="No module named 'there'"):
        side_by_side.run_python(["-c", "import there"], tmp_path)

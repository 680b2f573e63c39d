"""``python -m scaled.reproduce --launch local`` that is stopped goes on, and ends as if it never was."""

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from inspo.command_line import UserError
from scaled.reproduce import launch
from scaled.reproduce.steps import Step


def until(holds, seconds=60.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def sleeper(place: Path, ending: str) -> Step:
    """A step that, told to stop, writes what it was told, and ends."""
    code = f"""
import pathlib, signal, sys, time
def told(number, frame):
    time.sleep(0.5)
    pathlib.Path({str(place)!r}).write_text(str(number))
    {ending}
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, told)
print("ready", flush=True)
time.sleep(60)
"""
    return Step("train", "sleeper", (sys.executable, "-c", code), lambda: False)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_passed_on_once_and_what_is_saved_is_waited_for(tmp_path, stop, capfd):
    if (child := os.fork()) == 0:
        try:
            launch.local([sleeper(tmp_path / "told", "sys.exit(0)")])
        except KeyboardInterrupt:
            os._exit(130)
        os._exit(1)
    shown = []
    until(lambda: "ready" in shown or shown.extend(capfd.readouterr().out.split()))
    os.kill(child, stop)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
    assert (tmp_path / "told").read_text() == str(int(stop))


def test_a_killed_command_leaves_no_step_behind(tmp_path, capfd):
    """Linux tells the step, which saves and ends."""
    if (child := os.fork()) == 0:
        launch.local([sleeper(tmp_path / "told", "sys.exit(0)")])
        os._exit(1)
    shown = []
    until(lambda: "ready" in shown or shown.extend(capfd.readouterr().out.split()))
    (step,) = psutil.Process(child).children()
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    until(lambda: not step.is_running() or step.status() == psutil.STATUS_ZOMBIE)
    assert (tmp_path / "told").read_text() == str(int(signal.SIGTERM))


def test_a_training_that_was_stopped_alone_does_not_pass_for_done(tmp_path):
    with pytest.raises(UserError, match="sleeper: was stopped; the same command goes on from here"):
        launch.local([Step("train", "sleeper", (sys.executable, "-c", "pass"), (tmp_path / "none").is_file)])

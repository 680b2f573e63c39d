"""``python -m scaled.reproduce --launch local`` that is stopped goes on, and ends as if it never was."""

import contextlib
import os
import re
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from inspo.command_line import UserError
from paper_figures import measured
from scaled.reproduce import launch, tiny
from scaled.reproduce.__main__ import main
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


# A cell of Table 4, tiny: as it is, and stopped in every step that takes a while

ROW = "llama-3-8b/averaged-dpo"
DISTURBED = {
    "first/checkpoint-2": signal.SIGKILL,
    "averaged-dpo/checkpoint-2": signal.SIGTERM,
    "averaged-dpo/eval/answers/pairwise.details.jsonl": signal.SIGINT,
    "averaged-dpo/eval/judgments/pairwise--repeats-the-request.jsonl": signal.SIGKILL,
}
"""How it is stopped once there is a file of a step: in both trainings, generating, judging."""


@pytest.fixture(scope="module")
def arguments():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tiny, "FIRST", ("max_updates=8", "save_every=2", "threads=1"))
        patched.setattr(tiny, "SETTINGS", (*tiny.SETTINGS, "max_updates=4", "save_every=1", "threads=1"))
        yield ["--table", "4", "--scale", "tiny", "--only", ROW, "--out"]


@pytest.fixture(scope="module")
def whole(arguments, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    assert main([*arguments, str(out), "--launch", "local"]) == 0
    return out


def launched(arguments: list[str], out: Path) -> psutil.Process:
    """The command in a process of its own, which writes to the log beside the folder."""
    if child := os.fork():
        return psutil.Process(child)
    with out.with_suffix(".log").open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        code = 130
        with contextlib.suppress(KeyboardInterrupt):
            code = main([*arguments, str(out), "--launch", "local"])
    os._exit(code)


@pytest.mark.slow
def test_a_tiny_cell_end_to_end_and_nothing_twice(arguments, whole, capfd):
    text = (whole / "table_4_tiny.md").read_text()
    assert re.search(r"\| llama-3-8b \| averaged-dpo \| \d+\.\d ±\d+\.\d \| \d\d \|", text)
    assert text.count("*not run*") == 7
    assert "TINY" in text.splitlines()[0]
    assert measured.load(whole) == {}, "paper_figures finds nothing of the paper's here"
    capfd.readouterr()
    assert main([*arguments, str(whole)]) == 0
    assert "Table 4, TINY: 1 cells, 6 steps, 6 of them done" in capfd.readouterr().out
    assert main([*arguments, str(whole), "--launch", "local"]) == 0
    assert "python" not in capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif("SOAK" not in os.environ, reason="minutes more: make soak")
def test_stopped_in_every_step_it_ends_with_the_same_table(arguments, whole, tmp_path):
    out = tmp_path / "stopped"
    log, models = out.with_suffix(".log"), out / "tiny-for-llama-3-8b"
    for file, how in DISTURBED.items():
        command = launched(arguments, out)
        until((models / file).exists, 120)
        everyone = command.children(recursive=True)
        command.send_signal(how)
        code = os.waitstatus_to_exitcode(os.waitpid(command.pid, 0)[1])
        assert code == (-how if how == signal.SIGKILL else 130), log.read_text()[-3000:]
        psutil.wait_procs(everyone, timeout=60)
    command = launched(arguments, out)
    assert os.waitstatus_to_exitcode(os.waitpid(command.pid, 0)[1]) == 0, log.read_text()[-3000:]
    assert (out / "table_4_tiny.md").read_bytes() == (whole / "table_4_tiny.md").read_bytes()
    model = Path("tiny-for-llama-3-8b") / "averaged-dpo" / "model" / "model.safetensors"
    ours, theirs = load_file(out / model), load_file(whole / model)
    assert all(ours[name].equal(theirs[name]) for name in theirs)

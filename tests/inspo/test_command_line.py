"""How commands end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inspo.command_line import UserError, exit_code

ROOT = Path(__file__).resolve().parents[2]


def raises(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("command", "code", "said", "complained"),
    [
        (lambda: "done", 0, "done\n", ""),
        (lambda: None, 0, "", ""),
        (lambda: 1, 1, "", ""),
        (raises(UserError("no such file")), 2, "", "error: no such file\n"),
        (raises(KeyboardInterrupt()), 130, "", "\nstopped: the same command goes on\n"),
        (raises(KeyboardInterrupt("stopped after 3")), 130, "", "\nstopped after 3\n"),
    ],
)
def test_commands_end_alike(command, code, said, complained, capsys):
    assert exit_code(command) == code
    assert capsys.readouterr() == (said, complained)


def test_a_pipe_of_its_own_that_breaks_is_a_mistake_of_the_program():
    with pytest.raises(BrokenPipeError):
        exit_code(raises(BrokenPipeError()))


@pytest.mark.parametrize(
    "command",
    ["exit_code(lambda: 'a line\\n' * 100_000)", "exit_code(lambda: [print(each) for each in range(100_000)][0])"],
)
def test_where_nobody_reads_on_it_ends_in_silence(command):
    """As in `python -m theory | head`: neither a traceback nor Python's complaint as it exits."""
    script = f"import sys\nfrom inspo.command_line import exit_code\nsys.exit({command})"
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=usual
    ) as process:
        os.close(writing)
        os.read(reading, 10)
        os.close(reading)
        _, complained = process.communicate(timeout=60)
    assert (process.returncode, complained) == (141, "")

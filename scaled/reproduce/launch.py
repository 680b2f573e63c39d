"""Taking a table's steps: here, one after another, or as jobs of Slurm that wait for each other."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from inspo.command_line import UserError
from scaled.evaluation.folder import file_name
from scaled.evaluation.folder import write as write_file
from scaled.reproduce.steps import Step


def local(steps: Sequence[Step]) -> None:
    """Take every step that is not done, one after another.

    Raises:
        UserError: one failed or was stopped. What it and those before it left behind is kept, and the same command goes
            on with it.
        KeyboardInterrupt: this was told to stop; the step at hand was too, and has ended.
    """
    for number, step in enumerate(steps, start=1):
        if step.done():
            continue
        print(f"\n[{number}/{len(steps)}] {step.name}\n{shlex.join(step.command)}", flush=True)  # noqa: T201  # what is run
        code = _take(step.command)
        if code:
            raise UserError(f"{step.name}: ended with {code}; the same command goes on from here")
        if step.kind == "train" and not step.done():  # told to stop, it saves and ends well
            raise UserError(f"{step.name}: was stopped; the same command goes on from here")


def _take(command: Sequence[str]) -> int:
    """Exit code of a command. A stop is passed on, and what the command then saves is waited for.

    Raises:
        KeyboardInterrupt: there was a stop.
    """
    process: subprocess.Popen[bytes] | None = None
    told: list[int] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        told.append(number)
        if process is not None:
            process.send_signal(number)

    wanted = [each for each in STOPS if signal.getsignal(each) != signal.SIG_IGN]  # as nohup leaves SIGHUP
    before = {each: signal.signal(each, pass_on) for each in wanted}
    try:
        # In a group of its own, so that a terminal's interrupt comes once, from here.
        process = subprocess.Popen(command, env=environment(), process_group=0, preexec_fn=_end_with_parent)  # noqa: S603, PLW1509  # ours; there are no threads
        if told:
            process.send_signal(told[0])
        code = process.wait()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    if told:
        raise KeyboardInterrupt
    return code


STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _end_with_parent() -> None:
    """Have Linux tell this process to stop when its parent is killed, so that no step goes on unseen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def environment() -> Mapping[str, str]:
    """This one, with this Python and what is installed beside it first on the path; the deepspeed launcher calls it."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def slurm(steps: Sequence[Step], folder: Path) -> str:
    """Write a job for every step that is not done, and a script that submits them; run it where there is sbatch.

    Args:
        steps: in order.
        folder: for the jobs and their output.

    Raises:
        UserError: a file cannot be written, or sbatch refuses a job.
    """
    wanted = [step for step in steps if not step.done()]
    known = {step.name: f"job_{number}" for number, step in enumerate(wanted)}
    lines = ["#!/bin/bash", "# Submits the jobs of this folder, each after those that it needs.", "set -e"]
    for number, step in enumerate(wanted):
        job = folder / f"{number:03d}-{file_name(step.name)}.sh"
        write_file(job, _job(step, folder))
        after = [f"${{{known[name]}}}" for name in step.after if name in known]
        waits = [f"--dependency=afterok:{':'.join(after)}", "--kill-on-invalid-dep=yes"] if after else []
        lines.append(f"{known[step.name]}=$(sbatch --parsable {' '.join([*waits, shlex.quote(str(job))])})")
    script = folder / "submit.sh"
    write_file(script, "\n".join([*lines, f"echo submitted {len(wanted)} jobs", ""]))
    if shutil.which("sbatch") is None:
        return f"{len(wanted)} jobs, not submitted since there is no sbatch here: bash {script}"
    ended = subprocess.run(["bash", str(script)], check=False, capture_output=True, text=True)  # noqa: S603, S607  # ours
    if ended.returncode:
        raise UserError(f"{script}: {(ended.stderr.strip() or 'failed').splitlines()[-1]}")
    return ended.stdout.strip()


def _job(step: Step, folder: Path) -> str:
    """A job of one node; account, partition and time limit are left to SBATCH_ACCOUNT and the like."""
    options = [f"--job-name={file_name(step.name)}", f"--output={folder / '%x-%j.out'}", "--nodes=1"]
    if step.gpus:
        options.append(f"--gpus-per-node={step.gpus}")
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {option}" for option in options),
        "set -e",
        f"cd {shlex.quote(str(Path.cwd()))}",
        f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH",
        f"exec {shlex.join(step.command)}",
    ]
    return "\n".join(lines) + "\n"

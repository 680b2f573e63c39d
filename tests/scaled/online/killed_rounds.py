"""Rounds in children of a process in which nothing else runs: a fork of one with threads can stand still.

``python killed_rounds.py PLAN``, with {"values": VALUES, "unbroken": FOLDER, "killed": {FOLDER: SEED}} in JSON: rounds
into the one folder to their end, and into each other one killed at three seeded moments, and then to the end. A moment
is a file that is opened, renamed or removed in the folder. Prints the children's exit codes, the unbroken one's first.
"""

import json
import os
import random
import signal
import sys
import tempfile
from pathlib import Path

from scaled.online.config import OnlineConfig
from scaled.online.rounds import loop

KILLS = 3


def rounds(values: dict, out: str, last: int | None, counted: Path) -> int:
    """Exit code of a child that makes what is missing, and is killed at its so-manieth moment."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # its bars
        seen = 0

        def note(event: str, arguments: tuple) -> None:
            nonlocal seen
            if event in ("open", "os.rename", "os.remove") and str(arguments[0]).startswith(out):
                seen += 1
                if seen == last:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(note)
        loop(OnlineConfig(**(values | {"out": out})))
        counted.write_text(str(seen))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    plan = json.loads(sys.argv[1])
    counted = Path(tempfile.mkdtemp()) / "counted"
    codes = [rounds(plan["values"], plan["unbroken"], None, counted)]
    moments = int(counted.read_text())
    for out, seed in plan["killed"].items():
        chance = random.Random(seed)  # noqa: S311
        # Each child begins where the one before was killed, so all together may come to the end.
        codes += [rounds(plan["values"], out, chance.randrange(1, moments // 2), counted) for _ in range(KILLS)]
        codes.append(rounds(plan["values"], out, None, counted))
    sys.stdout.write(json.dumps(codes))

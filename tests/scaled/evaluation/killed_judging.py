"""Judging in children of a process in which nothing else runs: a fork of one with threads can stand still.

``python killed_judging.py ENDPOINT PLAN``, with {FILE: [SIZE, ...]} in JSON: judges into each file, killed once it has
each size in turn, and at last to the end. Prints the children's exit codes.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from scaled.evaluation.benchmarks.base import JudgeRequest
from scaled.evaluation.judging.client import ask
from scaled.evaluation.judging.endpoint import Judge
from scaled.evaluation.judging.store import Store

REQUESTS = [
    JudgeRequest(str(number), "ours", part, ({"role": "user", "content": f"question {number} " + "x" * number},))
    for number in range(40)
    for part in ("game 1", "game 2")
]


def judge(path: Path, endpoint: str) -> None:
    """Everything that is not judged yet."""
    with Store(path) as store:
        ask(REQUESTS, store, Judge("j", endpoint, "none", in_flight=8), date=lambda: "2026-11-26T12:00:00+00:00")


def judged(path: Path, endpoint: str, size: float) -> int:
    """Exit code of a child that judges, and is killed once the file has this size."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # its bar
        judge(path, endpoint)
        os._exit(0)
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if path.exists() and path.stat().st_size >= size:
            os.kill(child, signal.SIGKILL)
            ended = os.waitpid(child, 0)
            break
        time.sleep(0.001)
    return os.waitstatus_to_exitcode(ended[1])


if __name__ == "__main__":
    import openai.resources.chat.completions  # noqa: F401  # once, not in every child

    found = []
    for file, sizes in json.loads(sys.argv[2]).items():
        found += [judged(Path(file), sys.argv[1], size) for size in (*sizes, float("inf"))]
    sys.stdout.write(json.dumps(found))

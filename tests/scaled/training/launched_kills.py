"""What one launch of tests runs on its ranks: trainings that are killed or disturbed, then started again.

    deepspeed tests/scaled/training/launched_kills.py CASES.json

The imports are done once; each rank of each training is a fork. CASES.json is
``{"config": {...}, "root": folder, "ports": [...], "cases": [{"name", "at", "when", "rank"}]}``: in case
`name` the first process of rank `rank` (0 if left out) is disturbed at the `when`-th call of the point
`at`, and a second one goes on undisturbed. Each training has a port of its own, two for each case, so that
ranks that come early wait for the others instead of meeting what is left of the last training.
"""

import contextlib
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[3])

import deepspeed  # noqa: E402, F401  # imported once, before the forks

from scaled.config import TrainConfig  # noqa: E402
from scaled.run.run import run  # noqa: E402
from scaled.training import checkpoints, loop, state  # noqa: E402
from scaled.training.journal import Journal  # noqa: E402


def kill(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def terminate(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def before(owner: object, name: str, when: int, action: Callable[..., None]) -> None:
    """Run `action` before the `when`-th call of a function or method."""
    method = getattr(owner, name)
    calls = 0

    def replaced(*arguments: object, **keywords: object) -> object:
        nonlocal calls
        calls += 1
        if calls == when:
            action(*arguments)
        return method(*arguments, **keywords)

    setattr(owner, name, replaced)


def half_a_line(journal: Journal, *_: object) -> None:
    file = journal._file  # noqa: SLF001  # the line must be cut within
    file.write('{"update": 3, "ki')
    file.flush()
    kill()


def poison(training: loop.Training, *_: object) -> None:
    training.model.get_output_embeddings().weight.data.fill_(float("nan"))


def fill_disk(*_: object) -> None:
    """Files cannot grow beyond 1 MB from now on, as on a disk that is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))


POINTS = {
    "micro-step": lambda when: before(loop, "check_losses", when, kill),
    "weights saved": lambda when: before(state, "save_optimizer", when, kill),
    "optimizer saved": lambda when: before(state, "save_random_state", when, kill),
    "manifest": lambda when: before(checkpoints, "complete", when, kill),
    "pruning": lambda when: before(checkpoints, "discard", when, kill),
    "journal": lambda when: before(Journal, "write", when, half_a_line),
    "SIGTERM": lambda when: before(loop, "check_losses", when, terminate),
    "not a number": lambda when: before(loop, "score", when, poison),
    "not a number in validation": lambda when: before(loop, "score_validation", when, poison),
    "full disk": lambda when: before(state, "save", when, fill_disk),
    "nothing": lambda _: None,
}


def forked(values: dict, log: Path, port: int, at: str = "nothing", when: int = 0) -> int:
    """Train in a process of its own; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    os.environ["MASTER_PORT"] = str(port)
    with log.open("a") as file, contextlib.suppress(BaseException):
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            POINTS[at](when)
            print(run(TrainConfig(**values)), flush=True)  # noqa: T201  # the test reads the log
            code = 0
        except BaseException:  # noqa: BLE001  # the test reads the log
            traceback.print_exc()
    os._exit(code)


def damage(out: Path, how: str) -> None:
    """Cut off or corrupt the last checkpoint."""
    last = checkpoints.existing(out)[0]
    file = next(last.glob("zero/*optim_states.pt"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content[:-100] if how == "cut" else content)


if __name__ == "__main__":
    plan = json.loads(Path(sys.argv[-1]).read_text())
    root, rank = Path(plan["root"]), int(os.environ["RANK"])
    ports = iter(plan["ports"])
    codes = {}
    for case in plan["cases"]:
        out = root / case["name"]
        values = plan["config"] | case.get("set", {}) | {"out": str(out)}
        log = root / f"{case['name']}{f'-{rank}' if rank else ''}.log"
        at = case["at"] if case.get("rank", 0) == rank else "nothing"
        first = forked(values, log, next(ports), at, case["when"])
        left = [folder.name for folder in checkpoints.existing(out) if checkpoints.problem(folder) is None]
        if "damage" in case:
            damage(out, case["damage"])
        port = next(ports)
        second = forked(values, log, port) if case["at"] != "nothing" else None
        codes[case["name"]] = {"first": first, "second": second, "left": left}
    (root / f"codes-{rank}.json").write_text(json.dumps(codes))

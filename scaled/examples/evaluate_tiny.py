"""Generate, judge, score and show on a dozen shipped questions: ``python scaled/examples/evaluate_tiny.py MODEL``.

The judge is the one of judge_server.py, which goes by a rule and says nothing of quality; it is started here, on this
machine, and ended here. A second run repeats nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scaled.evaluation.__main__ import main as evaluate

HERE = Path(__file__).resolve().parent
JUDGE = "repeats-the-request"
PORT = 8431


@contextmanager
def judge(port: int) -> Iterator[str]:
    """Its base URL, while a block runs: always the same, since another endpoint is another judge."""
    command = [sys.executable, str(HERE / "judge_server.py"), str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603  # ours
        try:
            yield server.stdout.readline().strip() if server.stdout else ""
        finally:
            server.terminate()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the four commands; the first that fails ends it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help="a run's folder, such as results/train-tiny, or a model's")
    parser.add_argument("--out", default="results/eval/tiny/plain", metavar="FOLDER", help="[%(default)s]")
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help="of the judge [%(default)s]")
    options = parser.parse_args(arguments)
    files = ["--benchmark", "pairwise", "--copy", str(HERE / "evaluation")]
    answers = ["--answers", options.out]
    with judge(options.port) as endpoint:
        if not endpoint:
            sys.stderr.write(f"error: port {options.port} is taken: name another with --port\n")
            return 2
        commands = [
            ["generate", *files, "--model", options.model, "--out", options.out, "--name", "tiny", "--device", "cpu"],
            ["judge", *files, *answers, "--judge", JUDGE, "--endpoint", endpoint],
            ["score", *files, *answers, "--judge", JUDGE, "--endpoint", endpoint],
            ["page", *files, *answers],
        ]
        for command in commands:
            print(f"\npython -m scaled.evaluation {' '.join(command)}", flush=True)
            if status := evaluate(command):
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main())

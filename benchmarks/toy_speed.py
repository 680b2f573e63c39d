"""How fast the toy is, as ratios measured side by side: ``python benchmarks/toy_speed.py``.

1. 10 000 K = 5 policies x 1000 steps in one batch, against a loop over problems. The loop's cost per
   problem is the mean over a few problems, interleaved with the batch, and multiplied up.
2. ``import inspo`` beyond importing torch, in fresh processes.
3. ``python toy/run.py --quick`` and the full run, imports included: wall and CPU seconds, and the
   largest process' memory.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
import time

import numpy as np
from side_by_side import at_least, command_line, finish, run_python

from inspo.conditioning import Conditioning
from inspo.preference_loss import PreferenceLoss
from inspo.preferences import random_preferences
from toy.estimates import Floats
from toy.training import Schedule, pair_distribution, train


def seconds_to_train(P: Floats, steps: int) -> float:
    """Seconds that one call of train takes for the problems P (N, K, K)."""
    mu = np.full(P.shape[:2], 1 / P.shape[-1])
    loss = PreferenceLoss("dpo", Conditioning.SYMMETRIC, {"beta": 0.1})
    data = pair_distribution(P, mu)
    start = time.perf_counter()
    train(loss, "additive", data, P, mu, Schedule(steps, 0.02))
    return time.perf_counter() - start


def batch_against_loop(problems: int, steps: int, looped: int) -> None:
    """One batch of all problems against one call per problem."""
    rng = np.random.default_rng(0)
    P = np.stack([random_preferences(5, rng) for _ in range(problems)])
    seconds_to_train(P[:2], 10)  # warm-up
    before = [seconds_to_train(P[i : i + 1], steps) for i in range(looped)]
    batch = seconds_to_train(P, steps)
    after = [seconds_to_train(P[i : i + 1], steps) for i in range(looped)]
    alone = statistics.mean(before + after)
    print(f"one batch of {problems} problems x {steps} steps: {batch:.1f} s")
    print(f"one problem alone: {alone:.3f} s (mean of {2 * looped}), so the loop takes {alone * problems:.0f} s")
    print(f"ratio: {alone * problems / batch:.0f} (wanted: at least 100)")


def import_time(repeats: int) -> None:
    """Seconds that ``import inspo`` adds to ``import torch``."""
    code = "import torch, time; start = time.perf_counter(); import inspo; print(time.perf_counter() - start)"
    runs = [float(run_python(["-c", code])[1]) for _ in range(repeats)]
    print(f"import inspo after torch: {statistics.median(runs):.3f} s, median of {repeats} (wanted: at most 0.1)")


def whole_run(options: list[str], wanted: int) -> None:
    """Wall and CPU seconds and memory of the toy's run in fresh processes."""
    with tempfile.TemporaryDirectory() as out:
        (wall, cpu), _ = run_python(["toy/run.py", *options, "--out", out])
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    name = " ".join(["toy/run.py", *options])
    print(f"{name}: {wall:.1f} s on 2 processes, {cpu:.1f} s of CPU (wanted: at most {wanted} s on 2 cores)")
    print(f"{name}: largest process {memory:.2f} GiB (wanted: 2 GB together)")


def main() -> None:
    """Measure one after the other, and print."""
    parser = command_line(__doc__)
    parser.add_argument("--problems", type=at_least(2), default=10_000)
    parser.add_argument("--steps", type=at_least(1), default=1000)
    parser.add_argument(
        "--looped", type=at_least(1), default=3, help="problems trained alone before and after the batch"
    )
    options = parser.parse_args()
    batch_against_loop(options.problems, options.steps, options.looped)
    import_time(5)
    whole_run(["--quick"], 20)
    whole_run([], 180)


if __name__ == "__main__":
    finish(main)

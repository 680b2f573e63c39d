"""How long ranks wait for the fullest one: ``python benchmarks/balance.py --config FILE [--set key=value]``.

A simulation on the exact tokens of a run's data: for world sizes and batch sizes, the share of time that ranks idle if
a row takes as long as it has tokens and all wait for the fullest, at every micro-step (as ZeRO-3 does, which gathers
weights there) and at the update alone. Beside it what no plan goes below: a rank takes no less than the longest pair.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from side_by_side import at_least, command_line, markdown

from inspo.command_line import UserError
from scaled.config import load
from scaled.data.plan import epoch_stream, make_plan
from scaled.run.prepare import prepare_run


def idle(
    lengths: Sequence[int], world_size: int, batch_size: int, row_tokens: int, updates: int
) -> tuple[float, float, float]:
    """Shares of time: idle where every micro-step waits, idle where the update alone does, and the least possible."""
    plan = make_plan(
        lengths,
        epoch_stream(len(lengths), 1, 0),
        world_size=world_size,
        batch_size=batch_size,
        row_tokens=row_tokens,
        max_updates=updates,
    )
    steps, whole, least = [], [], []
    for update in plan.updates:
        rows = np.array([sum(lengths[pair] for pair in slot.pairs) for slot in update]).reshape(-1, world_size)
        longest = max(lengths[pair] for slot in update for pair in slot.pairs)
        mean = rows.sum() / world_size
        steps.append(1 - mean / rows.max(1).sum())
        whole.append(1 - mean / rows.sum(0).max())
        least.append(1 - mean / max(mean, longest))
    return float(np.mean(steps)), float(np.mean(whole)), float(np.mean(least))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; a mistake of the user's is one line and exit code 2."""
    parser = command_line(__doc__)
    parser.add_argument("--config", metavar="FILE", required=True, help="of the training run")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="override a key of it")
    parser.add_argument("--world-sizes", type=at_least(1), nargs="+", default=[4, 8, 64], metavar="N")
    parser.add_argument("--batch-sizes", type=at_least(1), nargs="+", default=[128, 256, 512], metavar="N")
    parser.add_argument("--updates", type=at_least(1), default=20, metavar="N", help="of each plan, at most [20]")
    options = parser.parse_args(arguments)
    try:
        config = load(options.config, [*options.set, "batch_size=1", "micro_batch=1"])
        lengths = prepare_run(config).train.lengths
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    row_tokens = config.row_tokens or max(lengths)
    rows = [["ranks", "batch", "idle, each micro-step waits", "idle, the update waits", "least possible"]]
    for world_size in options.world_sizes:
        for batch_size in options.batch_sizes:
            try:
                shares = idle(lengths, world_size, batch_size, row_tokens, options.updates)
            except ValueError as error:
                rows.append([str(world_size), str(batch_size), str(error), "", ""])
            else:
                rows.append([str(world_size), str(batch_size), *(f"{100 * share:.1f} %" for share in shares)])
    print(f"{len(lengths)} pairs, {np.mean(lengths):.0f} tokens a tree, {max(lengths)} at most; rows of {row_tokens}\n")
    print(markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

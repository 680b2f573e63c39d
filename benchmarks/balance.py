"""How long ranks wait for the fullest one: ``python benchmarks/balance.py --config FILE [--set key=value]``.

A simulation on the exact tokens of a run's data, in the run's order, with pairs of one prompt in one tree as there: for
world sizes and batch sizes, the share of time that ranks idle if a row takes as long as it has tokens and all wait for
the fullest, at every micro-step (as ZeRO-3 does, which gathers weights there) and at the update alone. Beside it what
no plan goes below, as a rank takes no less than the longest pair; and the tokens, as a share of a tree for each pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from side_by_side import at_least, command_line, finish, markdown

from scaled.config import add_configuration, load
from scaled.data.plan import Plan, make_plan
from scaled.run.prepare import make_stream, prepare_run


class Shares(NamedTuple):
    """Means over updates.

    Attributes:
        steps: of the time, idle where every micro-step waits.
        whole: of the time, idle where the update alone does.
        least: of the time, idle whatever the plan.
        tokens: of those of a tree for each pair.
    """

    steps: float
    whole: float
    least: float
    tokens: float


def idle(plan: Plan, lengths: Sequence[int], size: Callable[[Sequence[int]], int]) -> Shares:
    """What a plan costs.

    Args:
        plan: of a run.
        lengths: tokens of each pair's own tree.
        size: pairs of a row -> its tokens.
    """
    found = []
    for update in plan.updates:
        rows = np.array([size(slot.pairs) for slot in update]).reshape(-1, plan.world_size)
        alone = [lengths[pair] for slot in update for pair in slot.pairs]
        mean = rows.sum() / plan.world_size
        steps, whole, least = rows.max(1).sum(), rows.sum(0).max(), max(mean, *alone)
        found.append((1 - mean / steps, 1 - mean / whole, 1 - mean / least, rows.sum() / sum(alone)))
    return Shares(*map(float, np.mean(found, axis=0)))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = command_line(__doc__)
    add_configuration(parser, "scaled/configs/tiny.yaml", required=True)
    parser.add_argument("--world-sizes", type=at_least(1), nargs="+", default=[4, 8, 64], metavar="N")
    parser.add_argument("--batch-sizes", type=at_least(1), nargs="+", default=[128, 256, 512], metavar="N")
    parser.add_argument("--updates", type=at_least(1), default=20, metavar="N", help="of each plan, at most [20]")
    options = parser.parse_args(arguments)
    config = load(options.config, [*options.set, "batch_size=1", "micro_batch=1"])
    pairs = prepare_run(config).train
    lengths, stream = pairs.lengths, make_stream(config, pairs)
    row_tokens = config.row_tokens or max(lengths)
    rows = [["ranks", "batch", "idle, each micro-step waits", "idle, the update waits", "least possible", "tokens"]]
    for world_size in options.world_sizes:
        for batch_size in options.batch_sizes:
            try:
                plan = make_plan(
                    lengths,
                    stream,
                    pairs.shared(pairs.layout.policy),
                    world_size=world_size,
                    batch_size=batch_size,
                    row_tokens=row_tokens,
                    max_updates=options.updates,
                )
            except ValueError as error:
                rows.append([str(world_size), str(batch_size), str(error), "", "", ""])
            else:
                shares = idle(plan, lengths, pairs.row_length)
                rows.append([str(world_size), str(batch_size), *(f"{100 * share:.1f} %" for share in shares)])
    print(f"{len(lengths)} pairs, {np.mean(lengths):.0f} tokens a tree, {max(lengths)} at most; rows of {row_tokens}\n")
    print(markdown(rows))
    return 0


if __name__ == "__main__":
    finish(main)

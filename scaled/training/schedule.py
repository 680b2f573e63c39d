"""The learning rate of every update, and after which updates there is a validation or a checkpoint."""

from __future__ import annotations

import math

from scaled.config import OptimizerOptions, OutputOptions
from scaled.data.plan import Plan


def learning_rate(options: OptimizerOptions, update: int, updates: int) -> float:
    """Linear warmup from ``warmup_start`` to the peak, then the schedule to ``final_lr_ratio`` of the peak.

    Appendix D.1 has the cosine. A constant schedule stays at the peak.

    Args:
        options: gives the schedule.
        update: from 1.
        updates: of the whole run.
    """
    done, warmup = update - 1, round(options.warmup_ratio * updates)
    if done < warmup:
        return options.warmup_start + (options.learning_rate - options.warmup_start) * done / warmup
    if options.schedule == "constant":
        return options.learning_rate
    progress = min(1.0, (done - warmup) / max(1, updates - warmup))
    falling = 1 - progress if options.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return options.learning_rate * (options.final_lr_ratio + (1 - options.final_lr_ratio) * falling)


def due(options: OutputOptions, plan: Plan, update: int, *, validates: bool) -> tuple[bool, bool]:
    """Whether to validate, and whether to save a checkpoint, after an update.

    Args:
        options: gives the intervals.
        plan: gives the updates of an epoch, and the last one.
        update: from 1.
        validates: whether there are validation pairs.
    """
    every = options.validate_every or plan.updates_per_epoch
    last = update == len(plan.updates)
    validate = validates and (update % every == 0 or last)
    return validate, validate or last or update % (options.save_every or every) == 0

"""A policy on prompts that are not trained on: its win rate over the first policy, its length, its KL."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scaled.evaluation.scoring.numbers import mean_and_error
from scaled.generation.interface import Settings
from scaled.online.judges import verdicts
from scaled.online.prepare import Loop
from scaled.online.sampling import Actor, Drawn, draw, response_logps


def measure(ready: Loop, source: str, folder: Path) -> dict[str, float] | None:
    """A policy on the prompts that are not trained on, at temperature 1.

    Args:
        ready: what all rounds share.
        source: the policy's folder or hub name.
        folder: for its answers.

    Returns:
        Means, each with its standard error as ``NAME_se``: ``win_rate`` over independent answers of the first policy,
        ``length`` in tokens, ``kl`` to the first policy in nats per answer (of answers that are cut off, up to there).
        None where nothing is held out.
    """
    if not ready.held_out:
        return None
    actor = ready.actor(source)
    first = actor if source == ready.first.source else ready.actor(ready.first.source)
    settings = Settings(max_tokens=ready.config.max_tokens)

    def answers(who: Actor, what: str, path: Path) -> list[Drawn]:
        keys = [f"{ready.config.seed}/{what}/{place}" for place in range(len(ready.held_out))]
        asked = [who.asked(key, turns, settings) for key, turns in zip(keys, ready.held_out, strict=True)]
        return draw(who, asked, 1, path)

    theirs = answers(first, "first", ready.folder(0) / "first.jsonl")
    ours = answers(actor, "answer", folder / "answers.jsonl")
    both = []
    for one, other in zip(ours, theirs, strict=True):
        texts = (*one.texts, *other.texts)
        both.append(Drawn(one.asked, (*one.found, *other.found), texts, ((0, 1),) if texts[0] != texts[1] else ()))
    judged = verdicts(ready.measured_by, actor, both, folder / "answers.verdicts.jsonl")
    wins = [each[0] if each else 0.5 for each in judged]
    found: dict[str, list[float]] = {
        "win_rate": [each for each in wins if each is not None],
        "length": [len(one.found[0].tokens) for one in ours],
        "kl": (response_logps(actor, ours) - response_logps(first, ours)).tolist(),
    }
    numbers: dict[str, float] = {}
    for name, values in found.items():
        if len(values) > 1:  # a judge may have had no verdict
            numbers[name], numbers[f"{name}_se"] = mean_and_error(np.array(values, dtype=np.float64))
    return numbers

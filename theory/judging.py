"""Claims judged, several by two processes; a module of its own, since those import by name what they run."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import torch

from theory.evidence import Claim, Judgment, Outcome, judge
from theory.registry import CLAIMS

# Tables are so small that threads wait for each other: on two busy cores a loss took twenty times as long.
torch.set_num_threads(1)


def judge_all(claims: list[Claim]) -> Iterator[Judgment]:
    """Judge claims, in their order: one here, several by two processes."""
    if len(claims) == 1:
        yield judge(claims[0])
        return
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for claim, found in zip(claims, pool.map(findings, [claim.id for claim in claims]), strict=True):
            yield Judgment(claim, [Outcome(*both) for both in zip(claim.evidence, *found, strict=True)])


def findings(claim_id: str) -> tuple[list[str], list[str], list[float]]:
    """Of each of a claim's checks what it found, why it failed, and its seconds: what processes can send each other."""
    outcomes = judge(CLAIMS[claim_id]).outcomes
    return [o.finding for o in outcomes], [o.failure for o in outcomes], [o.seconds for o in outcomes]

"""KTO's estimate of KL(pi || pi_ref): once per update, from mismatched pairs, for each group of its pairs.

A group is a fixed run of positions of the update, wherever its pairs are scored, so the estimate does
not depend on rows or ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from inspo.hf.rows import request_logps
from inspo.losses import kto_kl
from scaled.data.examples import PLAIN, Examples
from scaled.distributed import world_size
from scaled.training.outcome import Batch


@torch.no_grad()
def with_kl(
    model: nn.Module, examples: Examples, batches: Sequence[Batch], positions: int, group: int, attention: str
) -> list[Batch]:
    """Score the mismatched pairs of this rank's batches, exchange scores by position, average over each group.

    Args:
        model: the policy, wrapped; it is put in evaluation mode for the while.
        examples: whose `mismatched` the batches' slots index.
        batches: this rank's batches of the update.
        positions: pairs of the update.
        group: positions that share one estimate.
        attention: how to attend.

    Returns:
        The batches with (B,) estimates in nats.
    """
    mismatched = examples.mismatched
    assert mismatched is not None  # noqa: S101  # made for every method that needs the estimate
    device = batches[0].preference.device
    # For every position: log-probs of chosen and rejected by the policy, by the reference, and how often scored.
    policy = torch.zeros(2, positions, dtype=torch.float64, device=device)
    reference, scored = torch.zeros_like(policy), torch.zeros_like(policy)
    training = model.training
    model.eval()
    for batch in batches:
        index, where = list(batch.slot.pairs), list(batch.slot.positions)
        found = request_logps(model, mismatched.row(index, PLAIN), attention=attention)
        for role, request in enumerate(PLAIN):
            policy[role, where] = found[request].double()
            reference[role, where] = mismatched.reference[request][index].to(device, torch.float64)
            scored[role, where] = 1
    model.train(training)
    if world_size() > 1:
        for sums in (policy, reference, scored):
            torch.distributed.all_reduce(sums)
        policy, reference = policy / scored, reference / scored  # a validation row may be on several ranks
    estimates = torch.stack(
        [kto_kl(policy[:, i : i + group], reference[:, i : i + group]) for i in range(0, positions, group)]
    )
    return [
        replace(batch, kl=estimates[torch.tensor(batch.slot.positions, device=device) // group].float())
        for batch in batches
    ]

"""Anchored training of a transformer on a world of three responses that beat each other in a cycle."""

import json
import math

import pytest
import torch
from tiny_base import small

from inspo.conditioning import Conditioning, LogpRequest, Role
from inspo.hf import request_logps
from inspo.prefix_tree import build_row, concatenate
from scaled.run.prepare import prepare_run
from scaled.run.run import assemble
from scaled.training.loop import train

W, L = Role.CHOSEN, Role.REJECTED
BETA = 0.5
CYCLE = [("the owl", "the wren", 0.8), ("the wren", "a robin", 0.7), ("a robin", "the owl", 0.9)]
LOG_ODDS = torch.tensor([math.log(p / (1 - p)) for _, _, p in CYCLE])


def margins(conditioning: str, base, folder) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of the three pairs after training, (3,) each: m(w | l), m(l | w), and what the symmetric loss compares."""
    data = folder / "cycle.jsonl"
    rows = [dict(zip(("chosen", "rejected", "preference"), pair, strict=True)) for pair in CYCLE]
    data.write_text("".join(json.dumps({"prompt": "Name a bird."} | row) + "\n" for row in rows))
    config = small(
        folder / "out",
        model=str(base),
        data=str(data),
        soft_labels=True,
        validation_size=0,
        measure_deployed=False,
        conditioning=conditioning,
        beta=BETA,
        batch_size=3,
        micro_batch=3,
        epochs=100,
        warmup_ratio=0.05,
        learning_rate=3e-3,
        final_lr_ratio=0,
        shuffle=False,
    )
    training = assemble(config, prepare_run(config))
    assert train(training) is None
    training.model.eval()
    row = concatenate([build_row([pair], Conditioning.ANCHORED) for pair in training.examples.pairs])
    with torch.no_grad():
        found = request_logps(training.model, row)
    reference = training.examples.reference
    score = {request: BETA * (logps - reference[LogpRequest(request.target)]) for request, logps in found.items()}
    after = {(request.target, request.context): value for request, value in score.items()}
    return after[W, L] - after[L, L], after[L, W] - after[W, W], after[W, L] - after[L, W]


@pytest.mark.slow
def test_every_ordered_pair_of_a_cycle_gets_its_log_odds(base, tmp_path):
    """m(i | j) = beta [log pi(i | j) / mu_i - log pi(j | j) / mu_j] is log P_ij / P_ji: what (7) with r = L has."""
    given_rejected, given_chosen, _ = margins("anchored", base, tmp_path)
    torch.testing.assert_close(given_rejected, LOG_ODDS, rtol=0, atol=0.1)
    torch.testing.assert_close(given_chosen, -LOG_ODDS, rtol=0, atol=0.1)


@pytest.mark.slow
def test_the_symmetric_loss_pins_only_what_it_compares(base, tmp_path):
    """That is beta [log pi(i | j) / mu_i - log pi(j | i) / mu_j]; m(i | j) takes what values it likes."""
    given_rejected, given_chosen, crossed = margins("symmetric", base, tmp_path)
    torch.testing.assert_close(crossed, LOG_ODDS, rtol=0, atol=0.1)
    assert (given_rejected - LOG_ODDS).abs().max() > 0.5
    assert (given_chosen + LOG_ODDS).abs().max() > 0.5

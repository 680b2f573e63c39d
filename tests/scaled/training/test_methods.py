"""Every method under every conditioning learns: the validation margin rises by more than three standard errors."""

import pytest
import torch
from tiny_base import small

from inspo.conditioning import Conditioning
from inspo.losses import METHODS
from scaled.run.prepare import prepare_run
from scaled.run.run import assemble
from scaled.training.loop import Training, score_validation, train

pytestmark = pytest.mark.slow


def margins(training: Training) -> torch.Tensor:
    """(B,) score(chosen) - score(rejected) of the validation pairs, in nats."""
    training.model.eval()
    chosen, rejected = training.loss.scores(score_validation(training, 0).terms(training.loss))
    return chosen - rejected


@pytest.mark.parametrize("conditioning", [kind.value for kind in Conditioning])
@pytest.mark.parametrize("method", METHODS)
def test_the_validation_margin_rises(method, conditioning, base, tmp_path):
    config = small(
        tmp_path,
        model=str(base),
        limit=96,
        validation_size=32,
        method=method,
        conditioning=conditioning,
        max_length=128,
        batch_size=16,
        row_tokens=2048,
        kl_group=8 if method == "kto" else None,
        epochs=2,
    )
    training = assemble(config, prepare_run(config))
    before = margins(training)
    assert train(training) is None
    rise = (margins(training) - before).double()
    error = rise.std() / len(rise) ** 0.5
    assert len(rise) >= 32, "whole prompts are held out"
    assert torch.isfinite(rise).all()
    assert rise.mean() > 3 * error

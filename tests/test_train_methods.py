"""Every method under every conditioning learns: the held-out margin rises by more than three standard errors."""

from pathlib import Path

import pytest
import torch

from inspo.conditioning import Conditioning
from inspo.losses import METHODS
from scaled.base import make_base
from scaled.config import TrainConfig
from scaled.objective import margins
from scaled.policy import with_reference
from scaled.prepare import prepare_run
from scaled.records import load_records
from scaled.run import build_trainer

TINY = Path(__file__).parents[1] / "scaled" / "examples" / "tiny.jsonl"


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "base"
    make_base(folder, "tiny-llama", load_records(TINY), seed=1)
    return folder


@pytest.mark.parametrize("conditioning", [kind.value for kind in Conditioning])
@pytest.mark.parametrize("method", METHODS)
def test_the_held_out_margin_rises(method, conditioning, base, tmp_path):
    config = TrainConfig(
        model=str(base),
        data=str(TINY),
        limit=96,
        validation_size=32,
        out=str(tmp_path),
        method=method,
        conditioning=conditioning,
        max_length=128,
        batch_size=16,
        row_tokens=2048,
        kl_group=8 if method == "kto" else None,
        epochs=2,
        learning_rate=1e-3,
        precision="float32",
        gradient_checkpointing=False,
        zero_stage=0,
        threads=1,
        tensorboard=False,
    )
    ready = prepare_run(config)
    trainer = build_trainer(config, ready, *with_reference(config, ready))
    before = margins(trainer.objective, trainer.score_held_out())
    trainer.train()
    after = margins(trainer.objective, trainer.score_held_out())
    rise = (after - before).double()
    error = rise.std() / len(rise) ** 0.5
    assert len(rise) == 32
    assert torch.isfinite(rise).all()
    assert rise.mean() > 3 * error

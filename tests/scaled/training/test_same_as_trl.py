"""Twenty updates of plain DPO against TRL's DPOTrainer: losses and weights, on the same data in the same order."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_base import TINY, write_base
from trl_options import IN_ORDER

from scaled.config import TrainConfig
from scaled.data.records import load_records
from scaled.data.templates import NAMED
from scaled.run.run import run

pytestmark = [pytest.mark.trl, pytest.mark.slow]

UPDATES, BATCH = 20, 8


@pytest.fixture
def base(tmp_path) -> Path:
    """A small random model; its template ends a reply with its end-of-turn token and nothing after it."""
    return write_base(tmp_path / "base", seed=3, chat_template=NAMED["plain"])


def our_run(base: Path, out: Path) -> tuple[list[float], dict]:
    run(
        TrainConfig(
            model=str(base),
            data=str(TINY),
            limit=UPDATES * BATCH,
            validation_size=0,
            out=str(out),
            method="dpo",
            conditioning="none",
            beta=0.2,
            max_length=512,
            draft_cap=None,
            batch_size=BATCH,
            row_tokens=300,
            epochs=1,
            shuffle=False,
            learning_rate=2e-4,  # Adam turns rounding of tiny gradients into steps of this size
            warmup_ratio=0,
            final_lr_ratio=1,
            precision="float32",
            gradient_checkpointing=False,
            zero_stage=0,
            threads=1,
            trackers=[],
        )
    )
    losses = [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    return losses, load_file(out / "model" / "model.safetensors")


def trl_run(base: Path, out: Path) -> tuple[list[float], dict]:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    records = load_records(TINY)[: UPDATES * BATCH]
    rows = [
        {
            "prompt": record["prompt"],
            "chosen": record["chosen"],
            "rejected": record["rejected"],
        }
        for record in records
    ]
    trainer = DPOTrainer(
        AutoModelForCausalLM.from_pretrained(base),
        args=DPOConfig(
            output_dir=str(out),
            per_device_train_batch_size=BATCH,
            **IN_ORDER,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(base),
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return losses, {name: value.detach() for name, value in trainer.model.state_dict().items()}


def test_twenty_updates_of_plain_dpo_are_trls(base, tmp_path):
    ours, our_weights = our_run(base, tmp_path / "ours")
    theirs, their_weights = trl_run(base, tmp_path / "theirs")
    assert len(ours) == len(theirs) == UPDATES
    assert ours[0] == pytest.approx(0.6931, abs=1e-4)
    assert ours[-1] < 0.5
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=1e-5, atol=1e-5)
    for name, weight in our_weights.items():
        torch.testing.assert_close(weight, their_weights[name], rtol=1e-5, atol=1e-5)

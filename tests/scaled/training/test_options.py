"""Optimizers, schedules and adapters: each trains, and goes on to the same bits after a stop."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from stops import StopAfter
from tiny_base import SMALL
from torch import nn

from scaled.config import OptimizerOptions, TrainConfig
from scaled.run.prepare import prepare_run
from scaled.run.run import assemble, run
from scaled.training.engine import make_optimizer
from scaled.training.journal import TIMES, read

VARIANTS = {
    "linear": {"schedule": "linear"},
    "constant": {"schedule": "constant", "warmup_ratio": 0.5},
    "8 bits": {"optim": "adamw_8bit"},
    "rsLoRA on two layers": {"lora_rank": 4, "use_rslora": True, "lora_target_modules": ["q_proj", "v_proj"]},
    "DoRA": {"lora_rank": 4, "use_dora": True, "lora_dropout": 0.1},
    "gaussian": {"lora_rank": 4, "init_lora_weights": "gaussian"},
    "orthogonal": {"lora_rank": 4, "init_lora_weights": "orthogonal", "optim": "adamw_8bit"},
}


def values(base: Path, out: Path, **changes: object) -> dict:
    size = {"limit": 24, "validation_size": 8, "max_updates": 4, "epochs": 8, "validate_every": 2, "warmup_ratio": 0}
    return SMALL | {"model": str(base), "out": str(out), "learning_rate": 1e-2} | size | changes


def lines(out: Path) -> list[dict]:
    return [{name: of for name, of in line.items() if name not in TIMES} for line in read(out / "metrics.jsonl")]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_stop_changes_no_bit(variant, base, tmp_path):
    changes = VARIANTS[variant]
    if "optim" in changes:
        pytest.importorskip("bitsandbytes", reason="the group bnb is not installed")
    stopped, whole = (values(base, tmp_path / name, **changes) for name in ("stopped", "whole"))
    assert "stopped (SIGTERM) after update 3" in run(TrainConfig(**stopped), StopAfter(3))
    run(TrainConfig(**stopped))
    run(TrainConfig(**whole))
    ours, theirs = lines(tmp_path / "stopped"), lines(tmp_path / "whole")
    assert ours == theirs
    assert next(line["learning_rate"] for line in ours if "learning_rate" in line) > 0
    # The reference is the policy that training starts from, whatever the adapter; then it learns.
    assert abs(ours[0]["deployed_margin"]) < 1e-3
    assert ours[-1]["deployed_margin"] > 1
    weights, expected = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("stopped", "whole"))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.parametrize("changes", [{"use_rslora": True}, {"use_dora": True}, {}])
def test_a_merged_model_is_its_adapter(changes, base, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    run(TrainConfig(**values(base, tmp_path, lora_rank=4, **changes)))
    tokens = torch.arange(40).view(1, -1) + 300
    with torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(base)
        plain = model(tokens).logits
        adapted = PeftModel.from_pretrained(model, tmp_path / "adapter")(tokens).logits
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "model")(tokens).logits
    torch.testing.assert_close(merged, adapted, rtol=1e-4, atol=1e-4)
    assert (merged - plain).abs().max() > 0.01


def test_only_the_layers_that_were_named_are_trained(base, tmp_path):
    config = TrainConfig(**values(base, tmp_path, lora_rank=4, lora_target_modules="q_proj,v_proj"))
    training = assemble(config, prepare_run(config))
    trained = {name.split(".")[-4] for name, weight in training.model.named_parameters() if weight.requires_grad}
    assert trained == {"q_proj", "v_proj"}


@pytest.mark.parametrize(("optim", "kind"), [("paged_adamw_32bit", "PagedAdamW32bit"), ("adamw_8bit", "AdamW8bit")])
def test_optimizers_are_bitsandbytes_with_embeddings_in_32_bits(optim, kind):
    bitsandbytes = pytest.importorskip("bitsandbytes", reason="the group bnb is not installed")
    model = nn.Sequential(nn.Embedding(100, 64), nn.Linear(64, 100))
    made = make_optimizer(model, OptimizerOptions(optim=optim, learning_rate=1e-3, adam_beta2=0.95))
    assert type(made) is getattr(bitsandbytes.optim, kind)
    assert made.defaults["betas"] == (0.9, 0.95)
    if "8bit" in optim:
        model(torch.arange(100)).square().mean().backward()
        made.step()
        kinds = {name: made.state[weight]["state1"].dtype for name, weight in model.named_parameters()}
        assert kinds["0.weight"] == torch.float32
        assert kinds["1.weight"] == torch.uint8


def test_a_trained_folder_keeps_the_cache_of_its_base(base, tmp_path):
    """Full fine-tuning once saved use_cache: false, and generation without transformers' generate() was slow."""
    run(TrainConfig(**values(base, tmp_path, gradient_checkpointing=True)))
    kept = [json.loads((folder / "config.json").read_text()).get("use_cache") for folder in (base, tmp_path / "model")]
    assert kept[0] == kept[1]
    assert kept[1] is not False


def test_an_adapter_has_ten_times_the_default_learning_rate():
    given = {"architecture": "tiny-llama", "draft_cap": None}
    assert TrainConfig(**given).learning_rate == 5e-7
    assert TrainConfig(**given, lora_rank=8).learning_rate == pytest.approx(5e-6)
    assert TrainConfig(**given, lora_rank=8, learning_rate=1e-7).learning_rate == 1e-7

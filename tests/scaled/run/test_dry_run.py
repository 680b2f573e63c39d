"""What a run is said to need: the machine that is used, memory with offload, disk, and times of like runs only."""

import json

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoModelForCausalLM

from inspo.conditioning import Conditioning
from inspo.hf.rows import hidden_states
from inspo.pairs import PreferencePair
from inspo.prefix_tree import build_row
from scaled.config import TrainConfig
from scaled.device import device_name, memory_gib, uses_gpu
from scaled.model.loading import as_policy
from scaled.model.random_weights import shipped_architecture
from scaled.model.sizes import activation_bytes, count_weights, disk_bytes, state_bytes
from scaled.run.checks import kept_checkpoints
from scaled.run.dry_run import describe_run
from scaled.run.prepare import prepare_run

TINY = shipped_architecture("tiny-llama")


def config(**values: object) -> TrainConfig:
    return TrainConfig(**({"architecture": "tiny-llama", "zero_stage": 0, "precision": "float32"} | values))


def test_a_run_on_the_cpu_of_a_gpu_machine_reports_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 0)
    assert not uses_gpu(config(device="cpu"))
    assert "CPU" in device_name(gpu=uses_gpu(config(device="cpu")))
    assert memory_gib(gpu=uses_gpu(config(device="cpu"))) > 0
    assert device_name(gpu=uses_gpu(config())) == "NVIDIA H100"
    assert memory_gib(gpu=uses_gpu(config())) == 0


def test_offload_takes_an_adapters_optimizer_off_the_gpu():
    with_adapter = {"lora_rank": 8, "zero_stage": 2, "precision": "bf16"}
    here, away = config(**with_adapter), config(**with_adapter, offload="cpu")
    weights = count_weights(TINY, here)
    assert state_bytes(weights, 1, here) - state_bytes(weights, 1, away) == 12 * weights.trained


@pytest.mark.parametrize(
    ("values", "checkpoint", "result"),
    [
        ({}, 4 + 8, 4),
        ({"precision": "bf16"}, 4 + 8, 4),  # float32 weights under autocast
        ({"precision": "bf16", "zero_stage": 3}, 2 + 12, 2),
        ({"precision": "bf16", "zero_stage": 2}, 2 + 2 + 12, 2),
    ],
)
def test_disk_is_counted_in_the_dtypes_that_are_written(values, checkpoint, result):
    chosen = config(**values)
    disk = disk_bytes(count_weights(TINY, chosen), chosen)
    assert (disk.checkpoint, disk.result) == (checkpoint * 501_408, result * 501_408)


def test_the_disk_holds_what_is_kept_the_best_and_what_is_being_written():
    assert kept_checkpoints(config(keep_checkpoints=3)) == 5


ROW = build_row([PreferencePair(list(range(3, 103)), list(range(3, 83)), list(range(9, 69)))], Conditioning.SYMMETRIC)


def kept_by_autograd(chosen: TrainConfig) -> int:
    """Bytes that a real forward pass keeps, weights apart."""
    torch.manual_seed(0)
    model = as_policy(AutoModelForCausalLM.from_config(TINY), chosen, seed=0).train()
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden_states(model, ROW)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("adapter", [{}, {"lora_rank": 8}, {"lora_rank": 8, "lora_dropout": 0.1}])
def test_activations_are_what_autograd_keeps(adapter):
    chosen = config(gradient_checkpointing=False, **adapter)
    targets = sum(len(target.labels) for target in ROW.targets)
    estimated = activation_bytes(TINY, ROW, chosen)
    assert estimated is not None
    assert estimated - targets * TINY.vocab_size * 12 == pytest.approx(kept_by_autograd(chosen), rel=0.05)


def test_rows_need_more_memory_without_checkpointing():
    with_checkpointing, without = (
        activation_bytes(TINY, ROW, config(gradient_checkpointing=on)) for on in (True, False)
    )
    assert with_checkpointing is not None
    assert without is not None
    assert without > 1.5 * with_checkpointing


def test_what_an_architecture_keeps_that_asks_for_its_data_is_not_made_up(monkeypatch):
    def asks(*_: object, **__: object) -> None:
        torch.ones(1, device="meta").item()

    monkeypatch.setattr("scaled.model.sizes.hidden_states", asks)
    assert activation_bytes(TINY, ROW, config()) is None
    assert "1 rank: " in describe_run(config()).text
    assert "+ what llama keeps, which needs data to tell" in describe_run(config()).text


def test_a_time_is_given_only_where_a_like_run_was_measured(tmp_path):
    chosen = config(out=str(tmp_path / "next"), validation_size=64, max_length=256)
    record = {
        "parameters": count_weights(prepare_run(chosen).architecture, chosen).total,
        "device": device_name(gpu=False),
        "world_size": 1,
        "tokens_per_second": 1000.0,
        "config": chosen.resolved(),
    }
    (tmp_path / "done").mkdir()

    def described(**changes: object) -> str:
        kept = {name: value for name, value in changes.items() if name == "world_size"}
        options = {name: value for name, value in changes.items() if name != "world_size"}
        changed = record | kept | {"config": record["config"] | options}
        (tmp_path / "done" / "run.json").write_text(json.dumps(changed))
        return describe_run(chosen).text.splitlines()[-1]

    assert "at 1,000 tokens/s, measured by" in described()
    for change in ({"world_size": 2}, {"precision": "bf16"}, {"gradient_checkpointing": False}, {"lora_rank": 4}):
        assert "time: unknown" in described(**change)


def test_data_that_are_nowhere_are_said_beside_what_can_be_described():
    described = describe_run(config(data="nowhere.jsonl"))
    assert len(described.obstacles) == 1
    assert described.obstacles[0].startswith("nowhere.jsonl: there is no such file")
    assert "(without data and tokenizer to count)" in described.text


@pytest.mark.parametrize(
    ("values", "tokens"),
    [
        ({"conditioning": "none"}, 1 + 2 * 99),  # two responses of 100 tokens, each without its last
        ({"conditioning": "symmetric"}, 1 + 4 * 50 - 2),
        ({"conditioning": "anchored"}, 1 + 6 * 50 - 4),
        # Contexts of 40, targets of 60 after each; with what is deployed, the 20 after the cap of both, too.
        ({"conditioning": "anchored", "draft_cap": 0.4, "measure_deployed": False}, 1 + 2 * 40 + 4 * 59),
        ({"conditioning": "anchored", "draft_cap": 0.4}, 1 + 2 * 40 + 4 * 59 + 2 * 19),
    ],
)
def test_without_data_a_pair_is_counted_at_its_largest(values, tokens):
    chosen = config(**({"data": "nowhere.jsonl", "max_length": 101, "batch_size": 8, "draft_cap": None} | values))
    assert f"tokens per update: at most {8 * tokens:,} (without" in describe_run(chosen).text


def test_callbacks_are_looked_for_before_they_are_called(tmp_path):
    sound = {"validation_size": 64, "max_length": 256, "out": str(tmp_path / "out")}
    described = describe_run(config(callbacks="nowhere:look", **sound))
    assert described.obstacles == ["callbacks: nowhere:look cannot be loaded (No module named 'nowhere')"]
    assert "parameters: " in described.text

"""What a training computes: both precisions, the reference it starts from, what is only measured, KTO's KL."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import inspo.hf.rows
import scaled.trainer
from inspo.conditioning import Conditioning, LogpRequest, Role
from inspo.hf.rows import load_policy
from scaled.base import make_base
from scaled.config import TrainConfig
from scaled.journal import read
from scaled.objective import Objective, Outcome, pair_losses, prepare
from scaled.policy import lora, with_reference
from scaled.prepare import prepare_run
from scaled.records import load_records
from scaled.run import build_trainer, run
from scaled.trainer import deepspeed_config

TINY = Path(__file__).parents[1] / "scaled" / "examples" / "tiny.jsonl"


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "base"
    make_base(folder, "tiny-llama", load_records(TINY), seed=1)
    return folder


@pytest.fixture
def config(base, tmp_path):
    """A small training; keywords change it."""

    def made(**changes: object) -> TrainConfig:
        values = {
            "model": str(base),
            "data": str(TINY),
            "limit": 40,
            "validation_size": 8,
            "out": str(tmp_path / "out"),
            "max_length": 96,
            "batch_size": 16,
            "micro_batch": 8,
            "max_updates": 2,
            "epochs": 8,
            "learning_rate": 1e-3,
            "precision": "float32",
            "gradient_checkpointing": False,
            "zero_stage": 0,
            "threads": 1,
            "tensorboard": False,
        }
        return TrainConfig(**(values | changes))

    return made


def test_bf16_starts_at_its_reference_and_learns(config):
    """Policy and reference are computed alike, so the first update's log-ratios are zero; then they are not."""
    chosen = config(precision="bf16", reference="conditioned", max_updates=12, warmup_ratio=0)
    run(chosen)
    lines = [line for line in read(Path(chosen.out) / "metrics.jsonl") if line["kind"] == "update"]
    for name in ("margin", "chosen_logratio", "rejected_logratio", "plain_chosen_logratio"):
        assert lines[0][name] == 0
    assert lines[0]["loss"] == pytest.approx(0.693147, abs=1e-6)
    assert lines[-1]["loss"] < 0.5
    assert lines[-1]["margin"] > 5


def test_deepspeed_sums_bf16_gradients_in_float32(config):
    assert deepspeed_config(config(precision="bf16", zero_stage=3))["data_types"] == {"grad_accum_dtype": "fp32"}


@pytest.mark.parametrize("conditioning", Conditioning)
def test_what_is_only_measured_costs_no_backward_pass(base, config, conditioning, monkeypatch):
    """The same losses and gradients as without, one projection with gradient of what the loss reads."""
    pairs = prepare_run(config()).train.pairs[:4]
    projected = Counter()
    stock = inspo.hf.rows.token_logps

    def counted(hidden, weight, labels, **options):
        projected[torch.is_grad_enabled()] += len(labels)
        return stock(hidden, weight, labels, **options)

    monkeypatch.setattr(inspo.hf.rows, "token_logps", counted)
    gradients, losses = [], []
    for plain in (False, True):
        model = load_policy(str(base))
        prepare(model)
        objective = Objective("simpo", conditioning, {"beta": 2.0, "gamma": 1.0}, plain_logps=plain)
        projected.clear()
        outcome = pair_losses(model, pairs, objective)
        outcome.losses.mean().backward()
        losses.append(outcome.losses.detach())
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
        read_by_loss = len(conditioning.requests()) // 2 * sum(len(p.chosen) + len(p.rejected) for p in pairs)
        assert projected[True] == read_by_loss
    assert set(objective.only_measured()) <= {LogpRequest(role) for role in Role}
    assert all(not outcome.policy[request].requires_grad for request in objective.only_measured())
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-6)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-6)


def test_measured_log_probs_are_those_of_the_deployed_policy(base, config):
    pairs = prepare_run(config()).train.pairs[:4]
    model = load_policy(str(base))
    prepare(model)
    measured = pair_losses(
        model, pairs, Objective("cpo", Conditioning.SYMMETRIC, {"beta": 0.1, "lam": 1.0}, plain_logps=True)
    )
    plain = pair_losses(model, pairs, Objective("cpo", Conditioning.NONE, {"beta": 0.1, "lam": 1.0}))
    for request, logps in plain.policy.items():
        torch.testing.assert_close(measured.policy[request], logps.detach(), rtol=1e-4, atol=1e-3)


def test_ktos_kl_counts_a_row_that_two_ranks_score_once(config, monkeypatch):
    """Three held-out rows on two ranks: the first is scored by both, and the sum over ranks has it twice."""
    chosen = config(method="kto", validation_size=12, micro_batch=4, batch_size=16)
    ready = prepare_run(chosen)
    train, held_out = with_reference(chosen, ready)
    # The policy still is its reference; lower numbers for the reference make the estimate a mean of 0, 1, 2, ... nats.
    lowered = {request: logps - torch.arange(len(logps)) for request, logps in held_out.mismatched_reference.items()}
    held_out = replace(held_out, mismatched_reference=lowered)
    trainer = build_trainer(chosen, ready, train, held_out)
    batches = [trainer.held_out[index] for index in range(len(trainer.held_out))]
    count = len(held_out.pairs)

    def estimate() -> float:
        scored = trainer._with_kl(held_out, batches, count, count, torch.device("cpu"))  # noqa: SLF001  # its sum over ranks
        return scored[0].kl[0].item()

    alone = estimate()
    repeated = list(batches[0].slot.positions)
    monkeypatch.setattr(scaled.trainer, "ranks", lambda: 2)

    def all_reduce(found: torch.Tensor) -> None:
        found[..., repeated] *= 2

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    assert alone == pytest.approx((count - 1) / 2, rel=1e-4)
    assert estimate() == pytest.approx(alone, rel=1e-6)


def test_ktos_kl_is_in_the_journal(config):
    chosen = config(method="kto", warmup_ratio=0)
    run(chosen)
    lines = read(Path(chosen.out) / "metrics.jsonl")
    assert {line["kind"] for line in lines} == {"update", "validation"}
    assert all(line["kl"] >= 0 for line in lines)
    assert lines[0]["kl"] == pytest.approx(0, abs=1e-4)


def test_the_chosen_attention_is_used_for_reference_and_kl_too(config, monkeypatch):
    asked = Counter()
    stock = inspo.hf.rows.TreeAttention.of

    def counted(row, device="cpu", attention="auto"):
        asked[attention] += 1
        return stock(row, device, attention)

    monkeypatch.setattr(inspo.hf.rows.TreeAttention, "of", counted)
    chosen = config(method="kto", attention="dense", max_updates=1)
    run(chosen)
    assert set(asked) == {"dense"}


def test_outcomes_leave_the_gpu_before_they_are_sent():
    with FakeTensorMode():
        numbers = torch.zeros(2, device="cuda")
        outcome = Outcome(
            numbers,
            {LogpRequest(Role.CHOSEN): numbers},
            {LogpRequest(Role.CHOSEN): numbers},
            (numbers, numbers),
            numbers,
            5,
            numbers,
        ).detached()
        kept = [outcome.losses, *outcome.policy.values(), *outcome.reference.values(), *outcome.lengths]
        assert {tensor.device.type for tensor in (*kept, outcome.preference, outcome.kl)} == {"cpu"}


def test_loras_alpha_is_taken_as_given(config):
    assert lora(config(lora_rank=4)).lora_alpha == 8
    assert lora(config(lora_rank=4, lora_alpha=0.5)).lora_alpha == 0.5


def test_nothing_that_happened_to_the_data_is_silent(config, tmp_path, caplog):
    rows = [json.loads(line) for line in TINY.read_text().splitlines()[:40]]
    for row in rows[:3]:
        row["preference"] = 0.5
    rows[5]["chosen"] += " <|im_end|>"
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = config(
        data=str(data), limit=None, method="simpo", max_updates=1, max_length=40, over_length="cut_responses,drop"
    )
    run(chosen)
    record = json.loads((Path(chosen.out) / "run.json").read_text())
    assert record["records_left_out"] == {"data": {"ties": 3}}
    train, held_out = record["pairs_cut_or_dropped"], record["held_out_pairs_cut_or_dropped"]
    assert train.get("control_tokens_in_text", 0) + held_out.get("control_tokens_in_text", 0) == 1
    assert train["responses_cut"] + held_out["responses_cut"] > 5
    for said in ("3 judged pairs are ties and left out", "1 records have control tokens in their text"):
        assert (said, "WARNING") in [(line.message.partition(",")[0], line.levelname) for line in caplog.records]


def test_filters_leave_out_and_count(config, tmp_path, caplog):
    rows = [json.loads(line) for line in TINY.read_text().splitlines()[:30]]
    rows[4]["rejected"], rows[9]["chosen"] = "  ", rows[9]["rejected"]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ready = prepare_run(config(data=str(data), limit=None, filters="unusable", validation_size=4))
    assert ready.left_out == {"data": {"ties": 0, "empty": 1, "equal": 1}}
    assert len(ready.train.pairs) == 24
    assert "data: filters=unusable left out empty 1, equal 1 of 30 records" in caplog.messages
    scored = tmp_path / "scored.jsonl"
    scores = ({"score_chosen": float(index % 2), "score_rejected": 0.0} for index in range(len(rows)))
    scored.write_text("".join(json.dumps(row | score) + "\n" for row, score in zip(rows, scores, strict=True)))
    ready = prepare_run(config(data=str(data), validation=str(scored), limit=None, filters="unusable"))
    assert ready.left_out["validation"] == {"ties": 0, "empty": 1, "equal": 1}
    long = tmp_path / "long.jsonl"
    for row in rows:
        row["chosen"] += " and so on" * 40
    rows = [row | {"score_chosen": float(index % 2), "score_rejected": 0.0} for index, row in enumerate(rows)]
    long.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ready = prepare_run(
        config(data=str(long), limit=None, filters="paper", validation_size=4, max_length=None, draft_cap=None)
    )
    # Records 4 is empty; of the others, sigma(0) = .5 < .6 drops those with an even index.
    assert ready.left_out["data"] == {"ties": 0, "empty": 1, "equal": 0, "duplicate": 0, "length": 0, "margin": 14}

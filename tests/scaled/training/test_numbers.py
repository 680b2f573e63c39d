"""What a training computes: both precisions, the reference it starts from, what is only measured, KTO's KL."""

import json
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from tiny_base import TINY, small
from tiny_models import keep_float64
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForCausalLM

import inspo.hf.rows
from inspo.conditioning import Conditioning, LogpRequest, Role
from inspo.hf import enable_tree_rows, request_logps
from scaled.data import examples as examples_module
from scaled.data.plan import Slot
from scaled.model.adapters import lora
from scaled.run.prepare import prepare_run
from scaled.run.run import assemble, run
from scaled.training import kto
from scaled.training.engine import deepspeed_config
from scaled.training.journal import read
from scaled.training.loop import make_batches, score, score_validation
from scaled.training.outcome import Outcome, compare, make_batch

EIGHT = {"limit": 40, "validation_size": 8, "batch_size": 16, "max_updates": 2, "epochs": 8}


@pytest.fixture
def config(base, tmp_path):
    """A small training; keywords change it."""
    return partial(small, tmp_path / "out", model=str(base), **EIGHT)


@pytest.mark.slow
def test_bf16_starts_at_its_reference_and_learns(config):
    """Policy and reference are computed alike, so the first update's log-ratios are zero; then they are not."""
    chosen = config(precision="bf16", reference="conditioned", max_updates=12, warmup_ratio=0)
    run(chosen)
    lines = [line for line in read(Path(chosen.out) / "metrics.jsonl") if line["kind"] == "update"]
    for name in ("margin", "chosen_logratio", "rejected_logratio", "deployed_margin"):
        assert lines[0][name] == 0
    assert lines[0]["loss"] == pytest.approx(0.693147, abs=1e-6)
    assert lines[-1]["loss"] < 0.5
    assert lines[-1]["margin"] > 5


def test_deepspeed_sums_bf16_gradients_in_float32(config):
    assert deepspeed_config(config(precision="bf16", zero_stage=3), 4)["data_types"] == {"grad_accum_dtype": "fp32"}


@pytest.mark.parametrize("conditioning", Conditioning)
def test_what_is_only_logged_costs_no_backward_pass(config, conditioning, monkeypatch):
    """The same losses and gradients as without, one projection with gradient of what the loss reads."""
    projected = Counter()
    stock = inspo.hf.rows.token_logps

    def counted(hidden, weight, labels, **options):
        projected[torch.is_grad_enabled()] += len(labels)
        return stock(hidden, weight, labels, **options)

    monkeypatch.setattr(inspo.hf.rows, "token_logps", counted)
    gradients, losses = [], []
    for plain in (False, True):
        chosen = config(method="simpo", conditioning=conditioning, measure_deployed=plain)
        training = assemble(chosen, prepare_run(chosen))
        batch = make_batch(training.examples, Slot((0, 1, 2, 3), (0, 1, 2, 3)))
        projected.clear()
        policy = score(training, batch)
        loss = compare(training.loss, policy, batch)
        loss.mean().backward()
        losses.append(loss.detach())
        gradients.append({name: weight.grad for name, weight in training.model.named_parameters()})
        tokens = sum(len(pair.chosen) + len(pair.rejected) for pair in batch.pairs)
        assert projected[True] == len(conditioning.requests()) // 2 * tokens
        assert set(policy) == set(conditioning.requests()) | ({LogpRequest(role) for role in Role} if plain else set())
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-6)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-6)


def test_logged_log_probs_are_those_of_the_deployed_policy(base, config):
    ready = prepare_run(config(method="cpo"))
    model = AutoModelForCausalLM.from_pretrained(base)
    enable_tree_rows(model)
    plain = Conditioning.NONE.requests()
    both, alone = (
        request_logps(model, ready.train.row(range(4), requests)) for requests in (ready.train.layout.policy, plain)
    )
    for request in plain:
        torch.testing.assert_close(both[request], alone[request], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("method", "trees"), [("dpo", 1), ("kto", 2)])
def test_a_tree_is_built_once(config, method, trees, monkeypatch):
    """For KTO also that of the prompt with another prompt's responses; whatever the epochs, validations, reference."""
    built = Counter()
    stock = examples_module.build_row

    def counted(pairs, *arguments, **options):
        built[tuple((pair.record, pair.chosen) for pair in pairs)] += 1
        return stock(pairs, *arguments, **options)

    monkeypatch.setattr(examples_module, "build_row", counted)
    monkeypatch.setattr("inspo.prefix_tree.build_row", None)
    run(config(method=method, max_updates=6, validate_every=2))
    assert set(built.values()) == {1}
    assert len({pair for pairs in built for pair in pairs}) == 40 * trees


def test_data_are_fingerprinted_once(config, monkeypatch):
    counted = Counter()
    stock = examples_module.fingerprint

    def fingerprint(pairs):
        counted["times"] += 1
        return stock(pairs)

    monkeypatch.setattr(examples_module, "fingerprint", fingerprint)
    run(config())
    assert counted["times"] == 2  # training and validation pairs


@pytest.mark.parametrize(("method", "loads"), [("dpo", 1), ("simpo", 1)])
def test_weights_are_loaded_once(config, method, loads, monkeypatch):
    """The reference's weights become the policy's; without a reference there is only the policy."""
    counted = Counter()
    stock = AutoModelForCausalLM.from_pretrained

    def from_pretrained(*arguments, **options):
        counted["loads"] += 1
        return stock(*arguments, **options)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", from_pretrained)
    chosen = config(method=method)
    assemble(chosen, prepare_run(chosen))
    assert counted["loads"] == loads


def test_ktos_kl_counts_a_row_that_two_ranks_score_once(config, monkeypatch):
    """Three validation rows on two ranks: the first is scored by both, and the sum over ranks has it twice."""
    chosen = config(method="kto", validation_size=12, micro_batch=4, batch_size=16)
    training = assemble(chosen, prepare_run(chosen))
    validation = training.validation.examples
    # The policy still is its reference; lower numbers for the reference make the estimate a mean of 0, 1, 2, ... nats.
    known = validation.mismatched.reference
    lowered = {request: logps - torch.arange(len(logps)) for request, logps in known.items()}
    validation = replace(validation, mismatched=replace(validation.mismatched, reference=lowered))
    batches = [make_batch(validation, slot) for slot in training.validation.slots]
    count = len(validation)

    def estimate() -> float:
        return kto.with_kl(training.model, validation, batches, count, count, "auto")[0].kl[0].item()

    alone = estimate()
    repeated = list(batches[0].slot.positions)
    monkeypatch.setattr(kto, "world_size", lambda: 2)

    def all_reduce(found: torch.Tensor) -> None:
        found[..., repeated] *= 2

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    assert alone == pytest.approx((count - 1) / 2, rel=1e-4)
    assert estimate() == pytest.approx(alone, rel=1e-6)


def test_validation_scores_every_pair_in_order(config):
    chosen = config(validation_size=7, micro_batch=4)
    training = assemble(chosen, prepare_run(chosen))
    count = len(training.validation.examples)
    assert count >= 7
    training.model.eval()
    with torch.no_grad():
        outcome = score_validation(training, 0)
        each = [
            score(training, make_batch(training.validation.examples, Slot((index,), (index,))))
            for index in range(count)
        ]
    for request, logps in outcome.policy.items():
        torch.testing.assert_close(logps, torch.cat([found[request] for found in each]), rtol=1e-5, atol=1e-4)


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
        known = {LogpRequest(Role.CHOSEN): numbers}
        made = Outcome(numbers, known, known, numbers, numbers, numbers, 5, numbers)
        outcome = made.map(lambda tensor: tensor.detach().cpu())
        kept = [outcome.losses, *outcome.policy.values(), *outcome.reference.values(), outcome.chosen_length]
        kept += [outcome.rejected_length, outcome.preference, outcome.kl]
        assert {tensor.device.type for tensor in kept} == {"cpu"}


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
    train, validation = record["pairs_cut_or_dropped"], record["validation_pairs_cut_or_dropped"]
    assert train.get("control_tokens_in_text", 0) + validation.get("control_tokens_in_text", 0) == 1
    assert train["responses_cut"] + validation["responses_cut"] > 5
    for said in ("data.jsonl: 3 pairs are ties and left out", "1 records have control tokens in their text"):
        assert (said, "WARNING") in [(line.message.partition(",")[0], line.levelname) for line in caplog.records]


def test_filters_leave_out_and_count(config, tmp_path, caplog):
    rows = [json.loads(line) for line in TINY.read_text().splitlines()[:30]]
    rows[4]["rejected"], rows[9]["chosen"] = "  ", rows[9]["rejected"]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ready = prepare_run(config(data=str(data), limit=None, filters="unusable", validation_size=4))
    assert ready.left_out == {"data": {"ties": 0, "empty": 1, "equal": 1, "not_text": 0, "malformed": 0}}
    assert len(ready.train.pairs) + len(ready.validation.pairs) == 28
    said = "1 records left out as empty, the first: data.jsonl: record 5: the rejected response is empty"
    assert said in caplog.messages
    assert "1 records left out as equal, the first: data.jsonl: record 10: chosen and rejected" in caplog.text
    scored = tmp_path / "scored.jsonl"
    scores = ({"score_chosen": float(index % 2), "score_rejected": 0.0} for index in range(len(rows)))
    scored.write_text("".join(json.dumps(row | score) + "\n" for row, score in zip(rows, scores, strict=True)))
    ready = prepare_run(config(data=str(data), validation=str(scored), limit=None, filters="unusable"))
    assert ready.left_out["validation"] == ready.left_out["data"]
    long = tmp_path / "long.jsonl"
    for row in rows:
        row["chosen"] += " and so on" * 40
    rows = [row | {"score_chosen": float(index % 2), "score_rejected": 0.0} for index, row in enumerate(rows)]
    long.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ready = prepare_run(
        config(data=str(long), limit=None, filters="paper", validation_size=4, max_length=None, draft_cap=None)
    )
    # Records 4 is empty; of the others, sigma(0) = .5 < .6 drops those with an even index.
    assert ready.left_out["data"]["empty"] == 1
    dropped = {"duplicate": 0, "length": 0, "margin": 14}
    assert {step: ready.left_out["data"][step] for step in dropped} == dropped


@pytest.mark.parametrize("options", [*({"conditioning": each} for each in Conditioning), {"method": "kto"}])
def test_pairs_of_one_prompt_share_a_tree(config, options):
    """The shipped data have 24 prompts. An update takes fewer tokens, with the losses and gradients of pairs alone."""
    chosen = config(**({"limit": 200, "validation_size": 0, "shuffle": "prompts", "row_tokens": 1200} | options))
    training = assemble(chosen, prepare_run(chosen))
    model = keep_float64(training.model)
    slots = training.plan.updates[0]
    pairs = sorted(place for slot in slots for place in zip(*slot, strict=True))
    assert len({training.examples.prompts[pair] for _, pair in pairs}) <= 4
    found = []
    for rows in (slots, [Slot((position,), (pair,)) for position, pair in pairs]):
        batches = make_batches(training, training.examples, rows, 16, None)
        outcomes = [(batch.slot.positions, compare(training.loss, score(training, batch), batch)) for batch in batches]
        model.zero_grad()
        sum(losses.sum() for _, losses in outcomes).backward()
        each = [one for places, losses in outcomes for one in zip(places, losses.tolist(), strict=True)]
        gradients = torch.cat([weight.grad.flatten() for weight in model.parameters()])
        found.append((sum(len(batch.row) for batch in batches), sorted(each), gradients))
    tolerance = 1e-6 if "method" in options else 1e-9  # KTO's estimates are kept in float32
    (tokens, losses, together), (tokens_alone, losses_alone, alone) = found
    assert tokens < 0.8 * tokens_alone
    assert losses == [(at, pytest.approx(loss, rel=tolerance)) for at, loss in losses_alone]
    torch.testing.assert_close(together, alone, rtol=0, atol=tolerance * float(alone.abs().max()))

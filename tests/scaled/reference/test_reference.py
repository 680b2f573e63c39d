"""Reference log-probs: the right numbers, a cache that cannot be stale, and where training starts.

Complaint 3 of the peers: a stale cache (open-instruct PR#1182), the trained policy as its own reference (trl
PR#6443, trl#1962), a policy that differs from its reference at step 0 (NeMo-Aligner#227).
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scaled.reference_cache import CacheFolder, Damaged, read_columns
from test_data import real_records, tokenizer  # noqa: F401  # fixtures
from tiny_models import keep_float64, random_pair, stock_logps, tiny_model
from torch import nn

import scaled.reference
from inspo.conditioning import Conditioning, LogpRequest, ReferenceContext, Role
from inspo.hf.rows import enable_tree_rows, row_logps
from inspo.logprobs import by_request, sequence_logps
from inspo.pairs import PreferencePair
from inspo.prefix_tree import build_row
from inspo.sequences import NO_SEPARATOR, Limits, Separator, fit
from scaled.data import tokenize
from scaled.reference import Ranks, initial_margins, reference_logps, weights_digest

# Where PEFT calls what transformers has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

PLAIN, CONDITIONED = ReferenceContext.PLAIN, ReferenceContext.CONDITIONED
SYMMETRIC = Conditioning.SYMMETRIC
CHOSEN, REJECTED = LogpRequest(Role.CHOSEN), LogpRequest(Role.REJECTED)


def make_model(seed=0, dtype=torch.float64, **changes):
    model = tiny_model("llama", seed=seed, **changes)
    model = keep_float64(model) if dtype is torch.float64 else model.to(dtype)
    enable_tree_rows(model)
    return model


@pytest.fixture
def model():
    return make_model()


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(3)
    return [replace(random_pair(rng), record=number) for number in range(11)]


@pytest.fixture
def calls(monkeypatch):
    """The packed rows that went through a model."""
    rows = []

    def counted(model, row, **options):
        rows.append(row)
        return row_logps(model, row, **options)

    monkeypatch.setattr(scaled.reference, "row_logps", counted)
    return rows


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(scaled.reference, "SHARD_PAIRS", 4)


def same(one, other):
    return one.sums.keys() == other.sums.keys() and all(
        torch.equal(one.sums[request], other.sums[request])
        and torch.equal(one.lengths[request], other.lengths[request])
        for request in one.sums
    )


# --- the numbers


@pytest.mark.parametrize("reference", ReferenceContext)
@pytest.mark.parametrize("conditioning", Conditioning)
@pytest.mark.parametrize("token_budget", [16, 400])
def test_numbers_are_those_of_separate_sequences(model, pairs, conditioning, reference, token_budget):
    """Sums, not means (complaint 8), each at its own pair, whatever shares a row; within 1e-9 in float64."""
    separator, draft_cap = Separator(before_target=(95, 96)), 5
    result = reference_logps(
        model, pairs, conditioning, reference, separator=separator, draft_cap=draft_cap, token_budget=token_budget
    )
    stock = keep_float64(tiny_model("llama"))
    assert set(result.sums) == set(conditioning.reference_requests(reference))
    for index, pair in enumerate(pairs):
        of_pair = Conditioning.AVERAGED if conditioning is not Conditioning.ONE_SIDED else conditioning
        tokens = stock_logps(stock, [pair], of_pair, separator=separator, draft_cap=draft_cap)
        if conditioning is Conditioning.ONE_SIDED:
            tokens = torch.cat([stock_logps(stock, [pair], Conditioning.NONE), tokens])
        requests = list(dict.fromkeys((CHOSEN, REJECTED, *of_pair.requests())))
        counts = [len(pair.chosen if request.target is Role.CHOSEN else pair.rejected) for request in requests]
        expected = dict(zip(requests, sequence_logps(tokens, counts).sums, strict=True))
        for request, sums in result.sums.items():
            torch.testing.assert_close(sums[index], expected[request], rtol=0, atol=1e-9)
            assert result.lengths[request][index] == counts[requests.index(request)]


def test_a_plain_reference_costs_the_prompt_and_two_responses(model, calls):
    pair = PreferencePair([1, 2, 3], [4, 5, 2], [6, 7, 8, 2])
    reference_logps(model, [pair], SYMMETRIC, PLAIN)
    assert [len(row) for row in calls] == [3 + 2 + 3]  # a response's last token has no row


def test_plain_log_probs_come_along_for_metrics(model, pairs):
    result = reference_logps(model, pairs, SYMMETRIC, CONDITIONED, with_plain=True)
    plain = reference_logps(model, pairs, Conditioning.NONE)
    for request in (CHOSEN, REJECTED):
        torch.testing.assert_close(result.sums[request], plain.sums[request])
    assert len(result.sums) == 4


def test_end_of_turn_can_be_left_out(model):
    """Appendix C.1: a response cut short has none, so neither counts it."""
    pair = PreferencePair([1, 3], [4, 5, 2], [6, 7, 8])
    whole, without = (reference_logps(model, [pair], Conditioning.NONE, eos_ids=ids) for ids in ((), (2,)))
    assert [int(without.lengths[request]) for request in (CHOSEN, REJECTED)] == [2, 3]
    assert whole.lengths[CHOSEN] == 3
    cut = reference_logps(model, [replace(pair, chosen=(4, 5))], Conditioning.NONE)
    torch.testing.assert_close(without.sums[CHOSEN], cut.sums[CHOSEN])
    assert whole.key != without.key


def test_selection_is_what_the_conditioning_takes(model, pairs):
    result = reference_logps(model, pairs, SYMMETRIC)
    policy = {request: torch.zeros(2, dtype=torch.float64) for request in SYMMETRIC.requests()}
    ((_, of_loss),) = SYMMETRIC.terms(policy, result.select([7, 2]))
    assert of_loss.ref_chosen_logps.tolist() == [float(result.sums[CHOSEN][i]) for i in (7, 2)]
    assert len(result) == len(pairs)


def test_dropout_is_off_and_the_mode_restored(pairs):
    dropping = make_model(attention_dropout=0.5).train()
    assert same(reference_logps(dropping, pairs[:3], SYMMETRIC), reference_logps(make_model(), pairs[:3], SYMMETRIC))
    assert dropping.training


def test_a_log_prob_that_is_not_finite_names_its_record(model, pairs):
    """Complaint 7: no NaN goes on quietly."""
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"^record 0: the reference log-prob of chosen is nan"):
        reference_logps(model, pairs, SYMMETRIC)


def test_no_pairs_and_ranks_without_a_folder(model, pairs):
    with pytest.raises(ValueError, match="there are no pairs"):
        reference_logps(model, [], SYMMETRIC)
    with pytest.raises(ValueError, match="through files: give cache_dir"):
        reference_logps(model, pairs, SYMMETRIC, ranks=Ranks(0, 2))


# --- the cache


def test_a_second_call_reads_the_file(model, pairs, calls, tmp_path):
    first = reference_logps(model, pairs, SYMMETRIC, cache_dir=tmp_path, template="chatml:1")
    assert calls
    calls.clear()
    assert same(first, reference_logps(model, pairs, SYMMETRIC, cache_dir=tmp_path, template="chatml:1"))
    assert not calls
    (file,) = tmp_path.glob("*.safetensors")
    sidecar = json.loads(file.with_suffix(".json").read_text())
    assert sidecar["key"] == first.key
    assert sidecar["key"]["template"] == "chatml:1"
    assert sidecar["pairs"] == len(pairs)
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".json"}


def test_objectives_with_the_same_needs_share_a_file(model, pairs, calls, tmp_path):
    """A plain reference has no context, so neither conditioning nor separator nor cap touches it."""
    plain = reference_logps(model, pairs, Conditioning.NONE, cache_dir=tmp_path)
    calls.clear()
    for conditioning in (Conditioning.SYMMETRIC, Conditioning.ONE_SIDED, Conditioning.AVERAGED):
        other = reference_logps(model, pairs, conditioning, separator=Separator((9,)), draft_cap=3, cache_dir=tmp_path)
        assert same(plain, other)
    assert not calls


def weights_changed(base):
    model = make_model()
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[3, 5] += 1e-12
    return {**base, "model": model}


def pair_changed(base):
    pair = base["pairs"][4]
    return {**base, "pairs": [*base["pairs"][:4], replace(pair, chosen=(*pair.chosen, 9)), *base["pairs"][5:]]}


def truncation_changed(base):
    limits = Limits(30, ("cut_prompt", "cut_responses", "drop"))
    return {**base, "pairs": fit(base["pairs"], SYMMETRIC, limits).pairs}


CHANGES: dict[str, Callable[[dict], dict]] = {
    "weights": weights_changed,
    "data": pair_changed,
    "data by truncation": truncation_changed,
    "data by order": lambda base: {**base, "pairs": base["pairs"][::-1]},
    "data by preference": lambda base: {
        **base,
        "pairs": [replace(base["pairs"][0], preference=0.9), *base["pairs"][1:]],
    },
    "template": lambda base: {**base, "template": "chatml:2"},
    "draft_cap": lambda base: {**base, "draft_cap": 4},
    "separator": lambda base: {**base, "separator": Separator((95,), (95,))},
    "dtype": lambda base: {**base, "model": make_model(dtype=torch.bfloat16)},
    "configuration": lambda base: {**base, "model": make_model(rms_norm_eps=1e-3)},
    "requests": lambda base: {**base, "conditioning": Conditioning.ONE_SIDED},
    "requests by reference": lambda base: {**base, "reference": PLAIN},
    "left_out_at_end": lambda base: {**base, "eos_ids": (2,)},
}


@pytest.fixture
def base(model, pairs):
    return {
        "model": model,
        "pairs": list(pairs),
        "conditioning": SYMMETRIC,
        "reference": CONDITIONED,
        "separator": NO_SEPARATOR,
        "draft_cap": 6,
        "template": "chatml:1",
    }


@pytest.mark.parametrize("part", CHANGES)
def test_whatever_changes_misses(part, base, calls, tmp_path):
    """A stale cache is impossible: another key is another file; and a file given by name says what differs."""
    reference_logps(**base, cache_dir=tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    calls.clear()
    changed = CHANGES[part](base)
    with pytest.raises(ValueError, match="made for other ") as error:
        reference_logps(**changed, cache_file=file)
    assert part.split(" by ", maxsplit=1)[0] in str(error.value).split(":")[1]
    assert "\n" not in str(error.value)
    assert not calls
    reference_logps(**changed, cache_dir=tmp_path)
    assert calls
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    calls.clear()
    reference_logps(**base, cache_file=file)
    assert not calls


def test_autocast_is_part_of_the_dtype(pairs):
    model = make_model(dtype=torch.float32)
    plain = reference_logps(model, pairs[:2], SYMMETRIC)
    with torch.autocast("cpu", torch.bfloat16):
        under = reference_logps(model, pairs[:2], SYMMETRIC)
    assert (plain.key["dtype"], under.key["dtype"]) == ("float32", "float32 under autocast to bfloat16")


def test_a_trained_policy_is_another_reference(model, pairs):
    """Complaint 3 (trl PR#6443): one step of training, another key."""
    before = weights_digest(model)
    assert before == weights_digest(make_model())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    row_logps(model, build_row(pairs[:1], SYMMETRIC)).sum().backward()
    assert weights_digest(model) == before  # gradients are not weights
    optimizer.step()
    assert weights_digest(model) != before


def test_adapters_switched_off_are_another_reference(pairs):
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(make_model(), peft.LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    on = reference_logps(model, pairs[:2], SYMMETRIC)
    with model.disable_adapter():
        off = reference_logps(model, pairs[:2], SYMMETRIC)
    assert on.key["weights"] == off.key["weights"]
    assert on.key["adapters"] != off.key["adapters"] == "off"
    assert not same(on, off)


def test_partitioned_weights_need_their_digest(model, pairs):
    """Complaint 4: under ZeRO-3 a rank has a part only; hashing that would make a key of nothing."""
    digest = weights_digest(model)
    model.lm_head.weight.ds_id = 0
    with pytest.raises(ValueError, match=r"lm_head.weight are not on this rank: take weights_digest\(model\) before"):
        reference_logps(model, pairs, SYMMETRIC)
    assert reference_logps(model, pairs, SYMMETRIC, weights=digest).key["weights"] == digest


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty])
def test_a_damaged_file_is_computed_again_and_said_so(damage, model, pairs, calls, tmp_path, caplog):
    first = reference_logps(model, pairs, SYMMETRIC, cache_dir=tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    damage(file)
    with pytest.raises(Damaged, match=r"not a whole reference cache|differ from their checksum"):
        read_columns(file, first.key, (0, len(pairs)))
    with pytest.raises(ValueError, match=file.name):
        reference_logps(model, pairs, SYMMETRIC, cache_file=file)
    calls.clear()
    with caplog.at_level(logging.WARNING):
        assert same(first, reference_logps(model, pairs, SYMMETRIC, cache_dir=tmp_path))
    assert calls
    assert caplog.text.count("computing again") == 1
    calls.clear()
    reference_logps(model, pairs, SYMMETRIC, cache_dir=tmp_path)
    assert not calls


def test_a_renamed_file_of_another_key_is_not_used(model, pairs, calls, tmp_path):
    reference_logps(model, pairs, SYMMETRIC, cache_dir=tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    key = reference_logps(model, pairs[:5], SYMMETRIC).key
    wrong = CacheFolder(tmp_path, key, 5).file
    file.rename(wrong)
    calls.clear()
    assert len(reference_logps(model, pairs[:5], SYMMETRIC, cache_dir=tmp_path)) == 5
    assert calls


@pytest.mark.usefixtures("small_shards")
def test_an_interrupted_pass_continues(model, pairs, calls, tmp_path, monkeypatch, caplog):
    """Killed in its second shard of three, with a damaged first shard: bit-identical in the end."""
    whole = reference_logps(model, pairs, SYMMETRIC, token_budget=16)
    needed = len(calls)
    calls.clear()
    stop_after = needed * 2 // 3

    def killed(model, row, **options):
        if len(calls) == stop_after:
            raise KeyboardInterrupt
        calls.append(row)
        return row_logps(model, row, **options)

    with monkeypatch.context() as patch:
        patch.setattr(scaled.reference, "row_logps", killed)
        with pytest.raises(KeyboardInterrupt):
            reference_logps(model, pairs, SYMMETRIC, token_budget=16, cache_dir=tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))
    shards = sorted(tmp_path.glob("*.shards/*.safetensors"))
    assert shards
    calls.clear()
    with caplog.at_level(logging.INFO):
        again = reference_logps(model, pairs, SYMMETRIC, token_budget=16, cache_dir=tmp_path)
    assert same(whole, again)
    assert 0 < len(calls) < needed
    assert f"{len(shards)} of 3 shards are there already" in caplog.text
    assert not list(tmp_path.glob("*.shards"))


# --- several ranks


class Wrapper(nn.Module):
    """As DDP or DeepSpeed: what is inside is only reached through this forward."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        self.calls = 0

    def forward(self, **inputs):
        self.calls += 1
        return self.module(**inputs)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("wrapped", [False, True])
def test_ranks_share_the_work_and_all_have_the_result(wrapped, pairs, tmp_path):
    """Complaint 4 (trl PR#6403): wrapped, every rank makes the same number of calls, so that none waits for ever."""
    expected = reference_logps(make_model(), pairs, SYMMETRIC, token_budget=16)
    barrier = threading.Barrier(2, timeout=30)
    models, results = [make_model(), make_model()], [None, None]
    if wrapped:
        for model in models:
            enable_tree_rows(model)
        models = [Wrapper(model) for model in models]

    def work(rank):
        ranks = Ranks(rank, 2, barrier.wait)
        results[rank] = reference_logps(
            models[rank], pairs, SYMMETRIC, token_budget=16, cache_dir=tmp_path, ranks=ranks
        )

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same(results[0], expected)
    assert same(results[1], expected)
    if wrapped:
        assert models[0].calls == models[1].calls > 0


@pytest.mark.usefixtures("small_shards")
def test_ranks_without_a_shared_folder_are_told(pairs, tmp_path):
    with pytest.raises(ValueError, match="is missing: the cache's folder must be shared by all ranks"):
        reference_logps(make_model(), pairs, SYMMETRIC, cache_dir=tmp_path, ranks=Ranks(0, 2))


# --- where training starts


def policy_logps(model, pairs, conditioning):
    """Each pair in a row of its own, as no reference pass packs them."""
    parts = [build_row([pair], conditioning) for pair in pairs]
    sums = []
    for row in parts:
        with torch.no_grad():
            tokens = row_logps(model, row)
        sums.append(by_request(row.targets, sequence_logps(tokens, [len(t.labels) for t in row.targets]).sums))
    return {request: torch.cat([of_pair[request] for of_pair in sums]) for request in conditioning.requests()}


@pytest.mark.parametrize("conditioning", Conditioning)
def test_the_margin_at_step_0_is_zero_with_a_conditioned_reference(model, pairs, conditioning):
    """Exactly, from the same rows; to rounding, where policy and reference are packed in other ways."""
    reference = reference_logps(model, pairs, conditioning, CONDITIONED).sums
    again = reference_logps(model, pairs, conditioning, CONDITIONED).sums
    assert initial_margins(again, reference, conditioning, CONDITIONED).abs().max() == 0
    policy = policy_logps(model, pairs, conditioning)
    assert initial_margins(policy, reference, conditioning, CONDITIONED).abs().max() < 1e-10


@torch.no_grad()
@pytest.mark.parametrize("conditioning", Conditioning)
def test_the_margin_at_step_0_with_a_plain_reference_is_what_the_other_response_does(model, pairs, conditioning):
    """Against log-probs of separate sequences: zero for plain DPO, and only there."""
    reference = reference_logps(model, pairs, conditioning, PLAIN).sums
    margins = initial_margins(policy_logps(model, pairs, conditioning), reference, conditioning, PLAIN)
    stock = keep_float64(tiny_model("llama"))
    for pair, margin in zip(pairs, margins, strict=True):
        w, l = len(pair.chosen), len(pair.rejected)  # noqa: E741  # the formulas' own names
        plain = sequence_logps(stock_logps(stock, [pair], Conditioning.NONE), [w, l]).sums
        expected = 0.0
        for term in conditioning.contrasts:
            position = [conditioning.requests().index(request) for request in (term.chosen, term.rejected)]
            counts = [w if request.target is Role.CHOSEN else l for request in conditioning.requests()]
            sums = sequence_logps(stock_logps(stock, [pair], conditioning), counts).sums
            expected += term.weight * float((sums[position[0]] - plain[0]) - (sums[position[1]] - plain[1]))
        assert float(margin) == pytest.approx(expected, abs=1e-9)
    assert (margins.abs().max() < 1e-10) == (conditioning is Conditioning.NONE)


def test_step_0_on_real_pairs(tokenizer, real_records):  # noqa: F811  # fixtures
    """Float32, real text: conditioned zero; plain not."""
    pairs = tokenize(sorted(real_records, key=lambda r: len(r["chosen"] + r["rejected"]))[:24], tokenizer, "chatml")
    model = make_model(dtype=torch.float32, vocab_size=len(tokenizer))
    conditioned, plain = (
        reference_logps(model, pairs, SYMMETRIC, reference).sums for reference in (CONDITIONED, PLAIN)
    )
    assert initial_margins(conditioned, conditioned, SYMMETRIC, CONDITIONED).abs().max() == 0
    assert initial_margins(conditioned, plain, SYMMETRIC, PLAIN).abs().median() > 0.1


def test_the_documented_measurement_runs():
    """docs/reference.md: one line for each of two policies and two references; conditioned is zero."""
    root = Path(__file__).parents[1]
    run = subprocess.run(
        [sys.executable, root / "benchmarks" / "initial_margins.py", "--steps", "2", "--pairs", "20"],
        env={**os.environ, "PYTHONPATH": str(root)},
        check=True,
        capture_output=True,
        text=True,
    )
    lines = [line for line in run.stdout.splitlines() if " plain | " in line or " conditioned | " in line]
    assert len(lines) == 4
    for line in lines:
        assert (set(line.split(" | ")[2:]) <= {"0.00", "0.00 |"}) == (" conditioned | " in line)

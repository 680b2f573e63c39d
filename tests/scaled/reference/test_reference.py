"""Reference log-probs: the right numbers, a cache that cannot be stale, and where training starts."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_base import ROOT
from tiny_models import keep_float64, random_pair, stock_logps, tiny_config, tiny_model

from inspo.conditioning import Conditioning, LogpRequest, ReferenceContext, Role
from inspo.hf.rows import enable_tree_rows, request_logps
from inspo.logprobs import sequence_logps
from inspo.metrics import weighted_scores
from inspo.pairs import PairLogps, PreferencePair
from inspo.preference_loss import PreferenceLoss
from inspo.prefix_tree import build_row
from inspo.sequences import Limits, Separator, scored_of
from scaled.data.examples import Examples, Layout, make_examples
from scaled.model.loading import weights_fingerprint
from scaled.reference import scoring
from scaled.reference.cache import CacheFolder, UnusableReferenceError, architecture_digest, reference_key
from scaled.reference.scoring import Pass, with_reference

CONDITIONED, PLAIN = ReferenceContext.CONDITIONED, ReferenceContext.PLAIN
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
def pairs() -> list[PreferencePair]:
    rng = np.random.default_rng(3)
    return [replace(random_pair(rng), record=number) for number in range(11)]


def laid_out(
    pairs: Sequence[PreferencePair],
    conditioning: Conditioning = SYMMETRIC,
    context: ReferenceContext = PLAIN,
    limits: Limits | None = None,
    **options: object,
) -> Examples:
    reference = conditioning.reference_requests(context)
    return make_examples(pairs, Layout(conditioning.requests(), reference, limits or Limits(), **options), "training")


def scored_by(model, folder: Path, row_tokens: int = 400, **about: str) -> Pass:
    return Pass(lambda: model, {"weights": "w"} | about, folder, row_tokens)


def same(one: Mapping, other: Mapping) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[request], other[request]) for request in one)


@pytest.fixture
def calls(monkeypatch) -> list:
    """The packed rows that went through a model."""
    rows = []

    def counted(model, row, **options):
        rows.append(row)
        return request_logps(model, row, **options)

    monkeypatch.setattr(scoring, "request_logps", counted)
    return rows


# --- the numbers


@pytest.mark.parametrize("context", ReferenceContext)
@pytest.mark.parametrize("conditioning", Conditioning)
@pytest.mark.parametrize("row_tokens", [16, 400])
def test_numbers_are_those_of_separate_sequences(model, pairs, conditioning, context, row_tokens, tmp_path):
    """Sums, not means, each at its own pair, whatever shares a row; within 1e-9 in float64."""
    separator, limits = Separator(before_target=(95, 96)), Limits(max_length=200, draft_cap=0.025)
    examples = laid_out(pairs, conditioning, context, limits, separator=separator)
    assert examples.layout.draft_cap == 5
    result = with_reference(examples, scored_by(model, tmp_path, row_tokens)).reference
    stock = keep_float64(tiny_model("llama"))
    assert set(result) == set(conditioning.reference_requests(context))
    for index, pair in enumerate(pairs):
        for kind in Conditioning:
            counts = [int(scored_of(pair, request.target).sum()) for request in kind.requests()]
            tokens = stock_logps(stock, [pair], kind, separator=separator, draft_cap=5)
            for request, expected in zip(kind.requests(), sequence_logps(tokens, counts).sums, strict=True):
                if request in result:
                    torch.testing.assert_close(result[request][index], expected, rtol=0, atol=1e-9)


def test_a_plain_reference_costs_the_prompt_and_two_responses(model, calls, tmp_path):
    """From a tree that also has the cross-conditioned responses."""
    pair = PreferencePair([1, 2, 3], [4, 5, 2], [6, 7, 8, 2])
    with_reference(laid_out([pair]), scored_by(model, tmp_path))
    assert [len(row) for row in calls] == [3 + 2 + 3]  # a response's last token has no row


def test_a_log_prob_that_is_not_finite_names_its_record(model, pairs, tmp_path):
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(UnusableReferenceError, match=r"^record \d+: the reference log-prob of chosen is nan"):
        with_reference(laid_out(pairs), scored_by(model, tmp_path))


# --- the cache


def test_a_second_pass_reads_the_file_and_loads_no_weights(model, pairs, calls, tmp_path):
    examples = laid_out(pairs)
    first = with_reference(examples, scored_by(model, tmp_path, template="chatml:1"))
    assert calls
    calls.clear()
    cached = replace(scored_by(model, tmp_path, template="chatml:1"), model=lambda: pytest.fail("weights were loaded"))
    assert same(first.reference, with_reference(examples, cached).reference)
    assert not calls
    (file,) = tmp_path.glob("*.safetensors")
    sidecar = json.loads(file.with_suffix(".json").read_text())
    assert sidecar["key"]["template"] == "chatml:1"
    assert sidecar["pairs"] == len(pairs)
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".json"}


def test_objectives_with_the_same_needs_share_a_file(model, pairs, calls, tmp_path):
    """A plain reference has no context, so neither conditioning nor separator nor cap touches it."""
    plain = with_reference(laid_out(pairs, Conditioning.NONE), scored_by(model, tmp_path))
    calls.clear()
    for conditioning in set(Conditioning) - {Conditioning.NONE}:
        limits = Limits(max_length=200, draft_cap=0.015)
        other = with_reference(
            laid_out(pairs, conditioning, limits=limits, separator=Separator((9,))), scored_by(model, tmp_path)
        )
        assert same(plain.reference, other.reference)
    assert not calls


def changed_pair(pairs: list[PreferencePair]) -> list[PreferencePair]:
    return [*pairs[:4], replace(pairs[4], chosen=(*pairs[4].chosen, 9)), *pairs[5:]]


CAPPED = Limits(max_length=200, draft_cap=0.03)
CHANGES: dict[str, tuple[Callable[[list], list], dict, dict]] = {
    "data": (changed_pair, {}, {}),
    "data by order": (lambda pairs: pairs[::-1], {}, {}),
    "data by preference": (lambda pairs: [replace(pairs[0], preference=0.9), *pairs[1:]], {}, {}),
    "data by truncation": (list, {"limits": Limits(30, ("cut_prompt", "cut_responses", "drop"))}, {}),
    "draft_cap": (list, {"limits": replace(CAPPED, draft_cap=0.02)}, {}),
    "separator": (list, {"separator": Separator((95,), (95,))}, {}),
    "requests": (list, {"conditioning": Conditioning.ONE_SIDED}, {}),
    "requests by context": (list, {"context": PLAIN}, {}),
    **{name: (list, {}, {name: "another"}) for name in ("weights", "architecture", "dtype", "template", "attention")},
}


@pytest.mark.parametrize("part", CHANGES)
def test_whatever_changes_misses(part, model, pairs, calls, tmp_path):
    """A stale cache is impossible: another key is another file."""
    change, layout, about = CHANGES[part]
    options = {"context": CONDITIONED, "limits": CAPPED}
    names = dict.fromkeys(("architecture", "dtype", "template", "attention"), "one")
    with_reference(laid_out(pairs, **options), scored_by(model, tmp_path, **names))
    calls.clear()
    changed = laid_out(change(list(pairs)), **(options | layout))
    with_reference(changed, scored_by(model, tmp_path, **(names | about)))
    assert calls
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_an_architecture_is_told_by_what_it_computes():
    plain = architecture_digest(tiny_config("llama"))
    assert plain == architecture_digest(tiny_config("llama", use_cache=False))
    assert plain != architecture_digest(tiny_config("llama", rms_norm_eps=1e-3))


def test_one_step_of_training_is_another_reference(tmp_path):
    """Weights are told by the content of their files, to the bit."""
    fingerprints = []
    for folder, change in (("one", 0.0), ("same", 0.0), ("other", 1e-7)):
        model = tiny_model("llama")
        with torch.no_grad():
            model.model.layers[1].mlp.down_proj.weight[3, 5] += change
        model.save_pretrained(tmp_path / folder)
        fingerprints.append(weights_fingerprint(str(tmp_path / folder), model.config))
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


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
    examples = laid_out(pairs)
    first = with_reference(examples, scored_by(model, tmp_path)).reference
    (file,) = tmp_path.glob("*.safetensors")
    damage(file)
    calls.clear()
    with caplog.at_level(logging.WARNING):
        assert same(first, with_reference(examples, scored_by(model, tmp_path)).reference)
    assert calls
    assert caplog.text.count("computing again") == 1


def test_a_renamed_file_of_another_key_is_not_used(model, pairs, calls, tmp_path, caplog):
    with_reference(laid_out(pairs), scored_by(model, tmp_path))
    (file,) = tmp_path.glob("*.safetensors")
    fewer = laid_out(pairs[:5])
    key = reference_key(fewer, sorted(fewer.layout.reference, key=lambda r: r.target.value), {"weights": "w"})
    file.rename(CacheFolder(tmp_path, key, 5).file)
    calls.clear()
    assert len(with_reference(fewer, scored_by(model, tmp_path)).reference[CHOSEN]) == 5
    assert calls
    assert "made for other data" in caplog.text


def test_an_interrupted_pass_continues(model, pairs, calls, tmp_path, monkeypatch, caplog):
    """Killed in its second shard of three: bit-identical in the end, and the first shard is not scored again."""
    monkeypatch.setattr(scoring, "SHARD_PAIRS", 4)
    examples = laid_out(pairs)
    whole = with_reference(examples, scored_by(model, tmp_path / "whole", 16)).reference
    needed = len(calls)
    calls.clear()

    def killed(model, row, **options):
        if len(calls) == needed * 2 // 3:
            raise KeyboardInterrupt
        calls.append(row)
        return request_logps(model, row, **options)

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "request_logps", killed)
        with pytest.raises(KeyboardInterrupt):
            with_reference(examples, scored_by(model, tmp_path, 16))
    assert not list(tmp_path.glob("*.safetensors"))
    shards = sorted(tmp_path.glob("*.shards/*.safetensors"))
    assert shards
    calls.clear()
    with caplog.at_level(logging.INFO):
        assert same(whole, with_reference(examples, scored_by(model, tmp_path, 16)).reference)
    assert 0 < len(calls) < needed
    assert f"{len(shards)} of 3 shards are there already" in caplog.text
    assert not list(tmp_path.glob("*.shards"))


def test_ranks_without_a_shared_folder_are_told(model, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "SHARD_PAIRS", 4)
    monkeypatch.setattr(scoring, "world_size", lambda: 2)
    with pytest.raises(UnusableReferenceError, match="is missing: the cache's folder must be shared by all ranks"):
        with_reference(laid_out(pairs), scored_by(model, tmp_path))


# --- where training starts


def initial_margins(model, pairs, conditioning, context, folder) -> torch.Tensor:
    """Log-ratio of chosen minus that of rejected before training; the policy scores each pair in a row of its own."""
    reference = with_reference(laid_out(pairs, conditioning, context), scored_by(model, folder)).reference
    with torch.no_grad():
        rows = [request_logps(model, build_row([pair], conditioning)) for pair in pairs]
    policy = {request: torch.cat([row[request] for row in rows]) for request in conditioning.requests()}
    terms = PreferenceLoss("dpo", conditioning, reference_context=context).terms(policy, reference)
    chosen, rejected = weighted_scores(terms, PairLogps.logratios)
    return chosen - rejected


@pytest.mark.parametrize("conditioning", Conditioning)
def test_the_margin_at_step_0_is_zero_with_a_conditioned_reference(model, pairs, conditioning, tmp_path):
    assert initial_margins(model, pairs, conditioning, CONDITIONED, tmp_path).abs().max() < 1e-10


@torch.no_grad()
@pytest.mark.parametrize("conditioning", Conditioning)
def test_the_margin_at_step_0_with_a_plain_reference_is_what_the_other_response_does(
    model, pairs, conditioning, tmp_path
):
    """Against log-probs of separate sequences: zero for plain DPO, and only there."""
    margins = initial_margins(model, pairs, conditioning, PLAIN, tmp_path)
    stock = keep_float64(tiny_model("llama"))
    for pair, margin in zip(pairs, margins, strict=True):
        w, l = pair.scored_lengths  # noqa: E741  # the formulas' own names
        plain = sequence_logps(stock_logps(stock, [pair], Conditioning.NONE), [w, l]).sums
        counts = [w if request.target is Role.CHOSEN else l for request in conditioning.requests()]
        sums = sequence_logps(stock_logps(stock, [pair], conditioning), counts).sums
        of = dict(zip(conditioning.requests(), sums, strict=True))
        expected = sum(
            contrast.weight * float((of[contrast.chosen] - plain[0]) - (of[contrast.rejected] - plain[1]))
            for contrast in conditioning.contrasts
        )
        assert float(margin) == pytest.approx(expected, abs=1e-9)
    assert (margins.abs().max() < 1e-10) == (conditioning is Conditioning.NONE)


@pytest.mark.slow
def test_the_documented_measurement_runs():
    """docs/reference.md: one line for each of two policies and two references; conditioned is zero."""
    run = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "initial_margins.py", "--steps", "2", "--pairs", "20"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    lines = [line for line in run.stdout.splitlines() if " plain | " in line or " conditioned | " in line]
    assert len(lines) == 4
    for line in lines:
        assert (set(line.split(" | ")[2:]) <= {"0.00", "0.00 |"}) == (" conditioned | " in line)


def test_ranks_that_would_score_other_references_say_what_differs(tmp_path, pairs, monkeypatch):
    def never():
        raise AssertionError("scored")

    monkeypatch.setattr(scoring, "gathered", lambda mine: [mine, mine | {"dtype": "bfloat16", "weights": "others"}])
    with pytest.raises(UnusableReferenceError, match=r"other references \(dtype, weights differ\): give all machines"):
        with_reference(laid_out(pairs), Pass(never, {"weights": "w", "dtype": "float32"}, tmp_path))

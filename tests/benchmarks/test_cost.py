"""Tables 5 and 7 from the command to the cell: same pairs for both objectives, files that the tables read."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("trl")

import cost
import one_pass_measure
import one_pass_steps
from one_pass_pairs import Selection

from inspo.command_line import UserError
from inspo.hf.architectures import check_supported
from inspo.pairs import PreferencePair
from paper_figures import overhead
from paper_figures.measured import load
from scaled.model.random_weights import shipped_architecture

pytestmark = pytest.mark.trl


def synthetic_pairs(count: int, prompt: int, response: int, *, vocabulary: int, seed: int) -> Selection:
    """Random tokens: `count` pairs of one shape, without a common start."""
    rng = np.random.default_rng(seed)

    def tokens(length: int, first: int) -> list[int]:
        return [first, *rng.integers(4, vocabulary, length - 1).tolist()]

    pairs = tuple(
        PreferencePair(tokens(prompt, 1), tokens(response, 2), tokens(response, 3), record=number)
        for number in range(count)
    )
    return Selection(pairs, {}, vocabulary)


@pytest.fixture
def tiny(monkeypatch):
    """Each architecture with 2 layers and 3 synthetic pairs; peaks are given, not measured."""
    sizes = {"hidden": 32, "intermediate": 48, "layers": 2, "vocabulary": 64}
    for model in cost.MODELS:
        name = f"{model}-small"
        monkeypatch.setitem(one_pass_steps.SHAPES, name, replace(one_pass_steps.SHAPES[name], **sizes))
    monkeypatch.setattr(one_pass_measure, "select", lambda _: synthetic_pairs(3, 5, 9, vocabulary=64, seed=0))
    monkeypatch.setattr(cost, "peak_memory", lambda _bench, keys, _pairs: dict.fromkeys(keys, 2**30))


@pytest.mark.usefixtures("tiny")
def test_every_architecture_runs_and_its_files_are_read(tmp_path, capsys):
    words = ["--pairs", "3", "--turns", "2", "--new-tokens", "2", "--threads", "1", "--results", str(tmp_path)]
    assert cost.main(words) == 0
    printed = capsys.readouterr().out
    assert all(f"| {model} | " in printed for model in cost.MODELS)
    assert not (tmp_path / "cost").exists()  # small models fill no cell
    (tmp_path / "cost-small").rename(tmp_path / "cost")
    found = load(tmp_path)
    for model in cost.MODELS:
        quotient, error = overhead.ratio(found, model, "training_time")
        assert quotient > 0
        assert error > 0
        memory = found[model, "dpo", "memory"].value
        assert 1 < memory < 1.001  # 2^30 bytes, and AdamW's moments on top
        record = json.loads((tmp_path / "cost" / model / "dpo.json").read_text())
        assert record["setting"]["checkpointing"] is True
    hashes = {number.config_hash for number in found.values()}
    assert len(hashes) == 2 * len(cost.MODELS)


@pytest.mark.usefixtures("tiny")
def test_both_objectives_update_and_generate_in_every_turn(monkeypatch):
    order = []
    update, generate = cost.update, cost.generate
    monkeypatch.setattr(cost, "update", lambda *given: order.append("update") or update(*given))
    monkeypatch.setattr(cost, "generate", lambda *given: order.append("generate") or generate(*given))
    setting = one_pass_measure.Setting("llama-3-8b-small", "cpu", 64, False, 3, 1, "auto", 0, checkpointing=True)
    costs = cost.measure(setting, turns=2, budget=0, new_tokens=2)
    assert order == ["update", "generate"] * 2 * 3
    assert {run: len(each.training) for run, each in costs.items()} == {"dpo": 2, "ins-dpo": 2}


@pytest.mark.parametrize("model", cost.MODELS)
def test_shapes_are_the_shipped_architectures(model):
    shape = one_pass_steps.SHAPES[model]
    shipped = shipped_architecture(shape.family)
    assert (shape.hidden, shape.intermediate, shape.layers) == (
        shipped.hidden_size,
        shipped.intermediate_size,
        shipped.num_hidden_layers,
    )
    assert (shape.heads, shape.kv_heads, shape.vocabulary, shape.tied) == (
        shipped.num_attention_heads,
        shipped.num_key_value_heads,
        shipped.vocab_size,
        shipped.tie_word_embeddings,
    )
    assert shape.head in {None, shipped.head_dim}
    check_supported(shipped)


def test_a_mistake_is_one_line():
    for words, complaint in ((["--turns", "0"], "at least 1"), (["--max-length", "3"], "at least 16")):
        with pytest.raises(UserError, match=complaint):
            cost.parse(words)

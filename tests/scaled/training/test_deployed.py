"""Accuracy and margin of the deployed policy: of log pi(. | x) / pi_ref(. | x), against whole sequences read alone."""

import math
from pathlib import Path

import pytest
import torch
from tiny_base import small
from transformers import AutoModelForCausalLM

from inspo.losses import METHODS
from scaled.data.examples import PLAIN
from scaled.run.prepare import prepare_run
from scaled.run.run import assemble, run
from scaled.training.journal import read
from scaled.training.loop import shown


def log_prob(model, prompt, response) -> float:
    """log pi(response | prompt) in nats by transformers' own forward pass, on one sequence."""
    tokens = torch.tensor([[*prompt, *response]])
    with torch.no_grad():
        logps = model(tokens).logits[0, :-1].double().log_softmax(-1)
    return logps.gather(-1, tokens[0, 1:, None])[-len(response) :].sum().item()


@pytest.mark.parametrize("method", ["dpo", "simpo"])
def test_it_is_what_the_saved_model_says_without_context(method, base, tmp_path):
    """Also for a method without a reference: its margins say what training changed, in nats, not per token."""
    values = {"model": str(base), "limit": 24, "validation_size": 7, "max_updates": 2, "warmup_ratio": 0, "epochs": 8}
    config = small(tmp_path / "out", method=method, save_every=1, **values)
    run(config)
    lines = [line for line in read(tmp_path / "out" / "metrics.jsonl") if line["kind"] == "validation"]
    trained = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "checkpoint-2")
    reference = AutoModelForCausalLM.from_pretrained(base)
    ratios = [
        [
            log_prob(trained, pair.prompt, response) - log_prob(reference, pair.prompt, response)
            for response in (pair.chosen, pair.rejected)
        ]
        for pair in prepare_run(config).validation.pairs
    ]
    margins = [chosen - rejected for chosen, rejected in ratios]
    mean, wins = sum(margins) / 7, [float(margin > 0) for margin in margins]
    found = lines[-1]
    assert found["update"] == 2
    assert max(map(abs, margins)) > 0.1
    assert found["deployed_margin"] == pytest.approx(mean, abs=1e-3)
    assert found["deployed_accuracy"] == pytest.approx(sum(wins) / 7)
    for index, name in enumerate(("chosen", "rejected")):
        assert found[f"deployed_{name}_logratio"] == pytest.approx(sum(pair[index] for pair in ratios) / 7, abs=1e-3)
    spread = math.sqrt(sum((margin - mean) ** 2 for margin in margins) / 6)
    assert found["deployed_margin_se"] == pytest.approx(spread / math.sqrt(7), abs=1e-3)
    share = sum(wins) / 7
    assert found["deployed_accuracy_se"] == pytest.approx(math.sqrt(share * (1 - share) * 7 / 6 / 7), abs=1e-9)


@pytest.mark.parametrize(("method", "scored"), [("simpo", set()), ("dpo", set(PLAIN))])
def test_it_can_be_left_out(method, scored, base, tmp_path):
    """Also where the loss's own reference is the plain one."""
    config = small(
        tmp_path, model=str(base), limit=24, validation_size=8, measure_deployed=False, method=method, max_updates=1
    )
    training = assemble(config, prepare_run(config))
    assert set(training.examples.reference) == scored
    assert shown(training) == ("loss", "accuracy", "margin")
    run(config)
    assert not any("deployed" in name for line in read(Path(config.out) / "metrics.jsonl") for name in line)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_it(method, base, tmp_path):
    config = small(tmp_path, model=str(base), limit=24, validation_size=8, method=method)
    training = assemble(config, prepare_run(config))
    assert set(PLAIN) <= set(training.examples.reference)
    assert set(PLAIN) <= set(training.validation.examples.reference)
    assert shown(training) == ("loss", "deployed_accuracy", "deployed_margin")

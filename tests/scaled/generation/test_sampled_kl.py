"""KL from the policy's own samples: the right expectation, and nothing of the training is touched by it."""

from collections import deque
from pathlib import Path

import pytest
import torch
from tiny_base import small, write_base
from transformers import AutoModelForCausalLM

from inspo.hf import enable_tree_rows
from scaled.generation.batching import TransformersBackend
from scaled.generation.interface import Request, Settings
from scaled.generation.sampled_kl import SampledKl
from scaled.run.prepare import prepare_run
from scaled.run.run import run
from scaled.training.journal import TIMES, read

SHORT = {"limit": 40, "validation_size": 24, "method": "simpo", "max_updates": 2, "validate_every": 1}


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> list[Path]:
    """Two models of one architecture and tokenizer."""
    root = tmp_path_factory.mktemp("bases")
    return [write_base(root / f"base-{seed}", seed) for seed in (1, 2)]


def sharpen(model: torch.nn.Module) -> None:
    """Random weights say little; the policy shall prefer some tokens to others."""
    model.get_output_embeddings().weight.data.mul_(12)


def without_samples(line: dict) -> dict:
    return {name: value for name, value in line.items() if name not in TIMES and "sample" not in name}


@pytest.mark.slow
def test_it_is_the_expectation_of_the_exact_kl_of_each_next_token(bases, tmp_path):
    """Along samples, log pi - log pi_ref and the sum of the next tokens' exact KLs have one expectation."""
    prompts = [pair.prompt for pair in prepare_run(small(tmp_path, model=str(bases[0]), **SHORT)).validation.pairs]
    policy, reference = (AutoModelForCausalLM.from_pretrained(base).eval() for base in bases)
    for model in (policy, reference):
        enable_tree_rows(model)
    sharpen(policy)
    numbers = SampledKl(prompts, max_tokens=6, end=2, seed=5, reference=reference).estimate(policy, update=7)

    stock = [AutoModelForCausalLM.from_pretrained(base).eval() for base in bases]
    sharpen(stock[0])
    differences, lengths = [], []
    ratios = torch.zeros(len(prompts))
    for index, prompt in enumerate(prompts):
        request = Request(f"5/7/{index}", tuple(prompt), Settings(max_tokens=6))
        ((_, written),) = TransformersBackend(policy, [2], slots=1).generate(deque([request]))
        response = written.tokens
        tokens = torch.tensor([[*prompt, *response]])
        with torch.no_grad():
            ours, theirs = (model(tokens).logits[0, len(prompt) - 1 : -1].log_softmax(-1) for model in stock)
        exact = (ours.exp() * (ours - theirs)).sum()
        ratios[index] = (ours - theirs).gather(-1, torch.tensor(response)[:, None]).sum()
        differences.append(ratios[index] - exact)
        lengths.append(len(response))
    assert numbers["sample_kl"] == pytest.approx(ratios.mean().item(), rel=1e-4)
    assert numbers["sample_kl_error"] == pytest.approx(ratios.std().item() / len(prompts) ** 0.5, rel=1e-4)
    assert numbers["sample_length"] == pytest.approx(sum(lengths) / len(lengths))
    spread = torch.stack(differences)
    assert abs(spread.mean()) < 4 * spread.std() / len(prompts) ** 0.5
    assert numbers["sample_kl"] > 4 * numbers["sample_kl_error"]


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [{}, {"lora_rank": 4, "lora_dropout": 0.1}], ids=["weights", "adapter"])
def test_it_starts_at_zero_grows_and_leaves_training_as_it_is(bases, tmp_path, adapter):
    journals = []
    for name, asked in (("with", {"sample_kl": 2, "sample_tokens": 4}), ("without", {})):
        config = small(
            tmp_path / name,
            model=str(bases[0]),
            learning_rate=3e-2,
            warmup_start=0,
            warmup_ratio=0.5,
            **SHORT,
            **adapter,
            **asked,
        )
        run(config)
        journals.append(read(tmp_path / name / "metrics.jsonl"))
    first, last = (line for line in journals[0] if line["kind"] == "validation")
    assert first["sample_kl"] == pytest.approx(0, abs=1e-4)  # the first update has a rate of zero
    assert abs(last["sample_kl"]) > 1e-3
    assert 1 <= last["sample_length"] <= 4
    ours, plain = ([without_samples(line) for line in journal] for journal in journals)
    assert ours == plain

"""KL from the policy's own samples: the right expectation, and nothing of the training is touched by it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from inspo.hf.rows import load_policy
from scaled.base import make_base
from scaled.config import TrainConfig
from scaled.journal import TIMES, read
from scaled.objective import prepare
from scaled.prepare import prepare_run
from scaled.records import load_records
from scaled.run import run
from scaled.sampling import Sampling, draw, sample_kl

TINY = Path(__file__).parents[1] / "scaled" / "examples" / "tiny.jsonl"


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> list[Path]:
    """Two models of one architecture and tokenizer."""
    folders = [tmp_path_factory.mktemp("bases") / f"base-{seed}" for seed in (1, 2)]
    for seed, folder in enumerate(folders, 1):
        make_base(folder, "tiny-llama", load_records(TINY), seed)
    return folders


def small(base: Path, out: Path, **changes: object) -> TrainConfig:
    values = {
        "model": str(base),
        "data": str(TINY),
        "limit": 40,
        "validation_size": 24,
        "out": str(out),
        "method": "simpo",
        "max_length": 96,
        "batch_size": 8,
        "micro_batch": 8,
        "max_updates": 2,
        "evaluate_every": 1,
        "precision": "float32",
        "gradient_checkpointing": False,
        "zero_stage": 0,
        "threads": 1,
        "tensorboard": False,
    }
    return TrainConfig(**(values | changes))


def sharpen(model: torch.nn.Module) -> None:
    """Random weights say little; the policy shall prefer some tokens to others."""
    model.get_output_embeddings().weight.data.mul_(12)


def without_samples(line: dict) -> dict:
    return {name: value for name, value in line.items() if name not in TIMES and "sample" not in name}


def test_it_is_the_expectation_of_the_exact_kl_of_each_next_token(bases, tmp_path):
    """Along samples, log pi - log pi_ref and the sum of the next tokens' exact KLs have one expectation."""
    prompts = [pair.prompt for pair in prepare_run(small(bases[0], tmp_path)).held_out.pairs]
    policy, reference = (load_policy(str(base)).eval() for base in bases)
    for model in (policy, reference):
        prepare(model)
    sharpen(policy)
    sampling = Sampling(prompts, most=6, end=2, seed=5, reference=reference)
    numbers = sample_kl(policy, sampling, update=7)

    stock = [AutoModelForCausalLM.from_pretrained(base).eval() for base in bases]
    sharpen(stock[0])
    differences, lengths = [], []
    ratios = torch.zeros(len(prompts))
    for index, prompt in enumerate(prompts):
        seed = int(np.random.default_rng([5, 7, index]).integers(2**63))
        response = draw(policy, prompt, sampling, seed)
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


@pytest.mark.parametrize("adapter", [{}, {"lora_rank": 4, "lora_dropout": 0.1}], ids=["weights", "adapter"])
def test_it_starts_at_zero_grows_and_leaves_training_as_it_is(bases, tmp_path, adapter):
    journals = []
    for name, asked in (("with", {"sample_kl": 2, "sample_tokens": 4}), ("without", {})):
        config = small(
            bases[0], tmp_path / name, learning_rate=3e-2, warmup_start=0, warmup_ratio=0.5, **adapter, **asked
        )
        run(config)
        journals.append(read(tmp_path / name / "metrics.jsonl"))
    first, last = (line for line in journals[0] if line["kind"] == "validation")
    assert first["sample_kl"] == pytest.approx(0, abs=1e-4)  # the first update has a rate of zero
    assert abs(last["sample_kl"]) > 1e-3
    assert 1 <= last["sample_length"] <= 4
    ours, plain = ([without_samples(line) for line in journal] for journal in journals)
    assert ours == plain

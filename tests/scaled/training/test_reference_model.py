"""A reference that is not what training starts from: `reference_model`."""

import json

import pytest
import torch
from stops import StopAfter
from tiny_base import small, write_base

from inspo.command_line import UserError
from scaled.generation.policy import Policy
from scaled.run.prepare import prepare_run
from scaled.run.run import assemble, run

FEW = {"limit": 24, "validation_size": 8, "max_updates": 2, "save_every": 1, "warmup_ratio": 0}


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another model of the same tokens."""
    return write_base(tmp_path_factory.mktemp("other") / "other", seed=2)


def assembled(out, **changes):
    config = small(out, **(FEW | changes))
    return assemble(config, prepare_run(config))


def test_it_scores_and_the_model_is_trained(base, other, tmp_path):
    both = assembled(tmp_path / "both", model=str(base), reference_model=str(other))
    alone, theirs = (assembled(tmp_path / name, model=str(path)) for name, path in (("base", base), ("other", other)))
    for mine, start, wanted in (
        (both.examples, alone.examples, theirs.examples),
        (both.validation.examples, alone.validation.examples, theirs.validation.examples),
    ):
        for request, values in mine.reference.items():
            torch.testing.assert_close(values, wanted.reference[request], rtol=0, atol=0)
            assert (values - start.reference[request]).abs().max() > 1
    weights, starting = both.model.state_dict(), alone.model.state_dict()
    assert all(torch.equal(weights[name], starting[name]) for name in starting)


@pytest.mark.parametrize("rank", [None, 4])
def test_its_kl_is_to_the_reference(rank, base, other, tmp_path):
    """With an adapter too, which could only be switched off to the initial weights."""
    changes = {"model": str(base), "sample_kl": 2, "sample_tokens": 8, "lora_rank": rank}
    both = assembled(tmp_path / "both", reference_model=str(other), **changes)
    both.model.eval()
    assert abs(both.validation.sample(0)["sample_kl"]) > 0.1
    alone = assembled(tmp_path / "alone", **changes)
    alone.model.eval()
    assert abs(alone.validation.sample(0)["sample_kl"]) < 1e-4


def test_what_a_run_leaves_names_it_and_another_one_is_not_trained_against(base, tmp_path):
    values = FEW | {"model": str(base), "reference_model": str(tmp_path / "reference")}
    write_base(tmp_path / "reference", seed=2)
    out = tmp_path / "out"
    run(small(out, **values), StopAfter(1))
    write_base(tmp_path / "reference", seed=3)
    with pytest.raises(UserError, match="checkpoint-1 was made with other weights of the reference: put them back"):
        run(small(out, **values))
    write_base(tmp_path / "reference", seed=2)
    run(small(out, **values))
    assert json.loads((out / "run.json").read_text())["reference_weights_fingerprint"]
    assert f"reference, `{tmp_path / 'reference'}`" in (out / "model" / "README.md").read_text()
    assert Policy.of(str(out)).reference == (str(tmp_path / "reference"), None)
    assert "holds a finished run" in run(small(out, **values))
    write_base(tmp_path / "reference", seed=3)
    with pytest.raises(UserError, match="holds a run on other weights of the reference"):
        run(small(out, **values))


def test_mistakes_are_one_line(base, tmp_path):
    def refused(message, **changes):
        with pytest.raises(ValueError, match=message):
            prepare_run(small(tmp_path / "out", **(FEW | {"model": str(base)} | changes)))

    nowhere = str(tmp_path / "nowhere")
    refused(f"^reference_model = {nowhere}: cannot be loaded", reference_model=nowhere)
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"prompt": "abc", "chosen": "def", "rejected": "ghi"}) + "\n")
    foreign = write_base(tmp_path / "foreign", seed=1, data=data)
    refused("has other tokens than the policy", reference_model=str(foreign))
    refused("simpo has no reference", reference_model=str(base), method="simpo", measure_deployed=False)

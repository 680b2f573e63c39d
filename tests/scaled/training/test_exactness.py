"""Ranks, ZeRO, packing and checkpointing do not change a trajectory: two launches of many trainings."""

import json
from pathlib import Path

import pytest
import torch
from launching import (
    COMMON,
    HERE,
    launch,
    numbers,
    weights,
)

pytestmark = pytest.mark.slow


VARIANTS = {
    "ddp-packed": {"zero_stage": 0, "row_tokens": 300},
    "ddp-single": {"zero_stage": 0, "micro_batch": 1},
    "zero2-packed": {"zero_stage": 2, "row_tokens": 300},
    "zero2-single-checkpointing": {"zero_stage": 2, "micro_batch": 1, "gradient_checkpointing": True},
    "zero3-packed-checkpointing": {"zero_stage": 3, "row_tokens": 300, "gradient_checkpointing": True},
    "zero3-single": {"zero_stage": 3, "micro_batch": 1},
}
# Validation rows of one pair, an odd number of them: on two ranks one is scored twice.
KTO = {"method": "kto", "kl_group": 8, "beta": 0.1, "zero_stage": 3, "micro_batch": 1, "learning_rate": 3e-4}
KTO |= {"validation_size": 15}
BF16 = {"precision": "bf16", "row_tokens": 300, "learning_rate": 1e-3, "reference": "conditioned", "epochs": 4}
LORA = {"lora_rank": 4, "zero_stage": 3, "row_tokens": 300, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def trajectories(tmp_path_factory) -> Path:
    """Two launches: every variant on one rank and on two."""
    root = tmp_path_factory.mktemp("cells")
    for ranks in (1, 2):
        extra = {"kto": KTO, "lora": LORA}
        if ranks == 2:
            extra |= {f"bf16-zero{stage}": BF16 | {"zero_stage": stage} for stage in (1, 2, 3)}
        cells = [
            COMMON | {"max_updates": 4, "epochs": 2} | values | {"out": str(root / f"{name}-{ranks}")}
            for name, values in (VARIANTS | extra).items()
        ]
        file = root / f"cells-{ranks}.json"
        file.write_text(json.dumps(cells))
        done = launch(ranks, str(HERE / "launched_cells.py"), str(file))
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return root


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("variant", VARIANTS)
def test_ranks_zero_packing_and_checkpointing_do_not_change_the_trajectory(trajectories, variant, ranks):
    reference, other = trajectories / "ddp-packed-1", trajectories / f"{variant}-{ranks}"
    expected, found = numbers(reference), numbers(other)
    assert [line["update"] for line in found] == [line["update"] for line in expected]
    for theirs, ours in zip(expected, found, strict=True):
        for name in ("loss", "grad_norm", "learning_rate"):
            if name in theirs:
                assert ours[name] == pytest.approx(theirs[name], rel=1e-5)
        for name in ("margin", "deployed_margin", "chosen_logps", "rejected_logps"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5, abs=1e-4)
    difference = weights(other) - weights(reference)
    assert difference.norm() <= 1e-5 * weights(reference).norm()


@pytest.mark.parametrize("name", ["kto", "lora"])
def test_kto_and_lora_do_not_depend_on_ranks(trajectories, name):
    one, two = (numbers(trajectories / f"{name}-{ranks}") for ranks in (1, 2))
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], rel=1e-5)
    assert one[-1]["margin"] > one[0]["margin"] + 1


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_bf16_learns_under_deepspeed(trajectories, stage):
    """Beginning at its reference, which it equals bit by bit."""
    lines = numbers(trajectories / f"bf16-zero{stage}-2")
    assert lines[0]["margin"] == lines[0]["chosen_logratio"] == 0
    assert lines[-1]["margin"] > 5


def test_the_trained_folder_generates(trajectories):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = trajectories / "zero3-packed-checkpointing-2" / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Name three birds."}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    made = model.generate(**inputs, max_new_tokens=5, do_sample=False)
    assert inputs["input_ids"].shape[1] < made.shape[1]
    card = (folder / "README.md").read_text()
    record = json.loads((folder.parent / "run.json").read_text())
    for fact in ("**dpo**", "**symmetric**", record["config_hash"], record["data_fingerprint"][:16]):
        assert fact in card
    assert record["versions"]["torch"] == torch.__version__
    assert record["git_revision"] == "unknown" or len(record["git_revision"].partition("+")[0]) == 40


def test_a_lora_adapter_merges(trajectories):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    run = trajectories / "lora-2"
    base = AutoModelForCausalLM.from_pretrained(run / "base")
    tokens = torch.arange(40).view(1, -1) + 300
    plain = base(tokens).logits
    adapted = PeftModel.from_pretrained(base, run / "adapter")(tokens).logits
    merged = AutoModelForCausalLM.from_pretrained(run / "model")(tokens).logits
    torch.testing.assert_close(merged, adapted, rtol=1e-4, atol=1e-4)
    assert (merged - plain).abs().max() > 0.01

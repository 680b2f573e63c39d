"""InSPOTrainer against TRL's DPOTrainer and against the trainer's own losses, and what it adds and refuses."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from datasets import Dataset
from tiny_base import SMALL, TINY, write_base
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl_options import IN_ORDER

from scaled.data.templates import NAMED

pytestmark = [pytest.mark.trl, pytest.mark.slow]

UPDATES, BATCH = 10, 4


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A small random model; its template ends a reply with its end-of-turn token and nothing after it."""
    return write_base(tmp_path_factory.mktemp("base") / "base", seed=3, chat_template=NAMED["plain"])


@pytest.fixture(scope="module")
def dataset():
    rows = [json.loads(line) for line in TINY.read_text().splitlines()[: UPDATES * BATCH]]
    return Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": row["prompt"]}],
                "chosen": [{"role": "assistant", "content": row["chosen"]}],
                "rejected": [{"role": "assistant", "content": row["rejected"]}],
            }
            for row in rows
        ]
    )


OPTIONS = IN_ORDER | {"per_device_train_batch_size": BATCH, "max_length": None}


def trainer(base, out, dataset, **options):
    from inspo.trl import InSPOConfig, InSPOTrainer

    others = {name: options.pop(name) for name in ("peft_config", "eval_dataset", "callbacks") if name in options}
    return InSPOTrainer(
        AutoModelForCausalLM.from_pretrained(base),
        args=InSPOConfig(output_dir=str(out), **OPTIONS | options),
        train_dataset=dataset,
        processing_class=AutoTokenizer.from_pretrained(base),
        **others,
    )


def losses_of(made, **options):
    made.train(**options)
    return [entry["loss"] for entry in made.state.log_history if "loss" in entry]


def close(ours, theirs, rtol=1e-6):
    """To 1e-6 and 1e-6 of their size: a response's log-prob of some 100 nats is rounded to 8e-6 in float32."""
    assert len(ours) == len(theirs) > 1
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=rtol, atol=1e-6)


@pytest.fixture(scope="module")
def trls(base, dataset, tmp_path_factory):
    """The losses of TRL's own trainer."""
    from trl import DPOConfig, DPOTrainer

    made = DPOTrainer(
        AutoModelForCausalLM.from_pretrained(base),
        args=DPOConfig(output_dir=str(tmp_path_factory.mktemp("trl")), **OPTIONS),
        train_dataset=dataset,
        processing_class=AutoTokenizer.from_pretrained(base),
    )
    return losses_of(made)


@pytest.mark.parametrize("engine", ["rows", "tree"])
@pytest.mark.parametrize("loss_type", ["sigmoid", "inspo:dpo"])
def test_without_a_context_it_is_trls(engine, loss_type, base, dataset, trls, tmp_path):
    close(losses_of(trainer(base, tmp_path, dataset, conditioning="none", engine=engine, loss_type=[loss_type])), trls)


CONDITIONED = [
    *itertools.product(["symmetric", "one_sided", "averaged", "anchored"], ["plain"], [False]),
    ("symmetric", "conditioned", False),
    ("averaged", "plain", True),
    ("averaged", "conditioned", True),
    ("anchored", "conditioned", False),
    ("anchored", "conditioned", True),
]


@pytest.mark.parametrize(("conditioning", "reference", "precompute"), CONDITIONED)
def test_losses_are_those_of_the_trainer_here(conditioning, reference, precompute, base, dataset, tmp_path):
    """scaled/train.py on the same data in the same order; by rows and by trees, and with stored references."""
    from scaled.config import TrainConfig
    from scaled.run.run import run

    options = {"conditioning": conditioning, "reference": reference, "precompute_ref_log_probs": precompute}
    found = {
        engine: losses_of(trainer(base, tmp_path / engine, dataset, engine=engine, **options))
        for engine in ("rows", "tree")
    }
    close(found["rows"], found["tree"])
    values = SMALL | {"model": str(base), "data": str(TINY), "limit": UPDATES * BATCH, "validation_size": 0}
    values |= {"conditioning": conditioning, "reference": reference, "beta": 0.2, "draft_cap": None}
    values |= {"max_length": 512, "batch_size": BATCH, "micro_batch": BATCH, "epochs": 1, "shuffle": False}
    values |= {"learning_rate": 2e-4, "warmup_ratio": 0, "schedule": "constant", "out": str(tmp_path / "out")}
    del values["architecture"]
    run(TrainConfig(**values))
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    close(found["tree"], [line["loss"] for line in lines if line["kind"] == "update"])


@pytest.mark.parametrize("method", ["ipo", "r-dpo", "simpo", "orpo", "rrhf", "slic", "cpo", "kto"])
def test_every_method_is_a_loss_type(method, base, dataset, tmp_path):
    found = [
        losses_of(trainer(base, tmp_path / engine, dataset, engine=engine, loss_type=[f"inspo:{method}"], max_steps=3))
        for engine in ("rows", "tree")
    ]
    close(*found, rtol=1e-5)  # ipo's losses are squares of sums


def test_an_adapter_learns_alike_and_goes_on_after_a_stop(base, dataset, tmp_path):
    from peft import LoraConfig

    adapter = LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.0)
    options = {"engine": "tree", "save_strategy": "steps", "save_steps": 2, "peft_config": adapter}
    whole = trainer(base, tmp_path / "whole", dataset, **options, max_steps=6)
    expected = losses_of(whole)
    close(expected, losses_of(trainer(base, tmp_path / "rows", dataset, peft_config=adapter, max_steps=6)))
    resumed = trainer(base, tmp_path / "whole", dataset, **options, max_steps=6)
    losses = losses_of(resumed, resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert losses[2:] == expected[2:]
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name])


def test_evaluation_measures_the_deployed_policy(base, dataset, tmp_path):
    made = trainer(base, tmp_path, dataset, engine="tree", eval_dataset=dataset.select(range(8)))
    before = made.evaluate()
    assert before["eval_rewards/deployed_margins"] == pytest.approx(0.0, abs=1e-6)
    made.train()
    after = made.evaluate()
    assert after["eval_rewards/deployed_margins"] > 0.1
    assert after["eval_rewards/deployed_accuracies"] > 0.5
    assert after["eval_rewards/deployed_margins"] != pytest.approx(after["eval_rewards/margins"])


def test_the_policy_generates_while_it_is_on_trees(base, dataset, tmp_path):
    made = trainer(base, tmp_path, dataset, engine="tree")
    tokenizer = AutoTokenizer.from_pretrained(base)
    asked = tokenizer("Name a bird.", return_tensors="pt")
    stock = AutoModelForCausalLM.from_pretrained(base)
    options = {"max_new_tokens": 8, "do_sample": False}
    assert torch.equal(made.model.generate(**asked, **options), stock.generate(**asked, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"conditioning": "both"},
            "conditioning = 'both' must be one of none, one_sided, symmetric, averaged, anchored",
        ),
        ({"engine": "trees"}, "engine = 'trees' must be one of rows, tree"),
        ({"loss_type": ["simpo"]}, "loss_type 'simpo' is none of TRL's: write inspo:simpo"),
        ({"loss_type": ["inspo:ppo"]}, "loss_type 'inspo:ppo' must be one of inspo:dpo"),
        (
            {"conditioning": "none", "separator": "turn"},
            "conditioning='none' has no context, so separator would change",
        ),
        *(
            (
                {"conditioning": two, "loss_type": ["aot"]},
                f"aot sorts the pairs of a batch, and conditioning='{two}' has two kinds of them: use another",
            )
            for two in ("averaged", "anchored")
        ),
        ({"hyperparameters": {"gamma": 1.0}}, "hyperparameters: gamma is none of TRL's losses's"),
        ({"loss_type": ["inspo:simpo"], "precompute_ref_log_probs": True}, "inspo:simpo has no reference"),
        ({"engine": "tree", "torch_compile": True}, "engine='tree' does not go with torch_compile"),
        ({"draft_cap": 0.4}, "draft_cap is a share of max_length: give max_length too"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(options, message, tmp_path):
    from inspo.trl import InSPOConfig

    with pytest.raises((ValueError, NotImplementedError)) as error:
        InSPOConfig(output_dir=str(tmp_path), **OPTIONS | options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_private_names_that_it_needs_are_there():
    """A canary: what of TRL's own it replaces or calls. A release that changes them fails here first."""
    import inspect

    from trl import DPOConfig, DPOTrainer

    for name, parameters in (
        ("_compute_loss", ["self", "model", "inputs", "return_outputs"]),
        ("_prepare_dataset", ["self", "dataset", "processing_class", "args", "dataset_name"]),
        ("_precompute_ref_logps", ["self", "dataset", "name", "batch_size"]),
        ("compute_ref_log_probs", ["self", "model", "inputs"]),
        ("_set_signature_columns_if_needed", ["self"]),
    ):
        assert list(inspect.signature(getattr(DPOTrainer, name)).parameters) == parameters
    source = inspect.getsource(DPOTrainer)
    assert all(f"self.{name}" in source for name in ("precompute_ref_logps", "_metrics", "_precompute_model_hash"))
    assert "fused_lm_head" in source
    assert isinstance(DPOConfig._VALID_DICT_FIELDS, list)  # noqa: SLF001

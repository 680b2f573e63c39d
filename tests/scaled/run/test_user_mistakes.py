"""A user's mistake is one line with the fix and exit code 2, before anything is trained or left behind."""

import json
import re
import shutil

import pytest
import yaml
from tiny_base import ROOT, TINY
from tiny_base import SMALL as TRAINED
from transformers import AutoConfig

from inspo.command_line import UserError
from inspo.losses import METHODS
from scaled.config import FIELDS, TrainConfig, load
from scaled.model import loading
from scaled.run import dry_run
from scaled.run import run as running
from scaled.train import main

CONFIGS = sorted((ROOT / "scaled" / "configs").glob("*.yaml"))
SMALL = TRAINED | {"limit": 24, "validation_size": 8, "micro_batch": 4}


@pytest.fixture
def train(tmp_path, monkeypatch, capsys):
    """Run the command; returns its exit code and what it said on stderr."""

    def trained(text: str | None = None, *arguments: str, **values: object) -> tuple[int, str]:
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(SMALL | {"out": str(tmp_path / "out")} | values) if text is None else text)
        monkeypatch.setattr("sys.argv", ["train.py", "--config", str(file), *arguments])
        capsys.readouterr()
        code = main()
        return code, capsys.readouterr().err

    return trained


def assert_one_line(result: tuple[int, str], *parts: str) -> None:
    code, said = result
    lines = [line for line in said.splitlines() if line.startswith("error:")]
    assert code == 2
    assert len(lines) == 1
    assert said.rstrip().endswith(lines[0])
    assert "Traceback" not in said
    for part in parts:
        assert part in lines[0]


MISTAKES = {
    "misspelt key": ({"conditionning": "none"}, "unknown key 'conditionning'; did you mean conditioning?"),
    "unknown method": ({"method": "dop"}, "method = 'dop' must be one of dpo"),
    "several methods": ({"method": ["dpo", "ipo"]}, "method = ['dpo', 'ipo'] must be one of dpo"),
    "wrong type": ({"batch_size": "many"}, "batch_size = 'many' must be a whole number"),
    "boolean for a number": ({"epochs": True}, "epochs = True must be a number"),
    "out of range": ({"warmup_ratio": 2}, "warmup_ratio = 2 must be at most 1.0"),
    "another method's hyperparameter": ({"tau": 0.1}, "tau is no hyperparameter of dpo, which takes beta"),
    "missing file": ({"data": "nowhere.jsonl"}, "nowhere.jsonl: there is no such file"),
    "no such architecture": ({"architecture": "tiny"}, "must be one of gemma-2-9b-it"),
    "batch that does not divide": ({"micro_batch": 3}, "batch_size = 8 is not a multiple of micro_batch = 3"),
    "epochs without end": ({"epochs": 1e7}, "epochs = 1e+07 of "),
    "batch larger than the data": ({"batch_size": 128, "micro_batch": 1, "epochs": 1}, "fewer than one update"),
    "row too small": ({"row_tokens": 20}, "row_tokens = 20 is less than the largest pair's"),
    "longer than the model": ({"max_length": 4096}, "exceeds the model's 2048 positions"),
    "no GPU": ({"device": "cuda"}, "there is no GPU here: set device=cpu"),
    "everything validated on": ({"validation_size": 24}, "leaves nothing of 24 records"),
    "unknown separator": ({"separator": "token:<sep>"}, '"<sep>" is not a token'),
    "unknown template": ({"template": "alpaca"}, 'unknown template "alpaca"'),
    "no such model": ({"model": "/nowhere/model"}, "/nowhere/model: cannot be loaded"),
    "negative beta": ({"beta": -1}, "dpo: beta = -1.0 must be a finite number > 0"),
    "tau of zero": ({"method": "ipo", "tau": 0}, "ipo: tau = 0.0 must be a finite number > 0"),
    "more noise than signal": ({"label_smoothing": 0.7}, "label_smoothing = 0.7 must be in [0, 1/2]"),
    "both gammas": (
        {"method": "simpo", "gamma": 1.0, "gamma_beta_ratio": 0.5},
        "simpo: give exactly one of gamma and gamma_beta_ratio",
    ),
    "another method's option": ({"kl_group": 4}, "kl_group is kto's"),
    "revision of no model of the hub": ({"revision": "v1"}, "model = random is none: leave revision out"),
    "revision, no tokenizer": ({"tokenizer_revision": "v1"}, "tokenizer = null is none: leave tokenizer_revision out"),
    "adapter options without adapter": ({"lora_alpha": 8}, "give lora_rank too"),
    "adapter dropout without adapter": ({"lora_dropout": 0.1}, "give lora_rank too"),
    "adapter layers without adapter": ({"lora_target_modules": ["q_proj"]}, "give lora_rank too"),
    "DoRA without adapter": ({"use_dora": True}, "use_dora is an adapter's: give lora_rank too"),
    "DoRA of partitioned weights": ({"use_dora": True, "lora_rank": 4, "zero_stage": 3}, "set zero_stage=2"),
    "a layer that is not there": (
        {"lora_rank": 4, "lora_target_modules": ["q_proj", "wq"]},
        "'wq' is no linear layer of llama below the output layer; there are down_proj, gate_proj, k_proj",
    ),
    "an adapter on the output layer": ({"lora_rank": 4, "lora_target_modules": "lm_head"}, "'lm_head' is no linear"),
    "no layer": ({"lora_rank": 4, "lora_target_modules": []}, "lora_target_modules = [] must be at least 1 long"),
    "all layers and one": (
        {"lora_rank": 4, "lora_target_modules": ["all-linear", "q_proj"]},
        "all-linear has every linear layer: name it alone",
    ),
    "an adapter that changes the reference": (
        {"lora_rank": 4, "init_lora_weights": "pissa"},
        "init_lora_weights = 'pissa' must be one of default, gaussian, orthogonal",
    ),
    "an odd orthogonal adapter": ({"lora_rank": 3, "init_lora_weights": "orthogonal"}, "needs an even lora_rank"),
    "an unknown optimizer": ({"optim": "adafactor"}, "optim = 'adafactor' must be one of adamw_torch, adamw_8bit"),
    "8 bits partitioned": ({"optim": "adamw_8bit", "zero_stage": 2}, "set zero_stage=0"),
    "paged without GPU": ({"optim": "paged_adamw_32bit"}, "set optim=adamw_torch"),
    "an unknown schedule": ({"schedule": "polynomial"}, "schedule = 'polynomial' must be one of cosine, linear"),
    "the end of no fall": ({"schedule": "constant", "final_lr_ratio": 0.5}, "schedule = constant keeps the peak"),
    "adapter without effect": ({"lora_rank": 4, "lora_alpha": 0}, "lora_alpha = 0 switches the adapter off"),
    "a context for no reference": ({"method": "orpo", "reference": "conditioned"}, "orpo has no reference"),
    "a context of nothing": ({"conditioning": "none", "reference": "conditioned"}, "set reference=plain"),
    "a separator of nothing": ({"conditioning": "none", "separator": "turn"}, "set separator=none"),
    "none where YAML has null": ({"tokenizer": "none"}, "write tokenizer=null"),
    "samples of nothing": ({"sample_kl": 99}, "sample_kl = 99 is more than the"),
    "length of no samples": ({"sample_tokens": 9}, "give sample_kl too"),
    "samples of weights elsewhere": ({"sample_kl": 4, "zero_stage": 3}, "set zero_stage=2"),
    "a GPU's attention": ({"attention": "flex"}, "attention = flex needs a GPU"),
    "one validation pair for a KL": ({"method": "kto", "validation_size": 1}, "of the 1 validation pairs are the same"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(train, tmp_path, mistake):
    values, said = MISTAKES[mistake]
    assert_one_line(train(**values), said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "there are no records in it"),
        ('{"prompt": "a", "chosen": "b"}\n', 'record 1: column "rejected" is missing'),
        ('{"prompt": "a", "chosen": "b", "rejected": 3}\n', 'column "rejected" must be text or a list of messages'),
        ('{"prompt": "a", "chosen": "b"\n', "record 1: not JSON"),
    ],
)
def test_malformed_data_is_one_line(train, tmp_path, content, said):
    data = tmp_path / "data.jsonl"
    data.write_text(content)
    assert_one_line(train(data=str(data)), "data.jsonl", said)


def test_a_config_that_is_no_yaml_is_one_line(train):
    assert_one_line(train("method: [dpo"), "not valid YAML at line")
    assert_one_line(train("dpo"), "must be a mapping")
    assert_one_line(train(None, "--set", "beta"), "write it as key=value")
    assert_one_line(train(None, "--no-such-option"), "unrecognized arguments")


def test_a_tokenizer_without_chat_template_is_one_line(train, base, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    assert_one_line(train(model=str(base), tokenizer=str(tmp_path / "tokenizer")), "has no chat template")


def test_a_vocabulary_that_does_not_fit_is_one_line(train, base, tmp_path):
    import shutil

    from transformers import AutoConfig

    small = tmp_path / "small"
    shutil.copytree(base, small)
    numbers = AutoConfig.from_pretrained(base)
    numbers.vocab_size = 300
    numbers.save_pretrained(small)
    assert_one_line(train(model=str(small)), "is outside the vocabulary of 300", "does not fit the model")


def test_a_folder_of_another_configuration_is_one_line(train, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    config = TrainConfig(**SMALL, out=str(out), beta=0.3)
    (out / "config.json").write_text(json.dumps({"hash": config.hash(), "config": config.resolved()}))
    (out / "metrics.jsonl").write_text("{}\n")
    assert_one_line(train(), "another configuration (beta was 0.3)", "set another out")


def test_a_file_where_the_folder_should_be_is_one_line(train, tmp_path):
    (tmp_path / "file").write_text("")
    assert_one_line(train(out=str(tmp_path / "file" / "out")), "cannot be written")


def test_too_little_disk_is_one_line(train, tmp_path, monkeypatch):
    import shutil
    from types import SimpleNamespace

    # A checkpoint of half a million float32 weights with two moments is 6 MB, the result 2 MB.
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10 * 10**6))
    assert_one_line(train(save_every=1, epochs=4), "GiB left, 4 more checkpoints and the result need")
    assert not (tmp_path / "out").exists()


def test_a_package_that_is_not_installed_is_one_line(train, monkeypatch):
    monkeypatch.setattr("scaled.run.checks.find_spec", lambda _: None)
    assert_one_line(train(optim="adamw_8bit"), "optim = adamw_8bit needs bitsandbytes: pip install bitsandbytes")
    assert_one_line(train(lora_rank=4), "lora_rank needs peft")


def test_a_mistake_of_the_programs_keeps_its_traceback(train, monkeypatch):
    def fail(_):
        raise ValueError("of a library, in mid-training")

    monkeypatch.setattr(running, "run", fail)
    with pytest.raises(ValueError, match="in mid-training"):
        train()


def test_weights_that_are_not_there_are_one_line(train, base, tmp_path):
    import shutil

    shutil.copytree(base, tmp_path / "empty")
    (tmp_path / "empty" / "model.safetensors").unlink()
    assert_one_line(train(model=str(tmp_path / "empty")), "its weights cannot be loaded")


def test_weights_that_are_not_finite_are_one_line(train, base, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(base, tmp_path / "broken")
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"].fill_(float("nan"))
    save_file(weights, tmp_path / "broken" / "model.safetensors", {"format": "pt"})
    assert_one_line(train(model=str(tmp_path / "broken")), "tiny.jsonl:", "the reference log-prob of")


def test_mistakes_come_before_a_model_is_loaded(train, monkeypatch):
    monkeypatch.setattr(loading, "load_weights", lambda *_, **__: pytest.fail("a model was loaded"))
    for values, _ in MISTAKES.values():
        assert train(**values)[0] == 2


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_committed_configuration_loads_and_can_be_described(path, base, capsys, monkeypatch):
    model = [f"model={base}"] if path.stem == "smol" else []  # a small stand-in for what make train-smol fetches
    config = load([path], model)
    monkeypatch.setattr(
        "sys.argv", ["train.py", "--config", str(path), "--dry-run", *(f"--set={value}" for value in model)]
    )
    monkeypatch.chdir(ROOT)
    assert main() == 0
    said, _ = capsys.readouterr()
    assert config.hash() in said
    assert "parameters: 405,408" in said  # with the 524 tokens of its own vocabulary
    assert "time: " in said


def raiser(message: str):
    def fail(*_: object):
        raise UserError(message)

    return fail


def test_a_dry_run_reads_a_models_configuration_whatever_its_architecture(tmp_path, base, capsys, monkeypatch):
    """No shipped architecture is asked for, no weights are read and nothing is written."""
    gpt2 = AutoConfig.for_model("gpt2", n_layer=2, n_head=2, n_embd=32, n_positions=512, vocab_size=600)
    gpt2.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    values = SMALL | {"model": str(tmp_path / "model"), "tokenizer": str(base), "architecture": None}
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(values | {"out": str(tmp_path / "o")}))
    monkeypatch.setattr("sys.argv", ["train.py", "--config", str(tmp_path / "my.yaml"), "--dry-run"])
    assert main() == 0
    assert "(gpt2)" in capsys.readouterr().out
    assert not (tmp_path / "o").exists()


def test_a_dry_run_says_all_that_would_fail(tmp_path, base, capsys, monkeypatch):
    shutil.copytree(base, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    values = SMALL | {"model": str(tmp_path / "model"), "architecture": None, "data": "nowhere.jsonl", "device": "cuda"}
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(values | {"out": str(tmp_path / "o")}))
    monkeypatch.setattr("sys.argv", ["train.py", "--config", str(tmp_path / "my.yaml"), "--dry-run"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main() == 2
    said, errors = capsys.readouterr()
    assert "memory per rank" in said
    lines = [line for line in errors.splitlines() if line]
    assert len(lines) == 3
    assert all(line.startswith("error: the run would fail here: ") for line in lines)
    for part in ("there is no GPU here", "has no weights", "nowhere.jsonl: there is no such file"):
        assert any(part in line for line in lines)


def test_a_model_that_is_nowhere_leaves_nothing_to_describe(capsys, monkeypatch):
    monkeypatch.setattr(dry_run, "load_architecture", raiser("model = no/where: cannot be loaded (no hub)"))
    monkeypatch.setattr("sys.argv", ["train.py", "--set=model=no/where", "--dry-run"])
    assert main() == 2
    said, errors = capsys.readouterr()
    assert said == ""
    assert errors.count("error: ") == 1


def test_a_models_folder_is_described_whatever_architecture_stands_beside_it(base):
    described = dry_run.describe_run(load([], [f"model={base}", "architecture=llama-3-8b-instruct", f"data={TINY}"]))
    assert "parameters: 405,408 (llama)" in described.text


def test_help_says_null_where_yaml_wants_it(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["train.py", "--help"])
    with pytest.raises(SystemExit):
        main()
    text = re.sub(r"\n {6}", " ", capsys.readouterr().out)
    lines = {line.split(":")[0].strip(): line for line in text.splitlines() if line.startswith("  ")}
    for name, field in FIELDS.items():
        if field.default is None:
            assert lines[name].endswith("[null]")
            assert " none " not in lines[name]


def test_every_method_has_what_it_must_have():
    for name, method in METHODS.items():
        resolved = TrainConfig(architecture="tiny-llama", method=name, draft_cap=None).resolved()
        assert {key: resolved[key] for key in method.defaults} == method.defaults
    assert TrainConfig(architecture="tiny-llama", method="simpo", gamma_beta_ratio=0.5).resolved()["gamma"] is None


def test_a_record_that_nothing_can_be_trained_on_names_itself_and_the_remedy(train, tmp_path):
    rows = [json.loads(line) for line in TINY.read_text().splitlines()[:24]]
    rows[6]["rejected"] = ""
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert_one_line(train(data=str(data)), "data.jsonl: record 7", "the rejected response is empty", "filters=unusable")
    assert_one_line(train(data=str(data), filters="paper"), "score_chosen and score_rejected", "filters=unusable")
    assert_one_line(train(data=str(data), filters="all"), "filters", "none, unusable, paper")

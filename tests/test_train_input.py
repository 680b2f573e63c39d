"""A user's mistake is one line with the fix and exit code 2, before anything is trained or left behind."""

import json
from pathlib import Path

import pytest
import yaml

from scaled import run as running
from scaled.base import make_base
from scaled.config import DEFAULTS, TrainConfig, load
from scaled.records import load_records
from scaled.train import main

ROOT = Path(__file__).parents[1]
TINY = ROOT / "scaled" / "examples" / "tiny.jsonl"
CONFIGS = sorted((ROOT / "scaled" / "configs").glob("*.yaml"))
SMALL = {
    "model": "random",
    "architecture": "tiny-llama",
    "data": str(TINY),
    "limit": 24,
    "validation_size": 8,
    "max_length": 96,
    "batch_size": 8,
    "micro_batch": 4,
    "precision": "float32",
    "zero_stage": 0,
    "threads": 1,
    "tensorboard": False,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "base"
    make_base(folder, "tiny-llama", load_records(TINY), seed=1)
    return folder


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
    "wrong type": ({"batch_size": "many"}, "batch_size = 'many' must be a whole number"),
    "boolean for a number": ({"epochs": True}, "epochs = True must be a number"),
    "out of range": ({"warmup_ratio": 2}, "warmup_ratio = 2.0 must be at most 1.0"),
    "another method's hyperparameter": ({"tau": 0.1}, "tau is no hyperparameter of dpo, which takes beta"),
    "missing file": ({"data": "nowhere.jsonl"}, "nowhere.jsonl: there is no such file"),
    "no such architecture": ({"architecture": "tiny"}, "must be one of gemma-2-9b-it"),
    "batch that does not divide": ({"micro_batch": 3}, "batch_size = 8 is not a multiple of micro_batch = 3"),
    "batch larger than the data": ({"batch_size": 128, "micro_batch": 1, "epochs": 1}, "fewer than one update"),
    "row too small": ({"row_tokens": 20}, "row_tokens = 20 is less than the largest pair's"),
    "longer than the model": ({"max_length": 4096}, "exceeds the model's 2048 positions"),
    "no GPU": ({"device": "cuda"}, "there is no GPU here: set device=cpu"),
    "quantized without GPU": ({"qlora": True, "lora_rank": 4}, "there is none here: set qlora=false"),
    "everything held out": ({"validation_size": 24}, "leaves nothing of 24 records"),
    "unknown separator": ({"separator": "token:<sep>"}, '"<sep>" is not a token'),
    "unknown template": ({"template": "alpaca"}, 'unknown template "alpaca"'),
    "no such model": ({"model": "/nowhere/model"}, "/nowhere/model: cannot be loaded"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(train, mistake):
    values, said = MISTAKES[mistake]
    assert_one_line(train(**values), said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has no records"),
        ('{"prompt": "a", "chosen": "b"}\n', 'record 1: column "rejected" is missing'),
        ('{"prompt": "a", "chosen": "b", "rejected": 3}\n', 'column "rejected" must be text'),
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
    assert_one_line(train(), "another configuration (beta was 0.3)", "set another out")


def test_a_file_where_the_folder_should_be_is_one_line(train, tmp_path):
    (tmp_path / "file").write_text("")
    assert_one_line(train(out=str(tmp_path / "file" / "out")), "cannot be written")


def test_too_little_disk_is_one_line(train, monkeypatch):
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    assert_one_line(train(), "GiB left, a checkpoint and the result need")


def test_mistakes_come_before_a_model_is_loaded(train, monkeypatch):
    monkeypatch.setattr(running, "load_policy", lambda *_, **__: pytest.fail("a model was loaded"))
    for values, _ in MISTAKES.values():
        assert train(**values)[0] == 2


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_committed_configuration_loads_and_can_be_described(path, capsys, monkeypatch):
    config = load(path)
    assert config.architecture is not None
    monkeypatch.setattr("sys.argv", ["train.py", "--config", str(path), "--dry-run"])
    monkeypatch.chdir(ROOT)
    assert main() == 0
    said = capsys.readouterr().out
    assert config.hash() in said
    counts = {"mistral": "7,241,732,096", "llama-3": "8,030,261,248", "gemma-2": "9,241,705,984", "tiny": "501,408"}
    assert next(count for start, count in counts.items() if path.stem.startswith(start)) in said
    assert "time: " in said


def test_every_method_has_what_it_must_have():
    for method in DEFAULTS:
        given = {"draft_cap": None, "architecture": "tiny-llama", "method": method}
        assert set(DEFAULTS[method]) <= set(TrainConfig(**given).hyperparameters())
    assert "gamma" not in TrainConfig(architecture="tiny-llama", method="simpo", gamma_beta_ratio=0.5).hyperparameters()

"""The card and the last message: the deployed policy's numbers, a header that the hub reads, code that runs."""

import json
import re
import shutil
import stat
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from tiny_base import small

from scaled.run import model_card as cards
from scaled.run.model_card import header, is_hub_name, with_error
from scaled.run.run import run
from scaled.training.journal import read


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    """A run of two updates from a base that has a card of its own, and what it said at its end."""
    folder = tmp_path_factory.mktemp("card")
    shutil.copytree(base, folder / "base")
    (folder / "base" / "README.md").write_text("---\nlicense: apache-2.0\n---\n\n# A base\n")
    config = small(
        folder / "out", model=str(folder / "base"), limit=24, validation_size=8, max_updates=2, warmup_ratio=0, epochs=8
    )
    return config, run(config)


def test_the_snippet_runs_as_it_stands(trained, capsys, monkeypatch, tmp_path):
    config, _ = trained
    (code,) = re.findall(r"```python\n(.*?)```", (Path(config.out) / "model" / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code, {})  # noqa: S102  # our own card
    assert capsys.readouterr().out.strip()


def test_the_hub_can_read_the_header(trained):
    config, _ = trained
    data = ModelCard.load(Path(config.out) / "model" / "README.md").data
    assert data.license == "apache-2.0"
    assert data.library_name == "transformers"
    assert {"preference-optimization", "inspo", "dpo"} <= set(data.tags)
    assert data.base_model is None  # a folder is no name that the hub knows
    assert data.datasets is None


def test_base_and_data_of_the_hub_are_named(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        cards.ModelCard, "load", lambda name: asked.append(name) or ModelCard("---\nlicense: llama3\n---\n")
    )
    data = header(small(tmp_path, model="owner/base", data="owner/pairs"))
    assert (data.base_model, data.datasets, data.license) == ("owner/base", ["owner/pairs"], "llama3")
    assert asked == ["owner/base"]

    def unreachable(_):
        raise OSError("no network")

    monkeypatch.setattr(cards.ModelCard, "load", unreachable)
    assert header(small(tmp_path, model="owner/base")).license is None
    assert not is_hub_name("scaled/examples/tiny.jsonl")
    assert not is_hub_name(str(tmp_path))


def test_card_and_message_say_how_the_deployed_policy_does(trained):
    config, message = trained
    out = Path(config.out)
    record = json.loads((out / "run.json").read_text())
    found = record["validation"]
    assert found in read(out / "metrics.jsonl")
    card = (out / "model" / "README.md").read_text()
    accuracy, margin = with_error(found, "deployed_accuracy"), with_error(found, "deployed_margin")
    assert f"log-ratios, nats | {accuracy} | {margin} |" in card
    assert f"log-ratios, nats | {with_error(found, 'accuracy')} | {with_error(found, 'margin')} |" in card
    assert f"{record['validation_pairs']} validation pairs, ± one standard error over pairs" in card
    lines = {name: text.strip() for name, _, text in (line.partition(":") for line in message.splitlines())}
    assert lines["deployed policy"].startswith(f"accuracy {accuracy}, margin {margin} nats")
    assert record["validation_pairs"] >= 8
    assert lines["measured on"] == f"{record['validation_pairs']} validation pairs, ± standard error"
    assert lines["model"].startswith(str(out / "model"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"margin": 42.1734, "margin_se": 1.93}, "42.2 ± 1.9"),
        ({"margin": 0.1734, "margin_se": 0.0193}, "0.173 ± 0.019"),
        ({"margin": 1234.5, "margin_se": 123.4}, "1234 ± 123"),
        ({"margin": 1.5}, "1.500"),
        ({"margin": 1.5, "margin_se": 0.0}, "1.500 ± 0.000"),
    ],
)
def test_a_number_has_as_many_digits_as_its_error_allows(values, said):
    assert with_error(values, "margin") == said


def test_files_have_the_rights_of_other_files(trained):
    """safetensors' own are readable by their owner alone."""
    config, _ = trained
    out = Path(config.out)
    (out / "probe").touch()
    usual = stat.S_IMODE((out / "probe").stat().st_mode)
    files = [path for folder in ("model", "checkpoint-2") for path in (out / folder).rglob("*") if path.is_file()]
    assert any(path.suffix == ".safetensors" for path in files)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {usual}

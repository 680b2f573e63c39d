"""Situations from public bug reports (shared/cases): what each file must read as, or be refused for."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from examples import missing

from scaled.data import dataset
from scaled.data.records import load_records


@pytest.fixture(scope="module")
def cases():
    folder = Path(__file__).parents[4] / "shared" / "cases"
    if not folder.is_dir():
        missing("the folder shared/cases is not beside this checkout")
    return folder


def pairs(records):
    return [(record["prompt"], record["chosen"][0]["content"], record["rejected"][0]["content"]) for record in records]


@pytest.mark.parametrize(
    ("file", "filters", "expected"),
    [
        ("07-conversations-as-json-text/data.jsonl", "refuse", 6),
        ("09-transcript-prompt-repeated/data.jsonl", "refuse", 6),
        ("09-transcript-prompt-repeated/no_prompt.jsonl", "refuse", 6),
        ("10-system-column/data.jsonl", "refuse", 6),
        ("11-byte-order-mark/data.csv", "refuse", 2),
        ("11-byte-order-mark/data.jsonl", "refuse", 6),
        ("12-null-cells/scores.csv", "drop", 3),
        ("12-null-cells/scores.jsonl", "drop", 3),
        ("12-null-cells/reply.csv", "drop", 3),
        ("12-null-cells/reply.jsonl", "drop", 6),
        ("14-lone-surrogate/data.jsonl", "drop", 2),
        ("25-prompts-on-both-sides/data.jsonl", "refuse", 100),
        (
            "08-csv-unquoted-comma/data.csv",
            "refuse",
            "data.csv: record 2: has 4 cells, the header has 3: put a text with",
        ),
        ("11-byte-order-mark/utf16.csv", "refuse", "utf16.csv: line 1: is no text in UTF-8 .*: save it as UTF-8"),
        (
            "12-null-cells/reply.csv",
            "refuse",
            r'reply.csv: record 2: column "rejected": the response is empty \(null\)',
        ),
        (
            "12-null-cells/reply.jsonl",
            "refuse",
            r'reply.jsonl: record 4: column "rejected": the response is empty \(nu',
        ),
        ("14-lone-surrogate/data.jsonl", "refuse", r"data.jsonl: record 2: the chosen response holds .*\(U\+D83D\)"),
    ],
)
def test_files(cases, file, filters, expected):
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=f"^{expected}"):
            load_records(cases / file, unusable=filters)
    else:
        assert len(load_records(cases / file, unusable=filters)) == expected


def test_transcripts_and_json_text_are_conversations(cases):
    folders = ("07-conversations-as-json-text", "09-transcript-prompt-repeated")
    for file in (*(cases / folder / "data.jsonl" for folder in folders), cases / folders[1] / "no_prompt.jsonl"):
        (first, *_) = pairs(load_records(file))
        asked = [{"role": "user", "content": "Name three birds."}]
        assert first == (asked, "The robin, the wren and the owl.", "No.")


def test_system_and_history_are_turns(cases):
    (record, *_) = load_records(cases / "10-system-column" / "data.jsonl")
    assert [turn["role"] for turn in record["prompt"]] == ["system", "user", "assistant", "user"]


def test_tool_calls_and_tools_are_carried(cases):
    (call, history) = load_records(cases / "03-structured-tool-calls" / "data.jsonl")
    (only,) = load_records(cases / "03-structured-tool-calls" / "call_only.jsonl")
    cities = [call[which][0]["tool_calls"][0]["function"]["arguments"]["city"] for which in ("chosen", "rejected")]
    assert cities == ["Rome", "Paris"]
    assert history["prompt"][1]["tool_calls"]
    assert only["chosen"][0]["tool_calls"]
    assert all(record["tools"][0]["function"]["name"] == "weather" for record in (call, history, only))


@pytest.mark.parametrize(
    ("folder", "file", "count"), [("13-csv-long-cell", "data.csv", 3), ("24-arrow-file", "data.arrow", 6)]
)
def test_files_that_a_script_makes(cases, tmp_path, monkeypatch, folder, file, count):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(cases / folder / "make.py"), run_name="__main__")
    assert len(load_records(file)) == count


def test_no_held_out_prompt_is_trained_on(cases):
    train, validation = dataset.split(load_records(cases / "25-prompts-on-both-sides" / "data.jsonl"), 20, seed=0)
    assert (len(train), len(validation)) == (80, 20)
    assert not {dataset.prompt_of(record) for record in train} & {dataset.prompt_of(record) for record in validation}

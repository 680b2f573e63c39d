"""The page about data: every example is read, and reads as the page says."""

from __future__ import annotations

import json

import yaml
from pages import ROOT, code_blocks

from scaled.config import COLUMNS, DataOptions, load
from scaled.data.filters import filters_of
from scaled.data.records import load_records

PAGE = (ROOT / "docs" / "data.md").read_text()
OPTIONS = [yaml.safe_load(block) for block in code_blocks(PAGE, "yaml")]
RECORDS = [[json.loads(line) for line in block.splitlines()] for block in code_blocks(PAGE, "json")]


def plain(record):
    return {part: record[part] for part in ("prompt", "chosen", "rejected", "preference")}


def test_every_layout_reads_the_same():
    layouts, *_ = RECORDS
    first, *others = [plain(*load_records([row])) for row in layouts]
    assert first["prompt"] == [{"role": "user", "content": "Name a bird."}]
    assert first["chosen"][0]["content"] == "The owl."
    assert all(other == first for other in others)
    assert len(layouts) == 9


def test_conversations_read_as_the_page_says():
    ((row,),) = RECORDS[2:3]
    (record,) = load_records([row])
    assert [turn["content"] for turn in record["prompt"]] == ["Name a bird."]
    for response in (record["chosen"], record["rejected"]):
        assert [turn["role"] for turn in response] == ["assistant", "user", "assistant"]


def test_what_a_record_may_have_beside_is_read(caplog):
    ((row,),) = RECORDS[1:2]
    (record,) = load_records([row], soft_labels=True)
    assert [turn["role"] for turn in record["prompt"]] == ["system", "user", "assistant", "user"]
    assert (record["preference"], record["score_chosen"], record["score_rejected"]) == (0.8, 8.0, 3.0)
    assert record["tools"] == row["tools"]
    assert record["template_options"] == {"enable_thinking": False}
    assert not caplog.messages


def test_columns_of_other_names():
    (record,) = load_records(RECORDS[3], columns=OPTIONS[4]["columns"])
    assert plain(record) == plain(*load_records(RECORDS[0][:1]))


def test_every_option_is_one():
    for options in OPTIONS:
        DataOptions.model_validate(options)
    assert len(OPTIONS) == 7
    assert [source.weight for source in DataOptions.model_validate(OPTIONS[3]).data] == [0.25, 2.0]


def test_the_steps_of_d2_are_those_of_the_preset():
    named, written = (filters_of(DataOptions.model_validate(each).filters, classify=False) for each in OPTIONS[5:])
    assert named == written


def test_every_column_that_is_read_is_named():
    for column in COLUMNS:
        assert f'"{column}"' in PAGE, column


def test_the_help_points_here():
    assert "docs/data.md" in str(type(load([], ["architecture=tiny-llama"])).model_fields["data"].description)

"""Sources to records: what comes out, what is left out and counted, what is said."""

from __future__ import annotations

import json
import logging
from collections import Counter

import pytest
from datasets import Dataset

from scaled.config import DataSource
from scaled.data.records import load_records, texts

ROWS = [
    {"prompt": "What is it?", "chosen": "A tree.", "rejected": "A\nrow."},
    {"prompt": 'And "this", Søren?', "chosen": "Yes.", "rejected": "No."},
]


def test_rows_in_memory_a_dataset_and_files(tmp_path):
    for name in ("one.jsonl", "two.jsonl"):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (record, _) = in_memory = load_records(ROWS)
    assert record == {
        "record": "1",
        "prompt": [{"role": "user", "content": "What is it?"}],
        "chosen": [{"role": "assistant", "content": "A tree."}],
        "rejected": [{"role": "assistant", "content": "A\nrow."}],
        "preference": 1.0,
    }
    assert load_records(Dataset.from_list(ROWS)) == in_memory
    read = load_records([tmp_path / "one.jsonl", DataSource(path=str(tmp_path / "two.jsonl"))], limit=3)
    assert [record["record"] for record in read] == ["one.jsonl:1", "one.jsonl:2", "two.jsonl:1"]
    assert list(texts(read[:1])) == ["What is it?", "A tree.", "A\nrow."]


@pytest.mark.parametrize(("p", "chosen", "soft"), [(0.9, "A", 0.9), (0.2, "B", 0.8), (1.0, "A", 1.0)])
def test_judged_pairs(p, chosen, soft):
    rows = [{"prompt": "Q", "response_a": "A", "response_b": "B", "p_a_preferred": p}]
    (hard,), (softly,) = load_records(rows), load_records(rows, soft_labels=True)
    assert (hard["chosen"][0]["content"], hard["preference"]) == (chosen, 1.0)
    assert (softly["chosen"][0]["content"], softly["preference"]) == (chosen, pytest.approx(soft))


def test_ties_are_dropped_and_counted_or_kept(caplog):
    row = {"prompt": "Q", "response_a": "A", "response_b": "B"}
    rows = [{**row, "p_a_preferred": p} for p in (0.5, 0.7, 0.5)]
    (record,) = load_records(rows)
    assert record["record"] == "2"
    assert "2 pairs are ties and left out" in caplog.text
    assert [r["preference"] for r in load_records(rows, ties="keep", soft_labels=True)] == [0.5, 0.7, 0.5]
    with pytest.raises(ValueError, match="nothing to learn from"):
        load_records(rows[:1])


def test_a_stored_preference_is_a_soft_label_where_those_are_wanted():
    rows = [{"prompt": "Q", "chosen": "A", "rejected": "B", "preference": preference} for preference in (0.75, 0.5)]
    counts = Counter()
    assert [record["preference"] for record in load_records(rows, soft_labels=True, counts=counts)] == [0.75]
    assert [record["preference"] for record in load_records(rows, counts=counts)] == [1.0]
    assert counts == {"ties": 2}


def test_a_preference_against_its_own_label_is_no_hard_label():
    rows = [{"prompt": "Q", "chosen": "A", "rejected": "B", "preference": 0.25}]
    assert load_records(rows, soft_labels=True)[0]["preference"] == 0.25
    with pytest.raises(ValueError, match=r"record 1: .* the rejected response is the better one: set soft_labels"):
        load_records(rows)


def test_unusable_records_are_refused_or_left_out_and_counted(caplog):
    """By what is wrong, with the first of each kind; the good ones stay."""
    bad = {
        "empty": [{"rejected": None}, {"rejected": ""}, {"chosen": " \n"}, {"chosen": []}],
        "equal": [{"chosen": "B"}, {"chosen": " B\n"}],
        "not_text": [{"chosen": "Here: \ud83d"}, {"prompt": "\udc00"}],
        "malformed": [{"prompt": 7}, {"prompt": ""}, {"preference": 2}],
    }
    bad["malformed"] += bad["empty"][-1:]
    del bad["empty"][-1]
    good = {"prompt": "Q", "chosen": "A", "rejected": "B"}
    rows = [good, *({**good, **change} for changes in bad.values() for change in changes), good]
    counts = Counter()
    with caplog.at_level(logging.WARNING):
        kept = load_records(rows, unusable="drop", counts=counts)
    assert [record["record"] for record in kept] == ["1", str(len(rows))]
    assert counts == {why: len(changes) for why, changes in bad.items()}
    assert '3 records left out as empty, the first: record 2: column "rejected": the response is empty' in caplog.text
    assert "2 records left out as not text, the first: record 7: the chosen response holds half" in caplog.text
    for row in rows[1:-1]:
        with pytest.raises(ValueError, match=r"^record 1: .*; filters=unusable") as error:
            load_records([row])
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"^record 1: .* no record of the data can be trained on"):
        load_records(rows[1:2], unusable="drop")


def test_what_is_not_read_is_said_once(caplog):
    message = {"role": "critic", "content": "Be quick.", "weight": 0}
    row = {"prompt": [message, {"role": "user", "content": "Q"}], "chosen": "A", "rejected": "B", "id": 1, "none": None}
    with caplog.at_level(logging.WARNING):
        load_records([row, {**row, "source": "web"}])
    assert caplog.messages == [
        'columns that are not read: "id", "source"',
        'roles that are left to the chat template: "critic"',
        'keys of messages that are left to the chat template: "weight"',
    ]


@pytest.mark.parametrize("repeat", [True, False])
def test_replies_that_repeat_the_prompt_are_noticed(caplog, repeat):
    rows = [{"prompt": f"Name {n}.", "chosen": f"Name {n}. A.", "rejected": f"Name {n}. B."} for n in range(2)]
    rows += [{"prompt": "Name it.", "chosen": "Name it. A.", "rejected": "B."}] * (0 if repeat else 3)
    load_records(rows)
    assert ("in 2 of 2 records both responses begin with the prompt" in caplog.text) is repeat


def test_misuse():
    with pytest.raises(ValueError, match="there are no records"):
        load_records([])
    with pytest.raises(ValueError, match="files or rows, not both"):
        load_records(["a.jsonl", ROWS[0]])
    with pytest.raises(ValueError, match="ties = 'both'"):
        load_records(ROWS, ties="both")

"""Reading preference data: every layout and kind of file, and one line for every mistake."""

from __future__ import annotations

import csv
import gzip
import json
import logging
from collections import Counter

import pytest
from datasets import Dataset, DatasetDict

from scaled.data.records import load_records

ROWS = [
    {"prompt": "What is it?", "chosen": "A tree.", "rejected": "A\nrow.", "score_chosen": 8.0, "score_rejected": 3.5},
    {"prompt": 'And "this", Søren?', "chosen": "", "rejected": "No.", "score_chosen": 1.0, "score_rejected": 1.0},
]
USER = {"role": "user", "content": "What is it?"}
SYSTEM = {"role": "system", "content": "Be brief."}


def assistant(text):
    return {"role": "assistant", "content": text}


def write(path, rows):
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    elif path.name.endswith((".json", ".json.gz")):
        data = json.dumps(rows).encode()
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        return path
    elif path.suffix == ".parquet":
        Dataset.from_list(rows).to_parquet(path)
        return path
    elif path.suffix == ".arrow":
        Dataset.from_list(rows).save_to_disk(path.parent / "saved")
        return next((path.parent / "saved").glob("*.arrow"))
    else:
        Dataset.from_list(rows).save_to_disk(path)
        return path
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize(
    "name",
    ["data.jsonl", "data.jsonl.gz", "data.json", "data.json.gz", "data.csv", "data.parquet", "data.arrow", "folder"],
)
def test_every_kind_of_file_gives_the_same_records(tmp_path, name):
    records = load_records(write(tmp_path / name, ROWS))
    in_memory = load_records(ROWS)
    assert [{**record, "record": ""} for record in records] == [{**record, "record": ""} for record in in_memory]
    assert records[1]["record"].endswith(":2")
    assert in_memory[0] == {
        "record": "1",
        "prompt": [USER],
        "chosen": "A tree.",
        "rejected": "A\nrow.",
        "preference": 1.0,
        "score_chosen": 8.0,
        "score_rejected": 3.5,
    }


def test_several_files_and_a_dataset(tmp_path):
    files = [write(tmp_path / "one.jsonl", ROWS), write(tmp_path / "two.json", ROWS[:1])]
    assert [record["record"] for record in load_records(files)] == ["one.jsonl:1", "one.jsonl:2", "two.json:1"]
    assert load_records(Dataset.from_list(ROWS)) == load_records(ROWS)


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"chosen": [USER, assistant("A")], "rejected": [USER, assistant("B")]}, [USER]),
        ({"prompt": [USER], "chosen": [assistant("A")], "rejected": [assistant("B")]}, [USER]),
        ({"prompt": [SYSTEM, USER], "chosen": "A", "rejected": "B"}, [SYSTEM, USER]),
        ({"prompt": "What is it?", "chosen": [assistant("A")], "rejected": [assistant("B")]}, [USER]),
        # UltraFeedback binarized: a string beside conversations that begin with it
        ({"prompt": "What is it? ", "chosen": [USER, assistant("A")], "rejected": [USER, assistant("B")]}, [USER]),
        (
            {
                "chosen": [SYSTEM, USER, assistant("first"), USER, assistant("A")],
                "rejected": [SYSTEM, USER, assistant("first"), USER, assistant("B")],
            },
            [SYSTEM, USER, assistant("first"), USER],
        ),
    ],
)
def test_conversations_earlier_turns_are_the_prompt_and_the_last_reply_the_response(row, prompt):
    (record,) = load_records([row])
    assert (record["prompt"], record["chosen"], record["rejected"]) == (prompt, "A", "B")


@pytest.mark.parametrize(("p", "chosen", "soft"), [(0.9, "A", 0.9), (0.2, "B", 0.8), (1.0, "A", 1.0)])
def test_judged_pairs(p, chosen, soft):
    rows = [{"prompt": "Q", "response_a": "A", "response_b": "B", "p_a_preferred": p}]
    (hard,), (softly,) = load_records(rows), load_records(rows, soft_labels=True)
    assert (hard["chosen"], hard["preference"]) == (chosen, 1.0)
    assert (softly["chosen"], softly["preference"]) == (chosen, pytest.approx(soft))


def test_ties_are_dropped_and_counted_or_kept(caplog):
    row = {"prompt": "Q", "response_a": "A", "response_b": "B"}
    rows = [{**row, "p_a_preferred": p} for p in (0.5, 0.7, 0.5)]
    with caplog.at_level(logging.WARNING):
        (record,) = load_records(rows)
    assert record["record"] == "2"
    assert "2 judged pairs are ties and left out" in caplog.text
    assert [r["preference"] for r in load_records(rows, ties="keep", soft_labels=True)] == [0.5, 0.7, 0.5]
    with pytest.raises(ValueError, match="nothing to learn from"):
        load_records(rows[:1])


def test_a_stored_preference_is_a_soft_label_where_those_are_wanted():
    rows = [{"prompt": "Q", "chosen": "A", "rejected": "B", "preference": preference} for preference in (0.75, 0.5)]
    counts = Counter()
    assert [record["preference"] for record in load_records(rows, soft_labels=True, counts=counts)] == [0.75]
    assert [record["preference"] for record in load_records(rows, counts=counts)] == [1.0]
    assert counts == {"ties_left_out": 2}


def test_a_preference_against_its_own_label_is_no_hard_label():
    rows = [{"prompt": "Q", "chosen": "A", "rejected": "B", "preference": 0.25}]
    assert load_records(rows, soft_labels=True)[0]["preference"] == 0.25
    with pytest.raises(ValueError, match=r"record 1: .* the rejected response is the better one: set soft_labels"):
        load_records(rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen": None}, 'column "chosen" is missing; there are prompt, rejected'),
        ({"rejected": None}, 'column "rejected" is missing'),
        ({"prompt": None}, 'column "prompt" is missing'),
        ({"prompt": 7}, 'column "prompt" must be a string or a list of messages, got int 7'),
        ({"rejected": 7}, 'column "rejected" must be text, got int 7'),
        ({"rejected": [assistant("B")]}, 'column "rejected" must be text, got list'),
        ({"chosen": [], "rejected": []}, 'column "chosen" must be a string or a list of messages, got list'),
        ({"chosen": ["A"], "rejected": ["B"]}, 'column "chosen", turn 1 must have "role" and "content", got str'),
        (
            {"chosen": [{"role": "assistant", "content": None}], "rejected": [assistant("B")]},
            'column "chosen", turn 1: content must be text, got NoneType None',
        ),
        ({"chosen": [USER], "rejected": [assistant("B")]}, "must end with the assistant's reply, not with role \"user"),
        (
            {"chosen": [USER, assistant("A")], "rejected": [SYSTEM, assistant("B")]},
            "chosen and rejected must share every turn before the last one",
        ),
        (
            {"prompt": "Else?", "chosen": [USER, assistant("A")], "rejected": [USER, assistant("B")]},
            'column "prompt" differs from the turns before the replies',
        ),
        ({"prompt": None, "chosen": [assistant("A")], "rejected": [assistant("B")]}, "there is no prompt"),
        ({"score_chosen": "high"}, 'column "score_chosen" must be a number, got str'),
        ({"score_rejected": float("nan")}, 'column "score_rejected" must be a number, got float nan'),
        ({"preference": 1.5}, 'column "preference" must be a probability in [0, 1], got 1.5'),
        ({"response_a": "A"}, 'column "p_a_preferred" is missing'),
        ({"response_a": "A", "p_a_preferred": 0.2}, 'column "response_b" is missing'),
        ({"p_a_preferred": 2}, 'column "p_a_preferred" must be a probability in [0, 1], got 2.0'),
    ],
)
def test_a_malformed_record_is_named_in_one_line(tmp_path, change, message):
    rows = [{"prompt": "Q", "chosen": "A", "rejected": "B"} for _ in range(3)]
    rows[1] = {**rows[1], **change}
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the message is compared below
        load_records(path)
    assert str(error.value).startswith("data.jsonl: record 2: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.jsonl", b"", "data.jsonl: the file has no records"),
        ("data.jsonl", b"\n\n", "data.jsonl: the file has no records"),
        ("data.jsonl", b'{"prompt": "Q"}\n{"prompt":', "data.jsonl: record 2: not JSON"),
        ("data.jsonl", b"\n[1, 2]\n", "data.jsonl: record 2: must be an object with columns, got list"),
        ("data.jsonl", b"\xff\xfe", "data.jsonl: cannot be read: 'utf-8' codec"),
        ("data.jsonl.gz", b"not gzip", "data.jsonl.gz: cannot be read: Not a gzipped file"),
        # Without the time of day, which would be another test's name in each process of pytest-xdist.
        (
            "data.jsonl.gz",
            gzip.compress(b'{"a": 1}' * 99, mtime=0)[:-9],
            "data.jsonl.gz: cannot be read: Compressed file ended",
        ),
        ("data.json", b"[]", "data.json: the file has no records"),
        ("data.json", b'{"prompt": "Q"}', "data.json: must be a list of records, got dict"),
        ("data.json", b'{"prompt": "Q"}\n{}', "data.json: not JSON: .* name it .jsonl"),
        ("data.csv", b"prompt,chosen,rejected\n", "data.csv: the file has no records"),
        ("data.csv", b"prompt,chosen\nQ,A\n", 'data.csv: record 1: column "rejected" is missing'),
        ("data.parquet", b"PAR", "data.parquet: not a parquet file"),
        ("data.arrow", b"ARROW", "data.arrow: not an arrow file"),
        ("data.txt", b"Q", "data.txt: unknown kind of file; give .jsonl"),
    ],
)
def test_an_unreadable_file_is_named_in_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"^{message}") as error:
        load_records(tmp_path / name)
    assert "\n" not in str(error.value)


def test_missing_files_folders_and_empty_data(tmp_path):
    with pytest.raises(ValueError, match="there is no such file"):
        load_records(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="is a folder, but not one that datasets saved"):
        load_records(tmp_path)
    DatasetDict(train=Dataset.from_list(ROWS)).save_to_disk(tmp_path / "splits")
    with pytest.raises(ValueError, match="has several splits: give one of splits/train"):
        load_records(tmp_path / "splits")
    assert len(load_records(tmp_path / "splits" / "train")) == 2
    with pytest.raises(ValueError, match="there are no records"):
        load_records([])
    with pytest.raises(ValueError, match="files or rows, not both"):
        load_records([tmp_path / "a.jsonl", ROWS[0]])
    with pytest.raises(ValueError, match="ties = 'both'"):
        load_records(ROWS, ties="both")

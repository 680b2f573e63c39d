"""JSON and CSV, strictly: what is right in every guise, and one line with the record's number for what is wrong."""

from __future__ import annotations

import gzip
import json
from collections import Counter

import pytest

from scaled.config import DataSource
from scaled.data import text_files
from scaled.data.records import load_records
from scaled.data.sources import read_rows

ROWS = [
    {"prompt": "What is it?", "chosen": "A tree.", "rejected": "A\nrow."},
    {"prompt": 'And "this", Søren?', "chosen": "NA", "rejected": "42"},
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
CELLS = 'prompt,chosen,rejected\nWhat is it?,A tree.,"A\nrow."\n"And ""this"", Søren?",NA,42\n'


def rows_of(path):
    rows = list(read_rows(DataSource(path=str(path))))
    for row in rows:
        if isinstance(row.values, text_files.Broken):
            raise ValueError(f"{row}: {row.values}")
    return [row.values for row in rows]


GUISES = {
    "data.jsonl": LINES,
    "unended.jsonl": LINES.rstrip(),
    "gaps.jsonl": "\n" + LINES.replace("\n", "\n\n"),
    "windows.jsonl": LINES.replace("\n", "\r\n"),
    "marked.jsonl": "\ufeff" + LINES,
    "list.json": json.dumps(ROWS),
    "indented.json": "\n" + json.dumps(ROWS, indent=2) + "\n\n",
    "marked.json": "\ufeff" + json.dumps(ROWS),
    "lines.json": LINES,
    "cells.csv": CELLS,
    "marked.csv": "\ufeff" + CELLS,
    "windows.csv": CELLS.replace("\n", "\r\n").replace("A\r\nrow", "A\nrow"),
    "gaps.csv": CELLS.replace("42\n", "42\n\n"),
    "cells.tsv": 'prompt\tchosen\trejected\nWhat is it?\tA tree.\t"A\nrow."\n"And ""this"", Søren?"\tNA\t42\n',
    "UPPER.JSONL": LINES,
}


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("name", GUISES)
def test_the_same_rows_in_every_guise(tmp_path, name, packed):
    """A byte order mark (case 11), line ends, gaps; "NA" and "42" stay text."""
    data = GUISES[name].encode()
    path = tmp_path / (name + packed)
    path.write_bytes(gzip.compress(data) if packed else data)
    assert rows_of(path) == ROWS


def test_an_empty_cell_is_no_value_as_null_is(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,chosen,rejected,score_chosen\nQ,A,,\n")
    (tmp_path / "a.jsonl").write_text('{"prompt": "Q", "chosen": "A", "rejected": null, "score_chosen": null}')
    assert rows_of(tmp_path / "a.csv") == rows_of(tmp_path / "a.jsonl")


def test_a_cell_of_more_than_131072_characters_is_read(tmp_path):
    """Case 13."""
    (tmp_path / "a.csv").write_text(f"prompt,chosen,rejected\n{'long ' * 28000},A,B\n")
    assert rows_of(tmp_path / "a.csv")[0]["prompt"] == "long " * 28000


def test_numbers_of_records_are_lines_of_json_lines_and_rows_of_cells(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n{"a": 2}\n')
    (tmp_path / "a.csv").write_text('a\n"1\n1"\n2\n')
    for name, numbers in (("a.jsonl", [1, 3]), ("a.csv", [1, 2])):
        assert [row.number for row in read_rows(DataSource(path=str(tmp_path / name)))] == numbers


ROW = b'{"prompt": "Q", "chosen": "A", "rejected": "B"}'
MISTAKES = {
    "empty": ("a.jsonl", b"", "a.jsonl: there are no records in it"),
    "blank lines": ("a.jsonl", b"\n\n", "a.jsonl: there are no records in it"),
    "half a record": ("a.jsonl", b'{"a": 1}\n{"prompt":', "a.jsonl: record 2: not JSON: Expecting value"),
    "doubled key": ("a.jsonl", b'{"a": 1, "a": 2}', 'a.jsonl: record 1: "a" is there twice in one object'),
    "doubled key within": ("a.jsonl", b'{"a": [{"b": 1, "b": 1}]}', 'a.jsonl: record 1: "b" is there twice'),
    "deep": (
        "a.jsonl",
        ROW + b"\n" + b"[" * 100_000,
        "a.jsonl: record 2: not read: its lists or objects are nested too",
    ),
    "thousands of digits": ("a.jsonl", b'{"a": ' + b"9" * 5000 + b"}", "a.jsonl: record 1: Exceeds the limit"),
    "UTF-16": ("a.jsonl", LINES.encode("utf-16"), r"a.jsonl: record 1: is no text in UTF-8 \(perhaps UTF-16"),
    "UTF-16 CSV": ("a.csv", CELLS.encode("utf-16"), r"a.csv: line 1: is no text in UTF-8 .*: save it as UTF-8"),
    "UTF-32": ("a.json", LINES.encode("utf-32"), r"a.json: record 1: is no text in UTF-8 .*: save it as UTF-8"),
    "Latin-1": ("a.csv", CELLS.encode("latin-1"), r"a.csv: line 4: is no text in UTF-8 \(byte 0xf8\): save it as"),
    "zeros": ("a.csv", b"\0" * 99, r"a.csv: line 1: is no text in UTF-8 \(perhaps"),
    "no gzip": ("a.jsonl.gz", b"not gzip", "a.jsonl.gz: record 1: cannot be read: Not a gzipped file"),
    "cut gzip": (
        "a.jsonl.gz",
        gzip.compress(ROW * 9, mtime=0)[:-9],
        "a.jsonl.gz: record 1: cannot be read: Compressed",
    ),
    "empty list": ("a.json", b"[]", "a.json: there are no records in it"),
    "object of columns": ("a.json", b'{\n"prompt": ["Q"]}', "a.json: record 1: not JSON"),
    "cut list": ("a.json", b"[" + ROW + b",", "a.json: record 2: not JSON"),
    "broken off list": ("a.json", b"[" + ROW, "a.json: the list of records breaks off after record 1"),
    "two lists": ("a.json", b"[" + ROW + b"] []", "a.json: something follows the list of records"),
    "doubled key in a list": ("a.json", b"[" + ROW + b',{"a": 1, "a": 1}]', 'a.json: record 2: "a" is there twice'),
    "header alone": ("a.csv", b"prompt,chosen,rejected\n", "a.csv: there are no records in it"),
    "doubled column": ("a.csv", b"a,b,a\n1,2,3\n", 'a.csv: the header has the column "a" twice: rename one'),
    "semicolons": ("a.csv", b"prompt;chosen\n1;2\n", "a.csv: cells are separated by ';': separate them by ','"),
    "comma without quotes": (
        "a.csv",
        b"prompt,chosen,rejected\nA,B,C\nName a colour.,Red, I think,No idea.\n",
        "a.csv: record 2: has 4 cells, the header has 3: put a text with commas in quotes",
    ),
    "a cell too few": ("a.csv", b"a,b\n1,2\n1\n", "a.csv: record 2: has 1 cells, the header has 2"),
    "open quote": ("a.csv", b'a,b\n1,"2\n', "a.csv: record 1: cannot be read: unexpected end of data"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_file_and_record(tmp_path, mistake):
    name, data, message = MISTAKES[mistake]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=f"^{message}") as error:
        rows_of(tmp_path / name)
    assert "\n" not in str(error.value)


def test_rows_behind_a_broken_one_are_read(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(ROW + b'\n{"prompt":\n' + ROW + b"\n")
    (tmp_path / "a.csv").write_text("prompt,chosen,rejected\nQ,A,B\nQ,A,B,C\nQ,A,B\n")
    for name, said in (("a.jsonl", "not JSON: Expecting value"), ("a.csv", "has 4 cells, the header has 3")):
        counts: Counter[str] = Counter()
        assert len(load_records(tmp_path / name, unusable="drop", counts=counts)) == 2
        assert counts == {"malformed": 1}
        with pytest.raises(ValueError, match=f"^{name}: record 2: {said}.*; filters=unusable leaves"):
            load_records(tmp_path / name)


def test_sizes_are_checked_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "LONGEST_LINE", 2**20)
    monkeypatch.setattr(text_files, "LARGEST_LIST", 2**20)
    (tmp_path / "a.jsonl").write_bytes(ROW + b"\n" + b" " * 2**21)
    (tmp_path / "a.json").write_bytes(b"[" + b" " * 2**21)
    (tmp_path / "a.csv").write_bytes(b"a,b\n" + b"x" * 2**21)
    for name, message in (
        ("a.jsonl", "a.jsonl: record 2: its line is longer than 1 MiB"),
        ("a.json", "a.json: is a list of more than 1 MiB: write one record a line"),
        ("a.csv", "a.csv: line 2: its line is longer than 1 MiB"),
    ):
        with pytest.raises(ValueError, match=message):
            rows_of(tmp_path / name)

"""Files whole or not at all, and lines of JSON up to one that was cut off."""

import pytest

from scaled.files import json_lines, write_atomically


def test_a_file_that_cannot_be_written_is_as_it_was(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, "old\n")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800\n")
    assert path.read_text() == "old\n"
    write_atomically(path, "ü\n")
    assert path.read_bytes() == "ü\n".encode()
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_lines_end_where_the_file_was_cut_off_and_what_is_no_json_is_none(tmp_path):
    path = tmp_path / "lines.jsonl"
    deep = b"[" * 100_000
    path.write_bytes(b'{"a": 1}\n\xff\n' + deep + b'\n\n[2]\n{"a": ')
    assert list(json_lines(path)) == [
        (0, 9, {"a": 1}),
        (9, 11, None),
        (11, 12 + len(deep), None),
        (12 + len(deep), 13 + len(deep), None),
        (13 + len(deep), 17 + len(deep), [2]),
    ]

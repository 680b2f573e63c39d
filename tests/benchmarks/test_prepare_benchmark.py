"""The benchmark of preparation writes records that are prepared, and a row for each number of them."""

import pytest
from prepare import main, write_records

from scaled.data.records import load_records


def test_records_are_the_same_every_time_and_can_be_read(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        write_records(tmp_path / name, 50)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert len(load_records(tmp_path / "a.jsonl")) == 50


@pytest.mark.slow
def test_the_table_has_a_row_for_each_number(capsys):
    main(["--records", "2000", "--processes", "1"])
    *_, head, _, row = capsys.readouterr().out.strip().splitlines()
    assert len(head.split("|")) == len(row.split("|")) == 9
    assert row.startswith("| 2,000 | ")
    assert all(float(cell.replace(",", "")) > 0 for cell in row.split("|")[1:-1])

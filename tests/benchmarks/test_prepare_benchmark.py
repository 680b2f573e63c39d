"""The benchmark of preparation writes records that are prepared, and a row for each number of them."""

import prepare
from side_by_side import Spent

from scaled.data.records import load_records


def test_records_are_the_same_every_time_and_can_be_read(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        prepare.write_records(tmp_path / name, 50)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert len(load_records(tmp_path / "a.jsonl")) == 50


def test_the_table_has_a_row_for_each_number(monkeypatch, capsys):
    """4 s by the clock and 8 of processors for 10,000 records, 6 s up to the first update; three times as long raw."""
    took = prepare.Prepared(Spent(4.0, 8.0), first=90.0, all=300.0)
    monkeypatch.setattr(prepare, "prepare", lambda *_arguments: took)
    monkeypatch.setattr(
        prepare, "start", lambda data, *_others: Spent(*(6.0, 7.0) if data.suffix == "" else (18.0, 21.0))
    )
    prepare.main(["--records", "10000", "--raw"])
    head, _, row = capsys.readouterr().out.strip().splitlines()[-3:]
    assert len(head.split("|")) == len(row.split("|"))
    assert row == "| 10,000 | 2,500 | 1,250 | 90.0 | 300 | 6.0 | 7.0 | 18.0 | 21.0 |"

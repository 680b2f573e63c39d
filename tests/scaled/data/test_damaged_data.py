"""Random damage to files of every kind: each ends in records or in one line, never in a traceback."""

from __future__ import annotations

import gzip
import json
import random

import pyarrow as pa
import pytest
from damages import damaged
from datasets import Dataset
from pyarrow import feather, parquet

from scaled.data.records import load_records

TURNS = [{"role": "user", "content": "Søren, what is it?"}, {"role": "assistant", "content": "A tree. 🌳"}]
ROWS = [
    {"chosen": TURNS, "rejected": [TURNS[0], {"role": "assistant", "content": f"No {n}."}], "score_chosen": n / 3}
    for n in range(20)
]
LINES = "".join(json.dumps(row, ensure_ascii=n % 2 == 0) + "\n" for n, row in enumerate(ROWS)).encode()
CELLS = ["prompt,chosen,rejected", *(f'"Name, {n}","A ""good"" one, Søren","A\nrow"' for n in range(20))]
TABLE = pa.Table.from_pylist(ROWS)
DAMAGES = 20


def write(path):
    """The records, whole, as the suffix says."""
    kind = path.name.partition(".")[2]
    if kind == "parquet":
        parquet.write_table(TABLE, path, row_group_size=5)
    elif kind == "arrow":
        feather.write_feather(TABLE, path, compression="uncompressed")
    elif kind == "stream.arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, TABLE.schema) as writer:
            writer.write_table(TABLE)
    else:
        data = {
            "jsonl": LINES,
            "jsonl.gz": gzip.compress(LINES, mtime=0),
            "json": json.dumps(ROWS, indent=1).encode(),
            "csv": "\n".join(CELLS).encode(),
        }[kind]
        path.write_bytes(data)


def refusal(path, unusable="refuse"):
    """What is said of data that are refused; empty where there are records."""
    try:
        return "" if load_records(path, unusable=unusable) else "no records, and nothing said"
    except ValueError as error:
        return str(error)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.getbasetemp() / "datasets")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.csv", "a.parquet", "a.arrow", "a.stream.arrow"])
def test_damage_is_one_line_or_records(tmp_path, name):
    path = tmp_path / name
    write(path)
    whole, draw = path.read_bytes(), random.Random(name)  # noqa: S311  # the same damages every time
    assert len(load_records(path)) == len(ROWS)
    refused = 0
    for _ in range(DAMAGES):
        path.write_bytes(damaged(whole, draw))
        said = refusal(path, draw.choice(["refuse", "drop"]))
        refused += bool(said)
        assert not said or (said.startswith(f"{name}: ") and "\n" not in said)
    assert refused > DAMAGES // 3


@pytest.mark.parametrize("seed", range(10))
def test_damage_to_a_saved_data_set_is_one_line_or_records(tmp_path, seed):
    draw = random.Random(seed)  # noqa: S311  # the same damages every time
    Dataset(TABLE).save_to_disk(tmp_path / "saved")
    file = draw.choice(sorted((tmp_path / "saved").iterdir()))
    file.write_bytes(damaged(file.read_bytes(), draw))
    said = refusal(tmp_path / "saved")
    assert not said or (said.startswith("saved: ") and "\n" not in said)

"""Files, folders and saved data sets to rows, by `datasets`; what cannot be read is one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict, Features, Image, Value
from pyarrow import feather

from scaled.config import DataSource
from scaled.data.sources import names_hub, read_rows
from scaled.data.text_files import Broken

ROWS = [{"prompt": f"Name {n}.", "chosen": f"A {n}", "rejected": None if n == 1 else "B"} for n in range(3)]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.getbasetemp() / "datasets")


def source(path, **options):
    return DataSource.model_validate({"path": str(path), **options})


def values(path, **options):
    return [row.values for row in read_rows(source(path, **options))]


def write_lines(path, rows=ROWS):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_parquet_and_both_kinds_of_arrow(tmp_path):
    """Case 24: `datasets` writes streams, pyarrow and polars files, under one name."""
    table = pa.Table.from_pylist(ROWS)
    Dataset(table).to_parquet(tmp_path / "a [1].parquet")
    feather.write_feather(table, tmp_path / "file.arrow", compression="uncompressed")
    with pa.OSFile(str(tmp_path / "stream.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    for name in ("a [1].parquet", "file.arrow", "stream.arrow"):
        assert values(tmp_path / name) == ROWS
    assert [str(row) for row in read_rows(source(tmp_path / "file.arrow"))][-1] == "file.arrow: record 3"


def test_keys_that_a_table_fills_in_are_left_out(tmp_path):
    """A message of a table has every key that some message has, null where it has none; a cell stays null."""
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "", "tool_calls": [{"city": "Rome"}]}]
    turns.append({"role": "assistant", "content": "", "tool_calls": [{"land": "Italy"}]})
    Dataset.from_list([{"prompt": turns, "chosen": None}, {"prompt": turns, "chosen": "A"}]).to_parquet(
        tmp_path / "a.parquet"
    )
    assert values(tmp_path / "a.parquet") == [{"prompt": turns, "chosen": None}, {"prompt": turns, "chosen": "A"}]


def test_saved_data_sets_and_their_splits(tmp_path):
    table = Dataset.from_list(ROWS)
    table.save_to_disk(tmp_path / "one")
    DatasetDict(train=table, test=table.select([0])).save_to_disk(tmp_path / "splits")
    DatasetDict(train_prefs=table, test_prefs=table).save_to_disk(tmp_path / "others")
    assert values(tmp_path / "one") == values(tmp_path / "splits") == values(tmp_path / "splits" / "train") == ROWS
    assert values(tmp_path / "splits", split="test") == ROWS[:1]
    assert len(list(read_rows(source(tmp_path / "splits"), ("validation", "test")))) == 1
    with pytest.raises(
        ValueError, match=r"^others: say which split: it has train_prefs, test_prefs; give {path: others"
    ):
        values(tmp_path / "others")
    with pytest.raises(ValueError, match=r"^splits: there is no split dev: it has train, test"):
        values(tmp_path / "splits", split="dev")
    with pytest.raises(ValueError, match=r"^one: a data set saved alone has no split"):
        values(tmp_path / "one", split="train")
    with pytest.raises(ValueError, match=r"^one: a saved data set has no config"):
        values(tmp_path / "one", config="default")


def test_a_folder_of_text_files_is_read_as_strictly_as_a_file(tmp_path):
    write_lines(tmp_path / "train.jsonl")
    write_lines(tmp_path / "test.jsonl", ROWS[:1])
    assert values(tmp_path) == ROWS
    assert values(tmp_path, split="test") == ROWS[:1]
    (tmp_path / "train.jsonl").write_text('{"a": 1}\n{"a": 1, "a": 2}')
    assert values(tmp_path) == [{"a": 1}, Broken('"a" is there twice in one object')]


def test_a_folder_with_configurations(tmp_path):
    Dataset.from_list(ROWS).to_parquet(tmp_path / "clean.parquet")
    write_lines(tmp_path / "raw" / "part-0.jsonl", ROWS[:1])
    write_lines(tmp_path / "raw" / "part-1.jsonl", ROWS[1:])
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: clean\n  data_files: clean.parquet\n"
        "- config_name: raw\n  data_files: raw/*.jsonl\n---\n"
    )
    assert values(tmp_path, config="clean") == values(tmp_path, config="raw") == ROWS
    with pytest.raises(ValueError, match=r"cannot be read: Config name is missing"):
        values(tmp_path)
    with pytest.raises(ValueError, match=r"cannot be read: BuilderConfig 'other' not found"):
        values(tmp_path, config="other")


def test_images_are_refused_by_name(tmp_path):
    features = Features({"prompt": Value("string"), "picture": Image()})
    Dataset.from_list([{"prompt": "Q", "picture": None}], features=features).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r'^a.parquet: column "picture" holds images: only text is trained on'):
        values(tmp_path / "a.parquet")


def test_damaged_tables_are_one_line(tmp_path, capfd):
    for name, data in (("a.parquet", b"PAR1" * 9), ("b.parquet", b""), ("a.arrow", b"ARROW1\0\0"), ("b.arrow", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(
            ValueError, match=f"^{name}: (cannot be read|record 1: cannot be read|there are no)"
        ) as error:
            values(tmp_path / name)
        assert "\n" not in str(error.value)
    assert "Failed" not in capfd.readouterr().err


def test_what_is_no_source_is_one_line(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("Q")
    (tmp_path / "a.parquet.gz").write_text("Q")
    os.mkfifo(tmp_path / "pipe.jsonl")
    write_lines(tmp_path / "a.jsonl")
    for path, options, message in (
        (tmp_path / "none.jsonl", {}, "none.jsonl: there is no such file"),
        (tmp_path / "a.jsonl" / "b.jsonl", {}, "b.jsonl: there is no such file"),
        (tmp_path / "loop", {}, "loop.*: cannot be read: Too many levels of symbolic links"),
        ("/dev/zero", {}, "/dev/zero: is a pipe or a device: save the records in a file"),
        (tmp_path / "pipe.jsonl", {}, "pipe.jsonl: is a pipe or a device"),
        (tmp_path / "a.txt", {}, "a.txt: unknown kind of file; give .jsonl"),
        (tmp_path / "a.parquet.gz", {}, "a.parquet.gz: unknown kind of file"),
        (tmp_path / "empty", {}, "empty: cannot be read: The directory at .* doesn't contain any data files"),
        (tmp_path / "empty", {"revision": "main"}, "empty: a folder has no revision: leave it out"),
        (tmp_path / "a.jsonl", {"split": "train"}, "a.jsonl: a file has no split: leave it out"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            values(path, **options)
        assert "\n" not in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for root")
def test_files_that_may_not_be_read_are_one_line(tmp_path):
    write_lines(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").chmod(0)
    with pytest.raises(ValueError, match=r"^a.jsonl: cannot be read: Permission denied"):
        values(tmp_path / "a.jsonl")


def test_a_name_that_is_no_path_is_looked_for_on_the_hub_and_said_so(monkeypatch):
    asked = []

    def load_dataset(*names, **options):
        asked.append((*names, options))
        raise ConnectionError("Couldn't reach 'org/name' on the Hub\nbecause")

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    with pytest.raises(ValueError, match=r"^org/name: cannot be read: Couldn't reach .* \(it is no file") as error:
        values("org/name", config="c", split="s", revision="v1")
    assert "\n" not in str(error.value)
    assert asked == [("org/name", {"name": "c", "split": "s", "revision": "v1", "streaming": False})]
    assert not Path("org").exists()


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("org/name", True),
        ("org/name.v2", True),
        ("name", False),
        ("a/b/c", False),
        ("org/name.jsonl", False),
        ("../a", False),
    ],
)
def test_what_may_be_a_name_on_the_hub(tmp_path, monkeypatch, path, named):
    monkeypatch.chdir(tmp_path)
    assert names_hub(source(path)) is named
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert not names_hub(source("org/name"))

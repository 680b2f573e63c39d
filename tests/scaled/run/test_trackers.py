"""Every number of the journal arrives where a tracker keeps it; one that does not start is said before the training."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from tiny_base import small

from inspo.command_line import UserError
from scaled.run import run as running
from scaled.training.journal import read

SHORT = {"method": "simpo", "limit": 24, "validation_size": 8, "max_updates": 2, "validate_every": 2}
Point = tuple[str, int, float]
"""Name, update and value."""


def of_tensorboard(folder: Path) -> Iterator[Point]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "chosen" / "tensorboard" / "inspo"))
    events.Reload()
    for name in events.Tags()["scalars"]:
        yield from ((name, event.step, event.value) for event in events.Scalars(name))


def of_mlflow(folder: Path) -> Iterator[Point]:
    from mlflow import MlflowClient

    client = MlflowClient(f"file:{folder / 'mlruns'}")
    experiment = client.get_experiment_by_name("inspo")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status, run.data.params["method"]) == ("chosen", "FINISHED", "simpo")
    for name in run.data.metrics:
        yield from ((name, each.step, each.value) for each in client.get_metric_history(run.info.run_id, name))


def of_trackio(folder: Path) -> Iterator[Point]:
    with sqlite3.connect(folder / "trackio" / "inspo.db") as database:
        ((name, config),) = database.execute("select run_name, config from configs").fetchall()
        assert (name, json.loads(config)["method"]) == ("chosen", "simpo")
        for step, numbers in database.execute("select step, metrics from metrics"):
            yield from ((name, step, value) for name, value in json.loads(numbers).items())


def of_wandb(folder: Path) -> Iterator[Point]:
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    for data in records(file.read_bytes()):
        record = Record.FromString(data)
        if record.WhichOneof("record_type") == "run":
            assert (record.run.project, record.run.display_name) == ("inspo", "chosen")
        numbers = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        step = numbers.get("_step")
        yield from ((name, step, value) for name, value in numbers.items() if not name.startswith("_"))


def records(file: bytes) -> Iterator[bytes]:
    """Of a file of W&B's: LevelDB's log format, blocks of 32 KiB, the first of which begins with a header."""
    place, header, block, whole = 7, struct.Struct("<IHB"), 2**15, b""
    while place + header.size <= len(file):
        if block - place % block < header.size:  # too little for another one is left empty
            place += block - place % block
        _, length, kind = header.unpack_from(file, place)
        place += header.size
        whole += file[place : place + length]
        place += length
        if kind in (1, 4):  # whole, or the last part
            yield whole
            whole = b""


@pytest.mark.parametrize("reader", [of_tensorboard, of_mlflow, of_trackio, of_wandb])
def test_every_number_arrives(reader, tmp_path, monkeypatch):
    tracker = reader.__name__.removeprefix("of_")
    if find_spec(tracker) is None:
        pytest.skip(f"{tracker} is not installed: see LOG.md for why the group dev leaves it out")
    for name, value in {
        "HOME": tmp_path,
        "MLFLOW_TRACKING_URI": f"file:{tmp_path / 'mlruns'}",
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TRACKIO_DIR": tmp_path / "trackio",
        "WANDB_MODE": "offline",
        "WANDB_DIR": tmp_path,
    }.items():
        monkeypatch.setenv(name, str(value))
    config = small(tmp_path / "chosen", trackers=[tracker], **SHORT)
    running.run(config)
    expected = {
        (f"{line['kind']}/{name}", line["update"]): value
        for line in read(tmp_path / "chosen" / "metrics.jsonl")
        for name, value in line.items()
        if name not in ("kind", "update") and value is not None
    }
    assert {kind.partition("/")[0] for kind, _ in expected} == {"update", "validation"}
    found = list(reader(tmp_path))
    assert len(found) == len(expected)
    assert {(name, step): value for name, step, value in found} == pytest.approx(expected, rel=1e-6)  # float32


def test_a_tracker_that_does_not_start_is_one_line_before_the_reference_is_scored(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "score_reference", lambda *_: pytest.fail("scored"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tensorboard").write_text("a file where its folder would be")
    with pytest.raises(UserError, match=r"^trackers: tensorboard cannot be started \(.*\): set up what it asks for"):
        running.run(small(tmp_path / "out", trackers=["tensorboard"], **SHORT))
    assert not (tmp_path / "out" / "metrics.jsonl").exists()

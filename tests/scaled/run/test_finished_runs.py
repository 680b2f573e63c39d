"""A run's folder: checked before it is vouched for, held by one start, and claimed by the first update."""

import json
import shutil
from pathlib import Path

import pytest
from tiny_base import TINY, small

from inspo.command_line import UserError
from scaled import train as command
from scaled.errors import SaveError
from scaled.run import run as running
from scaled.run.resumption import claim_folder, lock_folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("finished")
    (root / "data.jsonl").write_text("".join(TINY.read_text().splitlines(keepends=True)[:24]))
    running.run(config(root))
    return root


def config(root: Path, **changes: object):
    about = {"data": str(root / "data.jsonl"), "validation_size": 8, "method": "simpo", "max_updates": 1}
    return small(root / "out", **(about | changes))


@pytest.fixture
def root(finished, tmp_path) -> Path:
    return shutil.copytree(finished, tmp_path / "root")


@pytest.fixture(autouse=True)
def same_paths(finished, root):
    """The data's path is part of the configuration: that of the copy."""
    for name in ("config.json", "run.json"):
        file = root / "out" / name
        file.write_text(file.read_text().replace(str(finished), str(root)))


def test_a_finished_run_is_vouched_for(root):
    assert "holds a finished run" in running.run(config(root))


def test_other_data_are_said(root):
    data = root / "data.jsonl"
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    for row in rows:
        row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"holds a run on other (validation )?data: set another out"):
        running.run(config(root))


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"files": 3}', "[" * 5000])
def test_a_run_json_of_another_shape_is_refused(root, content):
    (root / "out" / "run.json").write_text(content)
    with pytest.raises(UserError, match="not as it was written"):
        running.run(config(root))


def test_a_result_that_is_gone_or_changed_is_refused_and_can_be_written_again(root):
    weights = root / "out" / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match=r"model.safetensors is changed since"):
        running.run(config(root))
    shutil.rmtree(weights.parent)
    with pytest.raises(UserError, match="is gone since the run ended: remove"):
        running.run(config(root))
    (root / "out" / "run.json").unlink()
    running.run(config(root))
    assert "holds a finished run" in running.run(config(root))


def test_a_folder_is_held_by_one_start_at_a_time(root):
    lock = lock_folder(Path(config(root).out))
    with pytest.raises(UserError, match=r"is in use by process \d+ on "):
        running.run(config(root))
    lock.release()
    running.run(config(root))


def test_a_start_that_made_no_update_claims_nothing(root):
    out = root / "out"
    for path in (*out.glob("checkpoint-*"), out / "metrics.jsonl", out / "run.json"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    claim_folder(config(root, seed=7))


def test_an_interrupt_before_training_is_one_line(monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_main", interrupt)
    assert command.main() == 130
    assert capsys.readouterr().err.strip() == "stopped before training; the same command starts again"


@pytest.mark.parametrize(("rank", "size"), [("x", "1"), ("-1", "1"), ("2", "2"), ("0", "")])
def test_ranks_that_make_no_sense_are_one_line(monkeypatch, capsys, rank, size):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    assert command.main() == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_disk_that_fails_while_the_result_is_written_is_one_line(root, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    (root / "out" / "run.json").unlink()
    monkeypatch.setattr("scaled.run.results.model_card", full)
    with pytest.raises(SaveError, match=r"the result could not be written .*No space left"):
        running.run(config(root))
    assert not (root / "out" / "run.json").exists()

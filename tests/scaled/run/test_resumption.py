"""Stopping and going on, in one process: nothing is lost, and nothing stale or damaged is trained on."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from stops import StopAfter
from tiny_base import SMALL, TINY, write_base

from inspo.command_line import UserError
from scaled.config import TrainConfig
from scaled.errors import SaveError
from scaled.run import resumption
from scaled.run import run as running
from scaled.run.prepare import prepare_run
from scaled.run.resumption import claim_folder, find_checkpoint
from scaled.training import checkpoints, state
from scaled.training.journal import TIMES, read


@pytest.fixture
def values(tmp_path) -> dict:
    data = tmp_path / "data.jsonl"
    data.write_text("".join(TINY.read_text().splitlines(keepends=True)[:24]))
    # simpo has no reference, which is another test's matter
    changes = {"data": str(data), "validation_size": 8, "out": str(tmp_path / "out"), "method": "simpo"}
    return SMALL | changes | {"max_updates": 4, "validate_every": 2, "save_every": 1}


def stop_after(update: int, values: dict) -> str:
    return running.run(TrainConfig(**values), StopAfter(update))


def interrupt(*_):
    """Ends a run where it would have written its results."""
    raise InterruptedError


def lines(out: Path | str) -> list[dict]:
    return [
        {name: value for name, value in line.items() if name not in TIMES} for line in read(Path(out) / "metrics.jsonl")
    ]


def test_a_stop_loses_no_validation(values, tmp_path):
    """Stopped during update 2, whose validation is due: the same lines and best checkpoint as without a stop."""
    assert "stopped (SIGTERM) after update 2" in stop_after(2, values)
    running.run(TrainConfig(**values))
    whole = values | {"out": str(tmp_path / "whole")}
    running.run(TrainConfig(**whole))
    assert [line["kind"] for line in lines(whole["out"])].count("validation") == 2
    assert lines(values["out"]) == lines(whole["out"])


def test_a_damaged_checkpoint_does_not_push_out_good_ones(values, caplog):
    out = Path(values["out"])
    for update in (5, 10, 15):
        folder = checkpoints.checkpoint(out, update)
        folder.mkdir(parents=True)
        (folder / "weights").write_text(f"weights of {update}")
        checkpoints.complete(folder, checkpoints.sums(folder), world_size=1, zero_stage=0)
    (out / "checkpoint-15" / "weights").write_text("weights of 16")
    (out / "checkpoint-20").mkdir()

    assert find_checkpoint(TrainConfig(**values)) == out / "checkpoint-10"
    assert "checkpoint-15 has a corrupted weights: not used, kept as damaged-checkpoint-15" in caplog.text
    assert "checkpoint-20 was cut off while it was written: not used" in caplog.text
    (out / "checkpoint-11").mkdir()
    checkpoints.complete(out / "checkpoint-11", {}, world_size=1, zero_stage=0)
    checkpoints.prune(out, 2, None)
    assert {folder.name for folder in out.iterdir()} == {"checkpoint-10", "checkpoint-11", "damaged-checkpoint-15"}


def test_random_weights_of_an_abandoned_attempt_are_not_trained(values, tmp_path):
    out = Path(values["out"])
    write_base(out / "base", seed=5)
    write_base(tmp_path / "fresh", seed=0, data=values["data"])
    stop_after(1, values)
    ours, fresh = (load_file(folder / "model.safetensors") for folder in (out / "base", tmp_path / "fresh"))
    assert ours.keys() == fresh.keys()
    assert all(torch.equal(ours[name], fresh[name]) for name in fresh)
    tokenizers = [(folder / "tokenizer.json").read_text() for folder in (out / "base", tmp_path / "fresh")]
    assert tokenizers[0] == tokenizers[1]


def test_changed_data_are_not_trained_on(values):
    stop_after(1, values)
    data = Path(values["data"])
    records = [json.loads(line) for line in data.read_text().splitlines()]
    records[3]["chosen"], records[3]["rejected"] = records[3]["rejected"], records[3]["chosen"]
    data.write_text("".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(UserError, match=r"checkpoint-1 was made with other (validation )?data: put them back"):
        running.run(TrainConfig(**values))


def test_changed_initial_weights_are_not_trained(values, tmp_path):
    base = write_base(tmp_path / "base", seed=1)
    stop_after(1, values | {"model": str(base)})
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"] *= 2
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="checkpoint-1 was made with other initial weights"):
        running.run(TrainConfig(**(values | {"model": str(base)})))


def test_ranks_that_read_other_data_do_not_train_on_them(values, monkeypatch):
    monkeypatch.setattr(resumption, "gathered", lambda mine: [mine, mine | {"data": "another machine's"}])
    with pytest.raises(UserError, match="ranks read other records"):
        running.run(TrainConfig(**values))


def test_a_folder_that_was_moved_still_finds_its_best_checkpoint(values, tmp_path, monkeypatch):
    """Ended but for its results, and moved: they come from the best checkpoint where it is now."""
    with monkeypatch.context() as patched:
        patched.setattr(running, "write_results", interrupt)
        with pytest.raises(InterruptedError):
            running.run(TrainConfig(**values))
    moved = tmp_path / "moved"
    shutil.move(values["out"], moved)
    running.run(TrainConfig(**(values | {"out": str(moved)})))
    best = json.loads((moved / "run.json").read_text())["best_update"]
    ours, kept = (load_file(folder / "model.safetensors") for folder in (moved / "model", moved / f"checkpoint-{best}"))
    assert all(torch.equal(ours[name], kept[name]) for name in kept)


def test_a_result_without_weights_is_not_called_finished(values, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(running, "write_results", interrupt)
        with pytest.raises(InterruptedError):
            running.run(TrainConfig(**values))
    out = Path(values["out"])
    best = out / f"checkpoint-{checkpoints.facts(out / 'checkpoint-4')['best_update']}"
    if best.name == "checkpoint-4":  # damage would be seen at resumption
        monkeypatch.setattr(checkpoints, "problem", lambda _: None)
    (best / "model.safetensors").unlink()
    with pytest.raises(SaveError, match=f"{best.name}, whose weights are gone"):
        running.run(TrainConfig(**values))
    assert not (out / "run.json").exists()


def test_a_save_that_fails_without_a_word_is_still_one_line(values, monkeypatch):
    def fail(*_):
        raise RuntimeError

    monkeypatch.setattr(state, "save", fail)
    with pytest.raises(SaveError, match=r"checkpoint-1 could not be written \(RuntimeError\)"):
        running.run(TrainConfig(**values))


def test_ranks_that_probe_a_folder_at_once_do_not_call_it_unwritable(values, monkeypatch):
    """As when another rank removes the probe first."""
    monkeypatch.setattr(Path, "touch", lambda _: None)
    claim_folder(TrainConfig(**values))
    assert Path(values["out"]).is_dir()


def test_tensorboard_shows_a_run_that_goes_on_once(values):
    """Stopped after update 3 and begun again from checkpoint 2: update 3 is there once, from the second start."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    values |= {"trackers": ["tensorboard"]}
    stop_after(3, values)
    out = Path(values["out"])
    checkpoints.discard(out / "checkpoint-3")
    running.run(TrainConfig(**values))
    events = EventAccumulator(str(out / "tensorboard" / "inspo"))
    events.Reload()
    assert [event.step for event in events.Scalars("update/loss")] == [1, 2, 3, 4]
    expected = [line["loss"] for line in lines(out) if line["kind"] == "validation"]
    assert [event.value for event in events.Scalars("validation/loss")] == pytest.approx(expected)


def test_an_architecture_that_no_test_covers_is_tried_before_it_is_trained(values, monkeypatch):
    from scaled.model import loading

    tried = []

    def disagree(model, *, attention):
        tried.append((model.config.model_type, attention))
        raise ValueError("llama: log-probs differ")

    monkeypatch.setattr(loading, "VERIFIED", frozenset())
    monkeypatch.setattr(loading, "verify_tree_attention", disagree)
    with pytest.raises(UserError, match="log-probs differ"):
        running.run(TrainConfig(**(values | {"attention": "dense"})))
    assert tried == [("llama", "dense")]


LINES = {
    "no object": "3",
    "garbled": '{"update": 1, "kin',
    "no kind": '{"update": 1}',
    "another kind": '{"update": 1, "kind": "updat%", "seconds": 1, "tokens_per_second": 1}',
    "no number": '{"update": "1", "kind": "validation"}',
    "text for a number": '{"update": 1, "kind": "update", "seconds": "1", "tokens_per_second": 1}',
    "deep": "[" * 5000,
}


@pytest.mark.parametrize("fault", LINES)
def test_a_journal_that_was_not_written_so_is_one_line(values, fault):
    stop_after(2, values)
    file = Path(values["out"]) / "metrics.jsonl"
    first, *others = file.read_text().splitlines(keepends=True)
    file.write_text(first + LINES[fault] + "\n" + "".join(others))
    with pytest.raises(UserError, match=r"metrics.jsonl: line 2 is not as it was written: put the file back"):
        running.run(TrainConfig(**values))


def test_a_journal_without_some_updates_is_one_line_and_one_cut_later_goes_on(values):
    stop_after(2, values)
    file = Path(values["out"]) / "metrics.jsonl"
    whole = file.read_text()
    file.write_text("".join(whole.splitlines(keepends=True)[1:]))
    with pytest.raises(UserError, match="lacks lines of the 2 updates so far"):
        running.run(TrainConfig(**values))
    file.write_text(whole + '{"update": 3, "ki')
    running.run(TrainConfig(**values))
    assert [line["update"] for line in lines(values["out"]) if line["kind"] == "update"] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest | {"best_loss": 0.0},
        lambda manifest: manifest | {"files": []},
        lambda manifest: manifest | {"files": {"model.safetensors": 3}},
        lambda manifest: manifest | {"update": "two"},
        lambda manifest: {name: value for name, value in manifest.items() if name != "checksum"},
        lambda _: [],
        lambda _: None,
    ],
)
def test_a_manifest_that_was_not_written_so_does_not_count(values, change, caplog):
    stop_after(2, values)
    manifest = Path(values["out"]) / "checkpoint-2" / checkpoints.MANIFEST
    manifest.write_text(json.dumps(change(json.loads(manifest.read_text()))))
    assert find_checkpoint(TrainConfig(**values)) == Path(values["out"]) / "checkpoint-1"
    assert "checkpoint-2 has a corrupted complete.json: not used" in caplog.text


def test_intervals_beyond_the_run_are_said(values, caplog):
    prepare_run(TrainConfig(**(values | {"validate_every": 5, "save_every": 7})))
    assert "validate_every = 5 is beyond the run's 4 updates: only after the last one" in caplog.text
    assert "save_every = 7 is beyond the run's 4 updates: only after the last one" in caplog.text

"""`push_to_hub`: access is asked for before the training, and the result is there whether or not it can be pushed."""

from __future__ import annotations

import pytest
from tiny_base import small

from inspo.command_line import UserError
from scaled.run import publish
from scaled.run.run import run

SHORT = {"limit": 16, "validation_size": 4, "max_updates": 1, "batch_size": 4, "micro_batch": 4}


class Hub:
    """Stands for huggingface_hub's HfApi, and notes what it is asked to do."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict]] = []
        self.fails: set[str] = set()

    def __call__(self):
        return self

    def __getattr__(self, name):
        def method(*arguments, **keywords):
            self.asked.append((name, keywords | dict(enumerate(arguments))))
            if name in self.fails:
                raise ConnectionError("no route\nand more")
            if name == "upload_folder":
                assert (keywords["folder_path"] / "model.safetensors").is_file()
            return "https://hub/owner/name"

        return method


@pytest.fixture
def hub(monkeypatch):
    made = Hub()
    monkeypatch.setattr(publish, "HfApi", made)
    monkeypatch.setattr(publish, "get_token", lambda: "secret")
    return made


def test_the_result_is_pushed_at_the_end(hub, tmp_path):
    out = tmp_path / "out"
    said = run(small(out, push_to_hub="owner/name", **SHORT))
    assert [name for name, _ in hub.asked] == ["create_repo", "upload_folder"]
    assert hub.asked[0][1] == {0: "owner/name", "private": True, "exist_ok": True}
    assert hub.asked[1][1]["repo_id"] == "owner/name"
    assert said.endswith("\non the hub:      https://hub/owner/name")
    assert not any("secret" in file.read_text(errors="ignore") for file in out.rglob("*.json"))


def test_nothing_is_trained_without_access(hub, tmp_path, monkeypatch):
    config = small(tmp_path / "out", push_to_hub="owner/name", **SHORT)
    hub.fails = {"create_repo"}
    with pytest.raises(UserError, match=r"^push_to_hub = owner/name: cannot be written to \(no route\)$"):
        run(config)
    monkeypatch.setattr(publish, "get_token", lambda: None)
    with pytest.raises(UserError, match="push_to_hub needs a token: run `hf auth login`"):
        run(config)
    assert not (tmp_path / "out" / "metrics.jsonl").exists()


def test_a_result_that_cannot_be_pushed_is_kept(hub, tmp_path):
    hub.fails = {"upload_folder"}
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"model is complete, but was not pushed \(no route\): hf upload owner/name"):
        run(small(out, push_to_hub="owner/name", **SHORT))
    assert (out / "model" / "model.safetensors").is_file()
    assert "holds a finished run" in run(small(out, push_to_hub="owner/name", **SHORT))


def test_without_the_key_the_hub_is_not_asked(hub, tmp_path):
    run(small(tmp_path / "out", **SHORT))
    assert hub.asked == []

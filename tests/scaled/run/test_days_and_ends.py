"""A run's day and the token that ends its replies: kept in its folder, and used by whoever loads the result."""

from __future__ import annotations

import datetime as dt
import json

import pytest
import torch
from stops import StopAfter
from tiny_base import SMALL, write_base
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessor

from scaled.config import TrainConfig
from scaled.data.templates import NAMED
from scaled.run.prepare import prepare_run
from scaled.run.results import stop_at
from scaled.run.run import run

DATED = "{{ '<|im_start|>system\nToday is ' + strftime_now('%d %b %Y') + '.<|im_end|>\n' }}" + NAMED["chatml"]


SHORT = SMALL | {"limit": 12, "validation_size": 4, "batch_size": 4, "micro_batch": 4, "epochs": 3}


def set_clock(monkeypatch, day):
    class Clock(dt.date):
        @classmethod
        def today(cls):
            return day

    monkeypatch.setattr(dt, "date", Clock)


def test_a_run_goes_on_the_next_day_with_the_prompts_of_the_first(tmp_path, monkeypatch):
    base = write_base(tmp_path / "base", seed=1, chat_template=DATED)
    out = tmp_path / "out"
    config = TrainConfig(**SHORT | {"model": str(base), "out": str(out)})
    first = dt.date(2026, 11, 25)
    set_clock(monkeypatch, first)
    assert "stopped" in run(config, StopAfter(1))
    caches = sorted((out / "reference").rglob("*.safetensors"))
    set_clock(monkeypatch, first + dt.timedelta(1))
    run(config)
    about = json.loads((out / "run.json").read_text())
    assert about["template_date"] == "2026-11-25"
    assert sorted((out / "reference").rglob("*.safetensors")) == caches, "the reference's log-probs were found"
    assert AutoTokenizer.from_pretrained(out / "model").chat_template == DATED, "what is deployed has its own day"
    other = TrainConfig(**SHORT | {"model": str(base), "out": str(tmp_path / "other"), "date": "2001-01-01"})
    assert prepare_run(other).template.date == dt.date(2001, 1, 1)


class ForceEnd(LogitsProcessor):
    """The model wants to end its turn after three tokens."""

    def __init__(self, token: int, after: int) -> None:
        self.token, self.after = token, after

    def __call__(self, input_ids, scores):
        if input_ids.shape[1] >= self.after:
            scores = torch.full_like(scores, -1e9)
            scores[:, self.token] = 0.0
        return scores


def test_a_base_model_that_was_trained_to_end_its_turns_stops_in_plain_transformers(tmp_path):
    """Its end of sequence is another token than the one that ends a reply under the named template."""
    base = write_base(tmp_path / "base", seed=1)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template, tokenizer.eos_token = None, "<|endoftext|>"
    tokenizer.save_pretrained(base)
    for name in ("config.json", "generation_config.json"):
        about = json.loads((base / name).read_text()) | {"eos_token_id": tokenizer.eos_token_id}
        (base / name).write_text(json.dumps(about))
    run(TrainConfig(**SHORT | {"model": str(base), "out": str(tmp_path / "out"), "template": "chatml"}))
    folder = tmp_path / "out" / "model"
    model, trained = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    end = trained.convert_tokens_to_ids("<|im_end|>")
    assert model.generation_config.eos_token_id == [tokenizer.eos_token_id, end]
    asked = trained.apply_chat_template(
        [{"role": "user", "content": "Hi"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    start = asked["input_ids"].shape[1]
    made = model.generate(**asked, max_new_tokens=20, do_sample=False, logits_processor=[ForceEnd(end, start + 3)])
    assert made.shape[1] == start + 4
    assert made[0, -1] == end


@pytest.mark.parametrize(
    ("named", "ends"), [(2, [2, 7]), ([2, 7], [2, 7]), (7, [7]), (None, [7])], ids=["one", "both", "it", "none"]
)
def test_the_end_of_a_reply_is_named_beside_what_is_there(tmp_path, named, ends):
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": named}))
    stop_at(tmp_path, 7)
    assert json.loads((tmp_path / "generation_config.json").read_text()) == {"eos_token_id": ends}
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": 3, "temperature": 0.6}))
    stop_at(tmp_path, 7)
    assert json.loads((tmp_path / "generation_config.json").read_text()) == {
        "eos_token_id": [3, 7],
        "temperature": 0.6,
    }

"""Judging by a real small model behind `transformers serve`: verdicts by text, and by log-probs.

5.23 answers without log-probs whatever it is asked, so the second test serves by a script that adds them. Weights
are random, so that verdicts mean nothing; what is checked is that they are the model's own.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tiny_base import ROOT
from tiny_models import tiny_model
from tiny_tokenizers import tiny_tokenizer

from inspo.command_line import UserError
from scaled.evaluation.benchmarks.base import JudgeRequest
from scaled.evaluation.judging.client import ask
from scaled.evaluation.judging.endpoint import Judge
from scaled.evaluation.judging.store import Store, read

pytestmark = pytest.mark.slow

TEMPLATE = (
    "{% for turn in messages %}<|im_start|>{{ turn['role'] }}\n{{ turn['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QUESTIONS = ("What is a tree?", "Hello there, what is it?", "Yes - and no!", "A tree has leaves.")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder, the model and its tokenizer."""
    folder = tmp_path_factory.mktemp("judge")
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    made = tiny_model("llama", vocab_size=len(tokenizer))
    made.save_pretrained(folder)
    return folder, made, tokenizer


@contextmanager
def served(command, folder, log):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [part.format(folder=folder, port=port) for part in command]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    with log.open("wb") as file, subprocess.Popen(started, stdout=file, stderr=file, env=environment) as process:
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except OSError:
                    assert process.poll() is None, log.read_text()
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def requests(**options):
    return [
        JudgeRequest(str(number), "ours", "turn 1", ({"role": "user", "content": text},), {"max_tokens": 4} | options)
        for number, text in enumerate(QUESTIONS)
    ]


def judged(path, folder, endpoint, asked):
    judge = Judge(name=str(folder), endpoint=endpoint, key="none", in_flight=1)
    with Store(path) as store:
        assert ask(asked, store, judge).asked == len(asked)
    return list(read(path))


def prompt(tokenizer, text):
    turns = [{"role": "user", "content": text}]
    return tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)


def test_text_verdicts_are_the_models_own_and_missing_log_probs_are_said(model, tmp_path):
    folder, own, tokenizer = model
    command = [str(Path(sys.executable).with_name("transformers")), "serve", "{folder}", "--port", "{port}"]
    with served([*command, "--host", "127.0.0.1", "--device", "cpu"], folder, tmp_path / "log") as endpoint:
        lines = judged(tmp_path / "text.jsonl", folder, endpoint, requests(temperature=0))
        with pytest.raises(UserError, match=r"gives no log-probs .its answers lack them."):
            judged(tmp_path / "logprobs.jsonl", folder, endpoint, requests(logprobs=True, top_logprobs=5))
        with pytest.raises(UserError, match="another/model"):  # this server says 400 where others say 404
            judged(tmp_path / "other.jsonl", "another/model", endpoint, requests())
    for line, text in zip(lines, QUESTIONS, strict=True):
        given = prompt(tokenizer, text)
        size = given["input_ids"].shape[1]
        written = own.generate(**given, do_sample=False, max_new_tokens=4)[0, size:]
        assert line["answer"]["text"] == tokenizer.decode(written, skip_special_tokens=True)
        assert line["answer"]["prompt_tokens"] == size
        assert line["answer"]["completion_tokens"] == len(written)


def test_log_probs_are_the_models_own(model, tmp_path):
    folder, own, tokenizer = model
    command = [sys.executable, str(ROOT / "tests" / "serve_with_logprobs.py"), "{folder}", "{port}"]
    with served(command, folder, tmp_path / "log") as endpoint:
        lines = judged(tmp_path / "l.jsonl", folder, endpoint, requests(temperature=0, logprobs=True, top_logprobs=5))
    for line, text in zip(lines, QUESTIONS, strict=True):
        with torch.no_grad():
            expected = own(**prompt(tokenizer, text)).logits[0, -1].log_softmax(-1)
        best = expected.topk(5)
        likeliest = {}
        for token, value in zip(best.indices, best.values.tolist(), strict=True):
            likeliest.setdefault(tokenizer.decode(token), value)  # parts of letters look alike
        assert line["answer"]["logprobs"] == pytest.approx(likeliest, abs=1e-4)

"""`make evaluate-tiny`, on a model of random weights: all four commands, a table, a page, and no server left."""

import json
import re
import runpy
import socket

import psutil
import pytest
from launching import free_ports
from tiny_base import ROOT
from tiny_models import tiny_model
from tiny_tokenizers import tiny_tokenizer

pytestmark = pytest.mark.slow

TEMPLATE = (
    "{% for turn in messages %}<|im_start|>{{ turn['role'] }}\n{{ turn['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Its context of 256 tokens cuts every answer off."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    tiny_model("llama", vocab_size=len(tokenizer), max_position_embeddings=256).save_pretrained(folder)
    return folder


@pytest.fixture
def main():
    yield runpy.run_path(str(ROOT / "scaled" / "examples" / "evaluate_tiny.py"))["main"]
    servers = [child for child in psutil.Process().children() if "judge_server.py" in " ".join(child.cmdline())]
    assert not servers


def test_generate_judge_score_and_page(main, model, tmp_path, capsys):
    out = tmp_path / "run"
    port = str(free_ports(1)[0])
    for asked, stored in ((24, 0), (0, 24)):  # a second time nothing is repeated
        assert main([str(model), "--out", str(out), "--port", port]) == 0
        shown = capsys.readouterr().out
        assert f"{asked} asked for now, {stored} from before" in shown
        assert re.search(r"model +WR +first wins +n\n", shown)
        assert f"page: {out / 'pairwise.html'}" in shown
    assert (out / "pairwise.html").is_file()
    answers = [json.loads(line) for line in (out / "answers" / "pairwise.jsonl").read_text().splitlines()]
    assert len(answers) == 12
    scores = json.loads((out / "scores" / "pairwise--repeats-the-request.json").read_text())
    assert scores["model"] == "tiny"


def test_a_port_that_is_taken_is_one_line(main, tmp_path, capfd):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main([str(tmp_path), "--port", str(taken.getsockname()[1])]) == 2
    assert capfd.readouterr().err.splitlines()[-1].endswith("is taken: name another with --port")


def test_the_first_command_that_fails_ends_it(main, tmp_path, capsys):
    assert main([str(tmp_path), "--out", str(tmp_path / "run"), "--port", str(free_ports(1)[0])]) == 2
    shown = capsys.readouterr()
    assert "scaled.evaluation judge" not in shown.out
    assert shown.err.splitlines()[-1].startswith("error:")

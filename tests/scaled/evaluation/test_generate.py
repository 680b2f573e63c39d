"""Answers to a benchmark by the command: its files, all three ways, going on after a kill, and the user's mistakes."""

import json
import os
import random
import runpy
import subprocess
import sys
from collections import deque
from pathlib import Path

import pytest
import torch
from launching import free_ports
from tiny_base import ROOT, small, write_base
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from scaled.evaluation.__main__ import main
from scaled.evaluation.answering.progress_file import ProgressFile
from scaled.evaluation.benchmarks import mt_bench, pairwise
from scaled.evaluation.benchmarks.base import Sampling
from scaled.evaluation.judging.store import read
from scaled.generation.batching import TransformersBackend
from scaled.generation.interface import Request, Settings
from scaled.generation.policy import Policy
from scaled.run.run import run

SHORT = Sampling(temperature=0.9, top_p=0.95, max_tokens=6)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return write_base(tmp_path_factory.mktemp("model") / "tiny", seed=3)


@pytest.fixture
def copy(tmp_path, monkeypatch) -> Path:
    """Prompts of our own, some with an end of their answers' length."""
    folder = tmp_path / "copy"
    folder.mkdir()
    asked = [
        "Name a bird.",
        "What is <|im_end|>?",
        "Say it in one word: how was the trip to the sea?",
        "1 + 1?",
        "Why?",
    ]
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in asked))
    monkeypatch.setattr(pairwise, "PROTOCOLS", {"paper": SHORT})
    return folder


def generate(base: Path, copy: Path, out: Path, *more: str, benchmark: str = "pairwise") -> int:
    command = ["generate", "--model", str(base), "--benchmark", benchmark, "--copy", str(copy), "--out", str(out)]
    return main([*command, "--device", "cpu", *more])


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "answers").iterdir() if not path.name.startswith(".")}


def details(out: Path, benchmark: str = "pairwise") -> list[dict]:
    return [json.loads(line) for line in (out / "answers" / f"{benchmark}.details.jsonl").read_text().splitlines()]


def test_answers_are_in_the_benchmarks_format_and_do_not_depend_on_the_batch(base, copy, tmp_path, capsys):
    assert generate(base, copy, tmp_path / "a", "--batch", "3") == 0
    assert "5 answers" in capsys.readouterr().out
    assert generate(base, copy, tmp_path / "b", "--batch", "1", "--seed", "0") == 0
    assert files(tmp_path / "a") == files(tmp_path / "b")
    questions = pairwise.questions(copy)
    answers = pairwise.read_answers(tmp_path / "a" / "answers" / f"pairwise{pairwise.ENDING}", questions)
    assert [answer.model for answer in answers] == ["tiny"] * 5
    settings = json.loads((tmp_path / "a" / "answers" / "pairwise.settings.json").read_text())
    assert settings["sampling"] == {"temperature": 0.9, "top_p": 0.95, "max_tokens": 6, "by_category": {}}
    assert settings["counts"]["answers"] == 5
    assert settings["counts"]["tokens"] == sum(sum(line["tokens"]) for line in details(tmp_path / "a"))
    assert generate(base, copy, tmp_path / "c", "--seed", "1") == 0
    assert details(tmp_path / "c") != details(tmp_path / "a")


def test_the_same_command_again_says_that_all_is_there(base, copy, tmp_path, capsys):
    assert generate(base, copy, tmp_path / "a") == 0
    before = files(tmp_path / "a")
    capsys.readouterr()
    assert generate(base, copy, tmp_path / "a") == 0
    assert "are there already" in capsys.readouterr().out
    assert files(tmp_path / "a") == before


def test_a_folder_is_the_same_however_it_is_named(base, copy, tmp_path, monkeypatch):
    """Begun by its path from here, gone on with by that from the root, and the other way round."""
    monkeypatch.chdir(base.parent)
    here = Path(base.name)
    best = ("--way", "best-of-n", "--candidates", "2", "--method", "dpo", "--reference")
    assert generate(here, copy, tmp_path / "a", *best, str(here)) == 0
    assert generate(base, copy, tmp_path / "a", *best, str(base)) == 0
    assert generate(base, copy, tmp_path / "b", *best, str(base)) == 0
    assert generate(here, copy, tmp_path / "b", *best, str(here)) == 0
    assert files(tmp_path / "a") == files(tmp_path / "b")
    path = tmp_path / "a" / "answers" / "pairwise.settings.json"
    path.write_text(path.read_text().replace(f'"source": "{base}"', f'"source": "{here}"'))  # as it was written before
    assert generate(base, copy, tmp_path / "a", *best, str(base)) == 0
    monkeypatch.chdir(tmp_path)
    assert generate(base, copy, tmp_path / "a", *best, str(base)) == 2  # here is another folder now


def test_empty_answers_are_kept_and_counted(base, copy, tmp_path, monkeypatch):
    monkeypatch.setattr("scaled.generation.policy.Policy.text", lambda *_: "")
    assert generate(base, copy, tmp_path / "a") == 0
    assert [line["turns"] for line in details(tmp_path / "a")] == [[""]] * 5
    counts = json.loads((tmp_path / "a" / "answers" / "pairwise.settings.json").read_text())["counts"]
    assert counts["turns that are empty"] == 5


def test_revisions_keep_their_drafts(base, copy, tmp_path):
    assert generate(base, copy, tmp_path / "a", "--way", "revise", "--separator", "turn") == 0
    parts = [line["parts"][0] for line in details(tmp_path / "a")]
    assert all(isinstance(part["draft"], str) and not part["not_revised"] for part in parts)
    settings = json.loads((tmp_path / "a" / "answers" / "pairwise.settings.json").read_text())
    assert settings["separator"]["before_target"]


def test_the_best_of_n_keeps_its_candidates_with_their_margins(base, copy, tmp_path):
    assert generate(base, copy, tmp_path / "a", "--way", "best-of-n", "--candidates", "3") == 0
    for line in details(tmp_path / "a"):
        (part,) = line["parts"]
        best = max(range(3), key=lambda index: (part["scores"][index], -index))
        assert line["turns"] == [part["candidates"][best]]
        assert sum(part["scores"]) == pytest.approx(0, abs=1e-5)  # margins are antisymmetric
    settings = json.loads((tmp_path / "a" / "answers" / "pairwise.settings.json").read_text())
    assert settings["margin"][:2] == ["simpo", "symmetric"]
    assert settings["reference"] is None
    assert generate(base, copy, tmp_path / "b", "--way", "best-of-n", "--method", "dpo", "--reference", str(base)) == 0


def test_the_best_of_n_by_a_reward_model_is_that_of_the_highest_reward(base, copy, tmp_path):
    torch.manual_seed(0)
    reward = AutoModelForSequenceClassification.from_config(
        AutoConfig.from_pretrained(base, num_labels=1, pad_token_id=0, initializer_range=0.3)
    ).eval()
    reward.save_pretrained(tmp_path / "reward")
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.save_pretrained(tmp_path / "reward")
    choice = ("--way", "best-of-n", "--candidates", "2", "--choose", "reward")
    assert generate(base, copy, tmp_path / "a", *choice, "--reward-model", str(tmp_path / "reward")) == 0
    line = details(tmp_path / "a")[0]
    for text, score in zip(line["parts"][0]["candidates"], line["parts"][0]["scores"], strict=True):
        turns = [{"role": "user", "content": "Name a bird."}, {"role": "assistant", "content": text}]
        given = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            assert reward(**given).logits.item() == pytest.approx(score, abs=1e-5)


@pytest.fixture(scope="module")
def endpoint():
    """Of the shipped judge by rule: of two answers that repeat as much of the request the shorter is better."""
    command = [sys.executable, ROOT / "scaled" / "examples" / "judge_server.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().strip()
        server.stdin.close()


JUDGED = ("--way", "best-of-n", "--candidates", "3", "--choose", "judge", "--judge", "j")


def test_the_best_of_n_by_a_judge_has_the_most_points_against_the_others(base, copy, tmp_path, endpoint):
    """Verdicts as the rule gives them: more of the request's words, then fewer characters."""
    out = tmp_path / "a"
    assert generate(base, copy, out, *JUDGED, "--endpoint", endpoint) == 0
    rule = runpy.run_path(str(ROOT / "scaled" / "examples" / "judge_server.py"))["_words"]
    for question, line in zip(pairwise.questions(copy), details(out), strict=True):
        (part,) = line["parts"]
        merits = [(len(rule(question.turns[0]) & rule(text)), -len(text)) for text in part["candidates"]]
        expected = [
            sum(0.5 if mine == other else float(mine > other) for j, other in enumerate(merits) if j != i) / 2
            for i, mine in enumerate(merits)
        ]
        assert part["scores"] == expected
        assert line["turns"] == [part["candidates"][expected.index(max(expected))]]
    store = out / "answers" / "pairwise.choices.jsonl"
    lines = list(read(store))
    distinct = [len(set(line["parts"][0]["candidates"])) for line in details(out)]
    assert len(lines) == sum(n * (n - 1) for n in distinct) > 0
    assert {line["endpoint"] for line in lines} == {endpoint}
    before = files(out)
    (out / "answers" / "pairwise.jsonl").unlink()
    assert generate(base, copy, out, *JUDGED, "--endpoint", endpoint) == 0  # candidates anew, verdicts from the store
    assert files(out) == before


def test_a_judges_budget_that_is_spent_is_one_line_and_more_goes_on_to_the_same_bytes(
    base, copy, tmp_path, endpoint, capsys
):
    ask = (*JUDGED, "--endpoint", endpoint)
    assert generate(base, copy, tmp_path / "whole", *ask) == 0
    capsys.readouterr()
    assert generate(base, copy, tmp_path / "a", *ask, "--in-flight", "1", "--max-tokens", "2500") == 2
    assert "of --max-tokens 2500 are spent" in capsys.readouterr().err.splitlines()[-1]
    kept = len(list(read(tmp_path / "a" / "answers" / "pairwise.choices.jsonl")))
    assert 0 < kept < len(list(read(tmp_path / "whole" / "answers" / "pairwise.choices.jsonl")))
    assert generate(base, copy, tmp_path / "a", *ask) == 0
    for name, content in files(tmp_path / "whole").items():
        if name != "pairwise.choices.jsonl":  # it has dates
            assert files(tmp_path / "a")[name] == content


def test_a_judge_that_cannot_be_asked_ends_it_after_the_first_question(base, copy, tmp_path, capsys):
    out = tmp_path / "a"
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}/v1"
    assert generate(base, copy, out, *JUDGED, "--endpoint", nobody, "--batch", "1") == 2
    assert "no connection" in capsys.readouterr().err.splitlines()[-1]
    assert len((out / "answers" / "pairwise.progress.jsonl").read_text().splitlines()) < 15


def test_a_second_turn_follows_the_models_own_first(base, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    copy.mkdir()
    rows = [{"question_id": 81 + i, "category": "writing", "turns": [f"Name {i} birds.", "And why?"]} for i in range(2)]
    (copy / "question.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(mt_bench, "PROTOCOLS", {"official": Sampling(0.0, 1.0, 5, {"writing": 0.7})})
    out = tmp_path / "a"
    assert generate(base, copy, out, "--protocol", "official", benchmark="mt_bench") == 0
    answers = mt_bench.read_answers(out / "answers" / "mt_bench.jsonl", mt_bench.questions(copy))
    assert [len(answer.turns) for answer in answers] == [2, 2]

    policy = Policy.of(str(base))
    said = [
        {"role": role, "content": text}
        for role, text in zip(
            ("user", "assistant", "user"), ("Name 1 birds.", answers[1].turns[0], "And why?"), strict=True
        )
    ]
    request = Request("0/mt_bench/82/turn 2/answer", policy.prompt(said), Settings(0.7, 1.0, 5))
    backend = TransformersBackend(policy.model(gpu=False, dtype=torch.float32), policy.ends)
    ((_, completion),) = backend.generate(deque([request]))
    assert policy.text(completion) == answers[1].turns[1]


@pytest.fixture
def whole(base, copy, tmp_path, monkeypatch):
    """An unbroken run, and its progress before it was removed."""

    def moved(kept):
        kept.path.rename(tmp_path / "progress")

    monkeypatch.setattr(ProgressFile, "remove", moved)
    out = tmp_path / "whole"
    assert generate(base, copy, out, "--way", "best-of-n", "--candidates", "3") == 0
    return out


def test_a_run_that_was_cut_anywhere_goes_on_to_the_same_bytes(base, copy, tmp_path, whole):
    written = (tmp_path / "progress").read_bytes()
    settings = json.loads(files(whole)["pairwise.settings.json"])
    del settings["counts"]
    drawn = random.Random(0)  # noqa: S311  # moments, not secrets
    for number, size in enumerate([0, len(written), *(drawn.randrange(len(written)) for _ in range(3))]):
        out = tmp_path / f"cut-{number}"
        (out / "answers").mkdir(parents=True)
        (out / "answers" / "pairwise.settings.json").write_text(json.dumps(settings))
        (out / "answers" / "pairwise.progress.jsonl").write_bytes(written[:size])
        assert generate(base, copy, out, "--way", "best-of-n", "--candidates", "3") == 0
        assert files(out) == files(whole)


KILLS = """
import os, random, signal, sys
import torch
torch.set_num_threads(1)
# What a run imports; nothing is run before the forks, since a fork keeps no thread of its parent's.
import scaled.evaluation.answering.answers, transformers.models.llama.modeling_llama
from scaled.evaluation.__main__ import main
from scaled.evaluation.benchmarks import pairwise
from scaled.evaluation.benchmarks.base import Sampling
pairwise.PROTOCOLS = {"paper": Sampling(0.9, 0.95, 6)}
base, copy, root, kills, size = sys.argv[1:4] + [int(value) for value in sys.argv[4:6]]
write = os.write
def killed_after(moment):
    left = moment
    def cut(file, data):
        nonlocal left
        if not data.startswith(b'{"key"'):
            return write(file, data)
        write(file, data[:left])
        left -= len(data)
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return len(data)
    return cut
def run(out, moment=None):
    child = os.fork()
    if child == 0:
        sys.stdout = sys.stderr = open(os.devnull, "w")
        if moment is not None:
            os.write = killed_after(moment)
        os._exit(main(["generate", "--model", base, "--benchmark", "pairwise", "--copy", copy, "--out", out,
                       "--device", "cpu", "--way", "best-of-n", "--candidates", "3"]))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
drawn = random.Random(0)
for number in range(kills):
    out = f"{root}/{number}"
    assert run(out, drawn.randrange(size)) == -signal.SIGKILL
    assert run(out) == 0
"""


@pytest.mark.slow
def test_killed_at_thirty_moments_it_goes_on_to_the_same_bytes(base, copy, tmp_path, whole):
    size = len((tmp_path / "progress").read_bytes())
    arguments = [str(base), str(copy), str(tmp_path / "killed"), "30", str(size)]
    done = subprocess.run(
        [sys.executable, "-c", KILLS, *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    for number in range(30):
        assert files(tmp_path / "killed" / str(number)) == files(whole)


@pytest.mark.slow
def test_a_trained_run_answers_as_it_was_trained(tmp_path, copy):
    asked = {"limit": 24, "max_updates": 1, "validation_size": 0, "lora_rank": 2, "lora_alpha": 4, "separator": "turn"}
    run(small(tmp_path / "train-x", **asked))
    out = tmp_path / "a"
    assert generate(tmp_path / "train-x", copy, out, "--way", "best-of-n", "--candidates", "2") == 0
    settings = json.loads((out / "answers" / "pairwise.settings.json").read_text())
    assert settings["model"] == "train-x"
    assert settings["margin"][0] == "dpo"
    assert settings["reference"] == str(tmp_path / "train-x" / "base")
    assert settings["separator"]["before_target"]
    assert settings["draft_cap"] == 38  # 0.4 of 96 tokens


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--seed", "5"), "seed = 0, not 5"),
        (("--way", "best-of-n", "--method", "dpo"), "needs a reference"),
        (("--way", "best-of-n", "--method", "nonsense"), "--method"),
        (("--way", "revise", "--separator", "nonsense"), "--separator"),
        (("--choose", "reward"), "go together"),
        (("--reward-model", "x"), "go together"),
        (("--way", "best-of-n", "--choose", "judge"), "--choose judge needs --judge NAME"),
        (("--choose", "judge", "--judge", "j"), "add --way best-of-n"),
        (("--max-tokens", "5"), "--max-tokens is for --choose judge: leave it out"),
        ((*JUDGED, "--max-dollars", "1"), "--max-dollars needs --prices"),
        ((*JUDGED, "--key-variable", "NO_SUCH_KEY"), "needs a key: put it into the environment variable NO_SUCH_KEY"),
        (("--backend", "vllm", "--way", "best-of-n"), "leave out --backend vllm"),
        (("--candidates", "3"), "--candidates is for --way best-of-n: leave it out"),
        (("--way", "revise", "--method", "simpo"), "--method is for --way best-of-n"),
        (("--separator", "turn"), "--separator is for --way revise"),
        (("--backend", "vllm", "--batch", "2"), "--batch is for --backend transformers"),
        (("--way", "best-of-n", "--reference", "x"), "the margin of simpo reads none"),
        (("--template", "nonsense"), "unknown template"),
        (("--batch", "0"), "at least 1"),
        (("--model", "no/such/folder"), "no/such/folder"),
    ],
)
def test_mistakes_are_one_line_with_the_fix(base, copy, tmp_path, capsys, monkeypatch, more, said):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    out = tmp_path / "a"
    if "--seed" in more:
        assert generate(base, copy, out) == 0
    capsys.readouterr()
    assert generate(base, copy, out, *more) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert said in error


def test_a_question_longer_than_the_context_is_refused_before_anything_is_generated(base, copy, tmp_path, capsys):
    (copy / "prompts.jsonl").write_text(json.dumps({"prompt": "why? " * 3000}) + "\n")
    assert generate(base, copy, tmp_path / "a") == 2
    assert "leave no room in the model's context" in capsys.readouterr().err


def test_a_line_of_the_progress_that_is_damaged_is_named(base, copy, tmp_path, capsys):
    (tmp_path / "a" / "answers").mkdir(parents=True)
    (tmp_path / "a" / "answers" / "pairwise.progress.jsonl").write_text('{"key": 1}\n')
    assert generate(base, copy, tmp_path / "a") == 2
    assert "line 1 is not as it was written" in capsys.readouterr().err

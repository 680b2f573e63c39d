"""``python -m scaled.evaluation judge`` on the shipped tiny questions, with the shipped judge by rule."""

import json
import runpy
import shutil
import subprocess
import sys

import pytest
from tiny_base import ROOT

from scaled.evaluation import folder
from scaled.evaluation.__main__ import main
from scaled.evaluation.benchmarks import pairwise
from scaled.evaluation.judging.store import read

COPY = ROOT / "scaled" / "examples" / "evaluation"
SERVER = ROOT / "scaled" / "examples" / "judge_server.py"


@pytest.fixture(scope="module")
def endpoint():
    with subprocess.Popen([sys.executable, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().strip()
        server.stdin.close()
        assert server.wait(10) == 0  # it ends when whoever started it does


@pytest.fixture
def run_folder(tmp_path):
    """Answers: to "sum" the baseline's own, to the others the request itself."""
    questions = pairwise.questions(COPY)
    baseline = {answer.question: answer.turns[0] for answer in pairwise.baseline_answers(COPY, questions)}
    answers = [
        pairwise.Answer(each.name, "ours", (baseline["sum"] if each.name == "sum" else each.turns[0],))
        for each in questions
    ]
    path = folder.answers(tmp_path / "ours" / "run", "pairwise", pairwise.ENDING)
    path.parent.mkdir(parents=True)
    pairwise.write_answers(path, answers, questions)
    return tmp_path / "ours" / "run"


@pytest.fixture
def judge(run_folder, endpoint, capsys, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def judge(*options, to=endpoint, copy=COPY):
        given = ["--benchmark", "pairwise", "--copy", str(copy), "--answers", str(run_folder), "--judge", "a/rule"]
        status = main(["judge", *given, "--endpoint", to, *options])
        shown = capsys.readouterr()
        errors = [line for line in shown.err.splitlines() if line.startswith("error:")]
        assert len(errors) == (status != 0)
        return status, shown.out if status == 0 else errors[0]

    return judge


def test_both_orders_are_judged_by_the_rule_and_a_second_run_asks_nothing(judge, run_folder, endpoint):
    status, shown = judge()
    assert status == 0
    assert f"24 answers of a/rule at {endpoint}: 24 asked for now, 0 from before; spent" in shown
    path = run_folder / "judgments" / "pairwise--a-rule.jsonl"
    assert str(path) in shown
    lines = list(read(path))
    values = {(row.question, row.part): row.value for row in pairwise.rows_of_store(lines)}
    # An answer that repeats the whole request is better than any other; equal answers are a tie.
    assert values == {
        (question.name, part): 0.5 if question.name == "sum" else 1.0
        for question in pairwise.questions(COPY)
        for part in pairwise.PARTS
    }
    before = path.read_bytes()
    status, shown = judge()
    assert "0 asked for now, 24 from before" in shown
    assert path.read_bytes() == before


def test_ratings(judge, run_folder):
    status, shown = judge("--mode", "scores", "--prices", "1", "2")
    assert status == 0
    assert "12 asked for now" in shown
    assert "spent $0.00" in shown
    rows = pairwise.rows_of_store(list(read(run_folder / "judgments" / "pairwise--a-rule.jsonl")))
    assert {row.value for row in rows if row.question != "sum"} == {10.0}


def test_a_new_answer_is_judged_anew(judge, run_folder):
    judge()
    path = folder.answers(run_folder, "pairwise", pairwise.ENDING)
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(first) | {"output": ""}), *others]) + "\n")
    _, shown = judge()
    assert "2 asked for now, 22 from before" in shown


def test_a_budget_too_small_keeps_what_was_answered_and_more_goes_on(judge):
    """At most 8 + size / 2 + 1024 tokens are set aside for a request of about 900 bytes; an answer takes about 150."""
    status, shown = judge("--max-tokens", "2000")
    assert status == 2
    assert "of --max-tokens 2000 are spent" in shown
    assert "run the same command again to go on" in shown
    kept = int(shown.split("(")[-1].split()[0])
    assert 0 < kept < 24
    status, shown = judge("--max-dollars", "1", "--prices", "10", "30")
    assert f"{24 - kept} asked for now, {kept} from before" in shown


@pytest.mark.parametrize(
    ("options", "to", "message"),
    [
        (("--max-dollars", "1"), None, "--max-dollars needs --prices"),
        (("--mode", "logprobs"), None, "--mode logprobs: pairwise has pairs, scores"),
        (("--in-flight", "0"), None, "--in-flight: must be a whole number of at least 1"),
        (("--timeout", "inf"), None, "--timeout: must be a number of at least 0"),
        (("--max-tokens", "many"), None, "--max-tokens: must be a whole number"),
        (("--prices", "1", "-1"), None, "--prices"),
        ((), "https://judge.invalid/v1", "needs a key: put it into the environment variable OPENAI_API_KEY"),
        (("--key-variable", "MINE"), "https://judge.invalid/v1", "environment variable MINE"),
        ((), "judge.invalid", "is no base URL"),
        ((), "http://judge.invalid:99999/v1", "is no base URL"),
        ((), "https://sk-secret-0123456789@judge.invalid/v1", "give the base URL alone"),
        ((), "https://judge.invalid/v1?api-key=sk-secret-0123456789", "give the base URL alone"),
        ((), "https://judge.invalid/v1/chat/completions", "leave /chat/completions out"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_asked(judge, run_folder, options, to, message):
    status, shown = judge(*options, **({} if to is None else {"to": to}))
    assert status == 2
    assert message in shown
    assert "sk-secret" not in shown
    assert not (run_folder / "judgments").exists()


@pytest.mark.parametrize("key", ["two words of it", "schl\u00fcssel-0123456789"])
def test_what_cannot_be_a_key(judge, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    status, shown = judge()
    assert status == 2
    assert key not in shown
    assert "OPENAI_API_KEY holds what cannot be a key" in shown


def test_no_answers(judge, run_folder):
    shutil.rmtree(run_folder / "answers")
    status, shown = judge()
    assert status == 2
    assert "pairwise.jsonl: is not there; generate the answers" in shown


def test_the_shipped_judge_judges_nothing_else(judge, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(COPY, copy)
    (copy / "judge_pairs.txt").write_text("{prompt} {answer_a} {answer_b}")
    status, shown = judge(copy=copy)
    assert status == 2
    assert "this judge reads what the benchmark pairwise asks" in shown


@pytest.mark.parametrize(
    ("a", "b", "label"),
    [("red and blue", "red", "A"), ("red", "a red one", "A"), ("blue", "red blue", "B"), ("red", "red", "C")],
)
def test_the_rule(a, b, label):
    prompt = pairwise.PAIRS_PROMPT.format(prompt="Red or blue?", answer_a=a, answer_b=b)
    assert runpy.run_path(str(SERVER))["verdict"](prompt).endswith(f"[[{label}]]")

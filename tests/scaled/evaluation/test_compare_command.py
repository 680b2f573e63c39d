"""`python -m scaled.evaluation compare`: two evaluations side by side."""

from math import log

import pytest
from evaluations import copy_of, evaluate

from scaled.evaluation.__main__ import main
from scaled.evaluation.benchmarks.base import Judgment


@pytest.fixture
def two(tmp_path):
    """Makes two evaluations of a benchmark by what a judge says of each."""

    def make(name, says, models=("ours", "theirs"), judges=("judge", "judge")):
        copy = copy_of(name, tmp_path / "copy")
        folders = [
            evaluate(name, copy, tmp_path / "eval" / model, say, model=model, judge=judge)
            for model, say, judge in zip(models, says, judges, strict=True)
        ]
        return ["--benchmark", name, "--copy", str(copy), "--answers", *map(str, folders)]

    return make


def compare(capsys, arguments):
    code = main(["compare", *arguments])
    shown = capsys.readouterr()
    return shown.out if code == 0 else shown.err


def test_mt_bench_by_hand(two, capsys):
    """A has 9, 7, 5, 3 in turn 1, B 5; turn 2 is 5 for both.

    The differences by question are 2, 1, 0, -1: standard deviation 1.291, error 0.645.
    """
    ratings = {"1": 9, "2": 7, "3": 5, "4": 3}

    def say(request):
        return f"[[{ratings[request.question] if request.part == 'turn 1' else 5}]]"

    shown = compare(capsys, two("mt_bench", (say, lambda _: "[[5]]")))
    assert "score, points of 10: A 5.50, B 5.00" in shown
    assert "A ahead on 2, B on 1, level on 1" in shown
    assert "A - B: +0.50, standard error 0.65 by question; two standard errors reach 1.29" in shown
    assert "does not pass" in shown
    assert "sign test of the questions p = 1" in shown
    largest = shown.split("where they differ most, A - B:\n")[1].splitlines()
    assert [line.split()[:2] for line in largest] == [
        ["+2.00", "1:"],
        ["+1.00", "2:"],
        ["-1.00", "4:"],
        ["+0.00", "3:"],
    ]


def test_arena_hard_weighs_strong_verdicts(two, capsys):
    """A wins game 1 of question 1 strongly and loses all else slightly: 3 of 10 battles."""

    def say(request):
        return (
            "[[B>>A]]"
            if (request.question, request.part) == ("1", "game 1")
            else "[[A>B]]" * (request.part == "game 1") or "[[B>A]]"
        )

    shown = compare(capsys, two("arena_hard", (say, lambda _: "[[A=B]]")))
    assert "score, points of 100: A 30.00, B 50.00" in shown
    assert "A ahead on 1, B on 3, level on 0" in shown


def test_alpaca_eval_and_lengths(two, capsys):
    def say(request):
        own = "M" if request.part == "baseline first" else "m"
        return Judgment(own, {own: log(0.9), ("m" if own == "M" else "M"): log(0.1)})

    shown = compare(capsys, two("alpaca_eval", (say, say), models=("longer name", "short")))
    assert "A 90.00, B 90.00" in shown
    assert "level on 6" in shown
    assert "A - B: +0.00, the same on every question: without spread there is no standard error" in shown
    assert "sign test of the questions p = 1" in shown
    assert "t-test p" not in shown
    assert "A is longer on 6 questions, shorter on 0" in shown


def test_pairwise_with_categories(two, capsys):
    options = two("pairwise", (lambda _: "[[C]]", lambda _: "[[A]]"))
    assert "A 50.00, B 50.00" in compare(capsys, options)


def test_mistakes_are_one_line(two, capsys):
    for says, judges, message in [
        ((lambda _: "[[5]]", lambda _: "[[5]]"), ("judge", "other"), "judged by judge and by other"),
        ((lambda _: "none", lambda _: "[[5]]"), ("judge", "judge"), "nothing to compare"),
    ]:
        models = (f"a-{judges[1]}", f"b-{judges[1]}")
        line = compare(capsys, two("mt_bench", says, models=models, judges=judges))
        assert line.count("\n") == 1
        assert message in line


def test_questions_that_only_one_model_has_verdicts_on_are_left_out_and_counted(two, capsys):
    def say(request):
        return "" if request.question == "4" else "[[5]]"

    shown = compare(capsys, two("mt_bench", (say, lambda _: "[[4]]")))
    assert "3 of 4 questions have both" in shown
    assert "A 5.00, B 4.00" in shown


def test_models_judged_at_two_endpoints_are_not_compared(tmp_path, capsys):
    copy = copy_of("mt_bench", tmp_path / "copy")
    folders = [
        evaluate("mt_bench", copy, tmp_path / place, lambda _: "[[5]]", model=place, endpoint=f"http://{place}/v1")
        for place in "ab"
    ]
    line = compare(capsys, ["--benchmark", "mt_bench", "--copy", str(copy), "--answers", *map(str, folders)])
    assert "judged by judge at http://a/v1 and at http://b/v1; have both judged at one endpoint" in line

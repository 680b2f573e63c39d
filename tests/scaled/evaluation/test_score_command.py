"""`python -m scaled.evaluation score`, from judgments to files, tables and rows."""

import json
import re
import shutil
from math import log

import pytest
from copies import arena_hard as arena_copy
from copies import mt_bench as mt_copy
from copies import rows, write_lines
from evaluations import copy_of, evaluate

from paper_figures.measured import load
from paper_figures.names import METRICS, MODELS
from scaled.evaluation import results
from scaled.evaluation.__main__ import main
from scaled.evaluation.benchmarks import alpaca_eval, arena_hard, mt_bench
from scaled.evaluation.benchmarks.base import Judgment
from scaled.reproduce.recipes import RECIPES


def score(capsys, *arguments):
    """What it prints; for a mistake, its one line."""
    code = main(["score", *map(str, arguments)])
    shown = capsys.readouterr()
    if code:
        assert code == 2
        (line,) = shown.err.splitlines()
        return line
    return shown.out


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_folder(place, seed=3):
    trained = place / "trained"
    trained.mkdir(exist_ok=True)
    (trained / "run.json").write_text(json.dumps({"seed": seed, "config_hash": "5f0c"}))
    return trained


def arena_says(request):
    return {"1": "[[A>B]]", "2": "[[A=B]]", "3": "[[B>>A]]", "4": "no label"}[request.question]


def evaluated(place, name, say, model="llama-3-8b", run="ins-dpo", **more):
    copy = copy_of(name, place / "copy" / name)
    return copy, evaluate(name, copy, place / "results" / "eval" / model / run, say, **more)


def entries(path):
    return {entry["metric"]: entry for entry in json.loads(path.read_text())["numbers"]}


def test_arena_hard_from_store_to_row(place, capsys):
    """Questions 1 and 3 say the same label in both orders, so each is won once and lost once; 2 is tied."""
    copy, evaluation = evaluated(place, "arena_hard", arena_says)
    options = ["--benchmark", "arena_hard", "--copy", copy, "--row", "llama-3-8b/ins-dpo"]
    shown = score(capsys, *options, "--trained", run_folder(place))
    found = entries(evaluation / "scores" / "arena_hard--judge.json")
    plain, controlled = found["arena_hard_wr"], found["arena_hard_sc"]
    assert plain["value"] == 50
    assert plain["n"] == 4
    assert plain["counts"]["no label"] == 2
    assert (plain["judge"], plain["endpoint"], plain["dates"][0]) == (
        "judge",
        ["http://judge/v1"],
        "2026-11-26T10:00:00Z",
    )
    assert len(plain["prompt_hash"]) == 64
    assert controlled["fitted_together"] == ["ours"]
    assert "not comparable" in controlled["note"]
    assert "not comparable" in shown
    assert "| llama-3-8b/ins-dpo |" in shown
    assert "On so many questions: 4." in shown
    filled = load(place / "results")
    assert [key[2] for key in filled] == ["arena_hard_wr"]  # no cell for a model that was fitted alone
    measured = filled["llama-3-8b", "ins-dpo", "arena_hard_wr"]
    assert (measured.value, measured.se, measured.n, measured.judge) == (50, plain["se"], 4, "judge")
    assert (measured.seed, measured.config_hash) == (3, "5f0c")


def test_rows_of_several_benchmarks_join_in_one_file(place, capsys):
    trained = run_folder(place)
    for name, say, judge in [
        ("arena_hard", arena_says, "judge"),
        ("mt_bench", lambda _: "[[7]]", "gpt-4o-2024-05-13"),
        ("mt_bench", lambda _: "[[6]]", "llama"),
    ]:
        copy, _ = evaluated(place, name, say, judge=judge)
        options = ["--benchmark", name, "--copy", copy, "--row", "llama-3-8b/ins-dpo", "--judge", judge]
        shown = score(capsys, *options, "--trained", trained)
    found = {key[2]: number for key, number in load(place / "results").items()}
    assert {name: number.value for name, number in found.items()} == {
        "arena_hard_wr": 50,
        "mt_bench_gpt_4o": 7,
        "mt_bench_gpt_4": 6,
    }
    assert found["mt_bench_gpt_4"].judge == "llama"
    assert "MT-Bench, GPT-4o | MT-Bench, GPT-4 |" in shown
    run_folder(place, seed=4)
    assert "another training run" in score(capsys, *options, "--trained", trained)


def test_columns_are_those_of_paper_figures():
    assert set(results.COLUMNS) == {name for name, metric in METRICS.items() if metric.judge}
    assert {name: METRICS[name].label for name in results.COLUMNS} == results.COLUMNS
    assert tuple(MODELS) == results.MODELS
    assert set(results.RUNS) == {*RECIPES, "instruct"}
    sizes = {"alpaca": alpaca_eval.QUESTIONS, "arena": arena_hard.QUESTIONS, "mt": mt_bench.QUESTIONS}
    assert all(METRICS[name].questions == sizes[name.split("_")[0]] for name in results.COLUMNS)


def test_the_row_of_a_run_needs_to_know_which_training_it_was(place, capsys):
    copy, _ = evaluated(place, "mt_bench", lambda _: "[[7]]")
    options = ["--benchmark", "mt_bench", "--copy", copy, "--row", "llama-3-8b/ins-dpo"]
    assert "--trained" in score(capsys, *options)
    assert "run.json: cannot be read" in score(capsys, *options, "--trained", place)
    evaluated(place, "mt_bench", lambda _: "[[7]]", run="instruct")
    score(capsys, *options[:-1], "llama-3-8b/instruct")
    assert load(place / "results")["llama-3-8b", "instruct", "mt_bench_gpt_4"].value == 7
    for wrong in ("ins-dpo", "llama-3-8b/../dpo", "llama-3-8b/"):
        assert "must be MODEL/RUN of the paper's tables" in score(capsys, *options[:-1], wrong)


def alpaca_says(request):
    """The model's output is better with probability 3/4 on every question."""
    own = "M" if request.part == "baseline first" else "m"
    other = "m" if own == "M" else "M"
    return Judgment(own, {own: log(0.75), other: log(0.25)})


@pytest.mark.slow
def test_alpaca_eval_with_difficulty_refitted_or_none(place, capsys):
    copy, evaluation = evaluated(place, "alpaca_eval", alpaca_says)
    options = ["--benchmark", "alpaca_eval", "--copy", copy, "--answers", evaluation]
    shown = score(capsys, *options)
    path = evaluation / "scores" / "alpaca_eval--judge.json"
    assert set(entries(path)) == {"alpaca_eval_wr"}
    assert entries(path)["alpaca_eval_wr"]["value"] == pytest.approx(75)
    assert "df_gamed.csv" in shown
    others = [
        f"{model},{index},{1 + ((index + k) % 3) / 2},{100 + 10 * index},{120 + 7 * k * index}"
        for k, model in enumerate(("a", "b", "c"), start=1)
        for index in range(6)
    ]
    csv = place / "others.csv"
    csv.write_text("\n".join(["model,index,preference,chars_baseline,chars_model", *others]))
    score(capsys, *options, "--refit", csv)
    refitted = entries(path)["alpaca_eval_lc_refit"]
    assert "refitted from others.csv, without gamed rows" in refitted["note"]
    gamed = [f"g,{i},0.5,{0.1 * i},{0.2 * i},False" for i in range(6)]
    (copy / "df_gamed.csv").write_text(
        "\n".join(["model,index,preference,std_delta_len,instruction_difficulty,not_gamed_baseline", *gamed * 3])
    )
    score(capsys, *options)
    assert entries(path)["alpaca_eval_lc"]["note"].startswith("your copy has 6 questions, the benchmark 805")
    (copy / "df_gamed.csv").write_text("\n".join((copy / "df_gamed.csv").read_text().splitlines()[:4]))
    assert "difficulty of 3 instructions, and your copy has 6" in score(capsys, *options)


def annotations(place, order=range(6), **changes):
    """The package's annotations.json about the copy's six instructions."""
    path = place / "annotations.json"
    lines = [
        {
            "instruction": f"do {n + 1}",
            "output_1": f"base {n + 1}",
            "output_2": "x" * (5 + n * n),
            "generator_1": "gpt4_1106_preview",
            "generator_2": "theirs",
            "annotator": "judge",
            "preference": 1 + (n % 3) / 2,
        }
        | changes
        for n in order
    ]
    path.write_text(json.dumps(lines))
    return path


def test_the_packages_annotations_must_be_of_the_copys_instructions(place, capsys):
    copy = copy_of("alpaca_eval", place / "copy")
    options = ["--benchmark", "alpaca_eval", "--copy", copy, "--together"]
    assert re.search(r"theirs +50\.0 ±", score(capsys, *options, annotations(place)))
    for order, message in [
        ([0, 1, 2, 3, 4], "theirs was not judged on 1 of 6 questions, first 5"),
        ([0, 1, 2, 3, 4, 5, 0], "the verdict on instruction 0 is there twice"),
        ([*range(7)], "item 6: its instruction is not in your copy: 'do 7'"),
    ]:
        assert message in score(capsys, *options, annotations(place, order))
    shown = score(capsys, *options, annotations(place, [5, 1, 2, 0, 4]), "--partial")
    assert re.search(r"theirs +60\.0 ±18\.7 +5", shown)  # of 1, 1/2, 1, 0, 1/2
    assert "item 0: has not instruction" in score(capsys, *options, annotations(place, preference="?"))


@pytest.mark.slow
def test_the_order_of_annotations_changes_no_win_rate_at_equal_length(place, capsys):
    copy = copy_of("alpaca_eval", place / "copy")
    gamed = [f"g,{i},0.5,{0.1 * i},{0.2 * i},False" for i in range(6)]
    header = "model,index,preference,std_delta_len,instruction_difficulty,not_gamed_baseline"
    (copy / "df_gamed.csv").write_text("\n".join([header, *gamed * 3]))
    options = ["--benchmark", "alpaca_eval", "--copy", copy, "--together"]
    shown = [
        re.search(r"theirs +(\S+)", score(capsys, *options, annotations(place, order)))[1]
        for order in (range(6), [5, 0, 3, 1, 4, 2])
    ]
    assert float(shown[0]) == pytest.approx(float(shown[1]), abs=0.02)
    line = score(capsys, *options, annotations(place), "--refit", place / "others.csv")
    assert "df_gamed.csv has the difficulty already" in line


def test_alpaca_eval_by_text_is_named_so(place, capsys):
    copy, evaluation = evaluated(place, "alpaca_eval", lambda _: "m", mode="text")
    options = ["--benchmark", "alpaca_eval", "--copy", copy, "--answers", evaluation]
    score(capsys, *options, "--mode", "text")
    found = entries(evaluation / "scores" / "alpaca_eval--judge.json")
    assert set(found) == {"alpaca_eval_wr_text"}
    assert "6 of 6 requests have no answer" in score(capsys, *options)


def test_a_judge_without_logprobs_is_one_line(place, capsys):
    copy, evaluation = evaluated(place, "alpaca_eval", lambda _: "m")
    line = score(capsys, "--benchmark", "alpaca_eval", "--copy", copy, "--answers", evaluation)
    assert "gave no log-probs" in line


def test_pairwise_in_both_modes(place, capsys):
    copy, evaluation = evaluated(place, "pairwise", lambda _: "[[A]]")
    options = ["--benchmark", "pairwise", "--copy", copy, "--answers", evaluation]
    shown = score(capsys, *options)
    found = entries(evaluation / "scores" / "pairwise--judge.json")
    assert (found["pairwise_wr"]["value"], found["pairwise_first_wins"]["value"]) == (50, 100)
    assert re.search(
        r"counts +won +tied +lost +no verdict +both orders +same verdict\nours +\d+ +0 +\d+ +0 +\d+ +0\n", shown
    )
    evaluated(place, "pairwise", lambda _: "[[9]]", mode="scores", run="rated")
    score(capsys, *options[:-1], evaluation.parent / "rated", "--mode", "scores")
    assert entries(evaluation.parent / "rated" / "scores" / "pairwise--judge.json")["pairwise_score"]["value"] == 9


def test_empty_answers_are_kept_and_counted(place, capsys):
    copy = copy_of("mt_bench", place / "copy")
    evaluation = evaluate("mt_bench", copy, place / "eval", lambda _: "[[1]]", text="")
    options = ["--benchmark", "mt_bench", "--copy", copy, "--answers", evaluation]
    assert "ours: 4 empty answers" in score(capsys, *options)
    content = json.loads((evaluation / "scores" / "mt_bench--judge.json").read_text())
    assert content["empty_answers"] == 4
    assert entries(evaluation / "scores" / "mt_bench--judge.json")["mt_bench"]["n"] == 4


def test_styles_that_are_no_answers_are_one_line(place, capsys):
    copy, evaluation = evaluated(place, "arena_hard", arena_says)
    path = write_lines(place / "styles.jsonl", [{"question_id": "1", "model_id": "m", "conv_metadata": {}}])
    options = ["--benchmark", "arena_hard", "--copy", copy, "--answers", evaluation, "--styles", path]
    assert "styles.jsonl: question 1: is no answer" in score(capsys, *options)


def test_judgments_of_answers_that_have_changed_are_not_scored(place, capsys):
    copy, evaluation = evaluated(place, "mt_bench", lambda _: "[[7]]")
    path = evaluation / "answers" / "mt_bench.jsonl"
    path.write_text(path.read_text().replace("ours on 2", "another answer to 2"))
    options = ["--benchmark", "mt_bench", "--copy", copy, "--answers", evaluation]
    line = score(capsys, *options)
    assert "2 of 8 requests have no answer by judge, first turn 1 of question 2" in line
    score(capsys, *options, "--partial")
    assert entries(evaluation / "scores" / "mt_bench--judge.json")["mt_bench"]["n"] == 3


def test_two_judges_need_a_name(place, capsys):
    copy, evaluation = evaluated(place, "mt_bench", lambda _: "[[7]]")
    evaluated(place, "mt_bench", lambda _: "[[3]]", judge="other")
    options = ["--benchmark", "mt_bench", "--copy", copy, "--answers", evaluation]
    assert "judgments of 2 judges; name one with --judge" in score(capsys, *options)
    assert "judge the answers by third" in score(capsys, *options, "--judge", "third")
    score(capsys, *options, "--judge", "other")
    (evaluation / "judgments" / "mt_bench--other.jsonl").write_text("")  # as a judge that never answered leaves it
    score(capsys, *options)
    assert entries(evaluation / "scores" / "mt_bench--other.json")["mt_bench"]["value"] == 3


def test_style_control_with_other_models_says_which(place, capsys):
    copy, evaluation = evaluated(place, "arena_hard", arena_says)
    _, other = evaluated(place, "arena_hard", lambda _: "[[B>A]]", run="dpo", model="llama-3-8b")
    path = other / "answers" / "arena_hard.jsonl"
    shutil.rmtree(other)
    evaluate("arena_hard", copy, other, lambda _: "[[B>A]]", model="theirs")
    shown = score(capsys, "--benchmark", "arena_hard", "--copy", copy, "--answers", evaluation, "--together", other)
    assert path.is_file()
    assert "fitted together for style control: ours, theirs" in shown
    assert "not comparable" not in shown
    assert "| Arena-Hard SC | Arena-Hard WR |" in shown
    options = ["--benchmark", "arena_hard", "--copy", copy, "--row", "llama-3-8b/ins-dpo", "--together", other]
    score(capsys, *options, "--trained", run_folder(place))
    filled = load(place / "results")
    assert filled["llama-3-8b", "ins-dpo", "arena_hard_sc"].fitted_together == ["ours", "theirs"]
    assert filled["llama-3-8b", "ins-dpo", "arena_hard_wr"].fitted_together == []
    assert "game" not in shown.splitlines()[0]


def test_upstreams_files_are_scored_as_they_are(shared_data, place, capsys):
    source = shared_data / "benchmarks"
    copy = arena_copy(place / "arena", source)
    labels = source / "arena_hard" / "labels" / "gpt-4-0613.jsonl.gz"
    answers = source / "arena_hard" / "answers" / "gpt-4-0613.jsonl.gz"
    options = ["--benchmark", "arena_hard", "--copy", copy]
    shown = score(capsys, *options, "--together", labels, "--styles", answers)
    assert re.search(r"model +SC +SC 95 % +WR +WR 95 % +n\ngpt-4-0613 +37\.3 .* 37\.9 ±2\.0 .* 500\n", shown)
    assert "judge: gpt-4-1106-preview" in shown
    shorter = source / "arena_hard" / "labels" / "Llama-3-Base-8B-SFT-Ultrachat.jsonl.gz"
    assert "was not judged on 5 of 500 questions" in score(capsys, *options, "--together", shorter)
    shown = score(capsys, *options, "--together", shorter, "--partial")
    assert re.search(r"Llama-3-Base-8B-SFT-Ultrachat +3\.2 ±0\.5 .* 495\n", shown)
    assert re.search(r"counts +battles +won +tied +lost +no label +no verdict\n.* 31 +0\n", shown)
    path = source / "mt_bench" / "judgments" / "mistral-orpo.jsonl.gz"
    shown = score(capsys, "--benchmark", "mt_bench", "--copy", mt_copy(place / "mt", source), "--together", path)
    assert re.search(r"mistral-orpo +5\.86 ±\d\.\d\d +6\.67 ±\d\.\d\d +5\.04 ±.* 80\n", shown)
    assert re.search(r"by category +coding +extraction .* writing\nmistral-orpo +3\.6 +5\.3 .* 6\.0\n", shown)
    assert re.search(r"counts +ratings +no rating +repeated\nmistral-orpo +320 +1 +160\n", shown)
    assert shown.count("mistral-orpo") == 3
    assert max(map(len, shown.splitlines())) <= results.WIDTH


def test_wrong_files_are_one_line(shared_data, place, capsys):
    source = shared_data / "benchmarks" / "arena_hard"
    copy = copy_of("arena_hard", place / "copy")
    options = ["--benchmark", "arena_hard", "--copy", copy]
    judged = [{"question_id": n, "model": "m", "judge": "j", "games": [{"score": "A>B"}] * 2} for n in "1234"]
    path = place / "m.jsonl"
    for lines, message in [
        (judged[:3], "not judged on 1 of 4 questions, first 4"),
        ([*judged, judged[0]], "a judgment of m on question 1 is there twice"),
        ([*judged, judged[0] | {"question_id": "9"}], "9, which is no question"),
        ([judged[0], judged[1] | {"judge": "k"}], "judgments of j and of k"),
        ([judged[0] | {"games": []}], "line 1: has not question_id, model and two games"),
        ([], "has no judgments"),
    ]:
        write_lines(path, lines)
        assert message in score(capsys, *options, "--together", path)
    write_lines(path, judged)
    label = source / "labels" / "gpt-4-0613.jsonl.gz"
    assert "no question of" in score(capsys, *options, "--together", label)
    assert "nothing to score" in score(capsys, *options)
    assert "--mode both" in score(capsys, *options, "--together", path, "--mode", "both")
    assert "--judge k: " in score(capsys, *options, "--together", path, "--judge", "k")
    assert "--refit: alpaca_eval alone" in score(capsys, *options, "--together", path, "--refit", path)
    assert "--trained: goes with --row" in score(capsys, *options, "--together", path, "--trained", place)
    assert len(rows(label)) == 500


def test_two_endpoints_of_one_judges_name_are_told_apart(place, capsys):
    """Another model may answer at the other one: neither is taken for the other, nor both for one."""
    copy, evaluation = evaluated(place, "mt_bench", lambda _: "[[7]]")
    evaluated(place, "mt_bench", lambda _: "[[3]]", endpoint="http://other/v1")
    options = ["--benchmark", "mt_bench", "--copy", copy, "--answers", evaluation]
    both = "has judgments of http://judge/v1 and of http://other/v1"
    assert f"{both}; name one with --endpoint" in score(capsys, *options)
    for endpoint, value in (("http://judge/v1", 7), ("http://other/v1/", 3)):
        score(capsys, *options, "--endpoint", endpoint)
        number = entries(evaluation / "scores" / "mt_bench--judge.json")["mt_bench"]
        assert (number["value"], number["endpoint"]) == (value, [endpoint.rstrip("/")])
    assert "has judgments of http://judge/v1 and of http://other/v1" in score(
        capsys, *options, "--endpoint", "http://x"
    )

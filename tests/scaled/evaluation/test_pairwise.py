"""A user's own prompts: comparisons in both orders, and ratings."""

import pytest
from copies import write_lines

from inspo.command_line import UserError
from scaled.evaluation.benchmarks import pairwise
from scaled.evaluation.benchmarks.base import Answer


@pytest.fixture
def folder(tmp_path):
    write_lines(tmp_path / "prompts.jsonl", [{"prompt": "a?", "category": "x"}, {"prompt": "b?", "id": "b"}])
    write_lines(
        tmp_path / "baseline.jsonl",
        [{"id": "b", "output": "B", "model": "base"}, {"prompt": "a?", "output": "A {answer_b}", "model": "base"}],
    )
    return tmp_path


OURS = [Answer("1", "ours", ("one",)), Answer("b", "ours", ("",))]


def test_both_orders_are_asked_for_and_texts_are_put_in_once(folder):
    (folder / "judge_pairs.txt").write_text("{prompt} / {answer_a} / {answer_b} / {else}")
    asked = pairwise.requests(folder, pairwise.questions(folder), OURS)
    assert [(request.part, request.messages[0]["content"]) for request in asked] == [
        ("baseline first", "a? / A {answer_b} / one / {else}"),
        ("model first", "a? / one / A {answer_b} / {else}"),
        ("baseline first", "b? / B /  / {else}"),
        ("model first", "b? /  / B / {else}"),
    ]


def test_without_a_prompt_of_the_users_ours_is_taken(folder):
    questions = pairwise.questions(folder)
    pairs = pairwise.requests(folder, questions, OURS)[0].messages[0]["content"]
    assert pairs == pairwise.PAIRS_PROMPT.replace("{prompt}", "a?").replace("{answer_b}", "one").replace(
        "{answer_a}", "A {answer_b}"
    )
    (folder / "baseline.jsonl").unlink()
    scores = pairwise.requests(folder, questions, OURS, "scores")
    assert [request.part for request in scores] == ["score", "score"]
    assert scores[0].messages[0]["content"].count("one") == 1


@pytest.mark.parametrize(
    ("part", "text", "points"),
    [
        ("baseline first", "[[A]]", 0.0),
        ("baseline first", "[[B]] [[B]]", 1.0),
        ("model first", "[[A]]", 1.0),
        ("model first", "[[B]]", 0.0),
        ("model first", "[[C]]", 0.5),
        ("model first", "[[A]] [[B]]", None),
        ("model first", "A", None),
    ],
)
def test_points_are_the_models(part, text, points):
    assert pairwise.points(part, text) == points


def test_rows_of_a_store():
    lines = [
        {"question": "1", "model": "ours", "part": part, "answer": {"text": text}}
        for part, text in (("model first", "[[A]]"), ("score", "[[4]]"), ("score", "none"), ("score", "[[0]]"))
    ]
    assert [row.value for row in pairwise.rows_of_store(lines)] == [1.0, 4.0, None, None]


def test_answers_come_back(folder):
    questions = pairwise.questions(folder)
    pairwise.write_answers(folder / "ours.jsonl", OURS[::-1], questions)
    assert pairwise.read_answers(folder / "ours.jsonl", questions) == OURS


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("prompts.jsonl", "", "no prompts"),
        ("prompts.jsonl", '{"id": "1"}', "no 'prompt'"),
        ("prompts.jsonl", '{"prompt": "a", "id": "1"}\n{"prompt": "b", "id": 1}', "twice"),
        ("baseline.jsonl", '{"prompt": "other", "output": "", "model": "m"}', "not among yours"),
        ("judge_pairs.txt", "{prompt} {answer_a}", "answer_b"),
    ],
)
def test_bad_files_are_one_line(folder, name, content, message):
    (folder / name).write_text(content)
    with pytest.raises(UserError, match=message):
        pairwise.requests(folder, pairwise.questions(folder), OURS)

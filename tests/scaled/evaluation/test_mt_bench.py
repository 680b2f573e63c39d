"""MT-Bench: prompts and ratings, against what FastChat's code recorded."""

import json

import pytest
from copies import mt_bench as copy_of
from copies import rows, write_lines

from inspo.command_line import UserError
from scaled.evaluation.benchmarks import mt_bench
from scaled.evaluation.benchmarks.base import Answer


@pytest.fixture(scope="module")
def data(shared_data):
    return shared_data / "benchmarks"


@pytest.fixture(scope="module")
def copy(data, tmp_path_factory):
    return copy_of(tmp_path_factory.mktemp("mt") / "copy", data)


def test_ratings_are_read_from_every_recorded_text_as_fastchat_reads_them(data):
    cases = rows(data / "mt_bench" / "parsing_cases.jsonl.gz")
    for path in (data / "mt_bench" / "judgments").iterdir():
        cases += rows(path)
    assert len(cases) > 2000
    for case in cases:
        assert mt_bench.rating(case["judgment"]) == case["score"], case["judgment"][-200:]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Rating: [[7]] or [[8]]", 7),
        ("see [1]; Rating: [[7.5]]", 7.5),
        ("see [12]", 12),
        ("[[10.]]", 10),
        ("[[-3]] [[seven]]", -1),
        ("", -1),
        ("[[08]]", 8),
    ],
)
def test_ratings_by_hand(text, found):
    assert mt_bench.rating(text) == found


def test_prompts_are_fastchats(copy, data):
    """All 160 prompts of one model, with and without references."""
    checks = {(str(row["question_id"]), row["turn"]): row for row in rows(next((data / "mt_bench").glob("prompt_c*")))}
    questions = mt_bench.questions(copy)
    answers = [Answer(question.name, "orpo", tuple(checks[question.name, 2]["answers"])) for question in questions]
    asked = mt_bench.requests(copy, questions, answers)
    prompts = {row["name"]: row for row in rows(copy / "judge_prompts.jsonl.gz")}
    assert len(asked) == len(checks) == 160
    for request in asked:
        check = checks[request.question, int(request.part[-1])]
        assert request.messages[0]["content"] == prompts[check["judge"][1]]["system_prompt"]
        assert request.messages[1]["content"] == check["user_prompt"]
        assert request.options == {"temperature": 0, "max_tokens": 2048}


def test_questions_have_references_where_they_are_judged_by_them(copy):
    questions = mt_bench.questions(copy)
    assert len(questions) == 80
    assert {q.category for q in questions if q.reference} == set(mt_bench.WITH_REFERENCE)
    assert sum(bool(q.reference) for q in questions) == 30
    assert set(mt_bench.PROTOCOLS["official"].by_category) < {q.category for q in questions}


@pytest.fixture
def tiny(tmp_path):
    write_lines(
        tmp_path / "question.jsonl",
        [
            {"question_id": 1, "category": "writing", "turns": ["a?", "b?"]},
            {"question_id": 2, "category": "math", "turns": ["c?", "d?"]},
        ],
    )
    answer = {"question_id": 2, "model_id": "gpt-4", "choices": [{"index": 0, "turns": ["C", "D"]}]}
    write_lines(tmp_path / "reference_answer" / "gpt-4.jsonl", [answer])
    write_lines(
        tmp_path / "judge_prompts.jsonl",
        [
            {"name": name, "system_prompt": "s", "prompt_template": "{question_1}{question_2}{answer_2}"}
            for name in ("single-v1", "single-math-v1", "single-v1-multi-turn", "single-math-v1-multi-turn")
        ],
    )
    return tmp_path


ANSWERS = [Answer("2", "ours", ("", "x")), Answer("1", "ours", ("y", "z"))]


def test_answers_come_back_and_empty_turns_stay(tiny):
    questions = mt_bench.questions(tiny)
    mt_bench.write_answers(tiny / "ours.jsonl", ANSWERS, questions)
    assert mt_bench.read_answers(tiny / "ours.jsonl", questions) == ANSWERS[::-1]
    assert json.loads((tiny / "ours.jsonl").read_text().splitlines()[0])["question_id"] == 1
    assert [r.messages[1]["content"] for r in mt_bench.requests(tiny, questions, ANSWERS[::-1])][1::2] == [
        "a?b?z",
        "c?d?x",
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("question.jsonl", '{"question_id": 1, "category": "writing", "turns": ["one"]}', "not two texts"),
        ("question.jsonl", '{"question_id": 1, "category": "writing", "turns": ["a", "b"]}\n' * 2, "twice"),
        ("question.jsonl", "", "no questions"),
        ("reference_answer/gpt-4.jsonl", "", "question 2 is judged beside a reference"),
        ("judge_prompts.jsonl", '{"name": "single-v1"}', "no 'system_prompt'"),
        ("judge_prompts.jsonl", "", "no prompt called single-v1"),
        ("judge_prompts.jsonl", '{"name": "single-v1", "system_prompt": "", "prompt_template": "{x}"}', "filled"),
    ],
)
def test_files_that_are_not_fastchats_are_refused(tiny, name, content, message):
    (tiny / name).write_text(content)
    with pytest.raises(UserError, match=message):
        mt_bench.requests(tiny, mt_bench.questions(tiny), ANSWERS[::-1])


def test_rows():
    lines = [{"question": "1", "model": "ours", "part": "turn 2", "answer": {"text": "[[3]]"}}]
    assert mt_bench.rows_of_store(lines) == [mt_bench.Row("1", "ours", 2, 3.0)]
    with pytest.raises(UserError, match="line 1"):
        mt_bench.rows_of_upstream([{"question_id": 1}], "x.jsonl")

"""Arena-Hard v0.1: files, prompts and labels, against what upstream's code recorded."""

import json
from dataclasses import replace

import pytest
from copies import arena_hard as copy_of
from copies import rows, write_config, write_lines

from inspo.command_line import UserError
from scaled.evaluation.benchmarks import arena_hard, markdown
from scaled.evaluation.benchmarks.base import Answer, Judgment


@pytest.fixture(scope="module")
def data(shared_data):
    return shared_data / "benchmarks"


@pytest.fixture(scope="module")
def copy(data, tmp_path_factory):
    return copy_of(tmp_path_factory.mktemp("arena") / "copy", data)


@pytest.fixture
def tiny(tmp_path):
    """Two questions of our own."""
    write_lines(
        tmp_path / "question.jsonl",
        [
            {"question_id": name, "category": "tiny", "cluster": "c", "turns": [{"content": f"{name}?"}]}
            for name in "pq"
        ],
    )
    arena_hard.write_answers(tmp_path / "gpt-4-0314.jsonl", answers("gpt-4-0314"), arena_hard.questions(tmp_path))
    write_config(tmp_path, "{question_1}|{answer_1}|{answer_2}")
    return tmp_path


def answers(model="ours"):
    return [Answer(name, model, (f"{model} on {name}",)) for name in "qp"]


def test_labels_are_read_from_every_recorded_text_as_upstream_reads_them(data):
    cases = rows(data / "arena_hard" / "parsing_cases.jsonl.gz")
    games = [
        (game["judgment"], game["score"])
        for folder in ("judgments", "ten_questions")
        for path in (data / "arena_hard" / folder).iterdir()
        for row in rows(path)
        for game in row["games"]
    ]
    assert len(cases) > 80
    assert len(games) > 800
    for case in cases:
        assert arena_hard.label(case["judgment"]) == (case["get_score"], case["get_score_try_again"]), case["why"]
    for text, score in games:
        assert arena_hard.label(text)[0] == score


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", (None, True)),
        ("[[A>B]] and [[A>B]]", ("A>B", False)),
        ("[[A>B]] but [[B>A]]", (None, False)),
        ("[[A>> B]] [A>B] A>B", (None, True)),
        ("[[A<B]]", ("A<B", False)),
        ("[[[A=B]]]", ("A=B", False)),
    ],
)
def test_labels_by_hand(text, found):
    assert arena_hard.label(text) == found


def test_prompts_are_upstreams(copy, data):
    """25 questions with both prompts; the template comes from the first of them."""
    checks = {row["question_id"]: row for row in rows(data / "arena_hard" / "prompt_check.jsonl.gz")}
    questions = arena_hard.questions(copy)
    answers = [
        Answer(question.name, "ours", (checks.get(question.name, {"answer": ""})["answer"],)) for question in questions
    ]
    asked = [request for request in arena_hard.requests(copy, questions, answers) if request.question in checks]
    assert len(asked) == 2 * len(checks) == 50
    for request in asked:
        game = checks[request.question]["games"][arena_hard.GAMES.index(request.part)]
        assert [message["content"] for message in request.messages] == ["Judge.", game["user_prompt"]]
        assert request.options == {"temperature": 0, "max_tokens": 1024}


def test_style_is_counted_as_upstream_counts_it(data):
    """All 1500 published answers; tokens need cl100k_base's file, which this machine may not have."""
    count = 0
    for path in (data / "arena_hard" / "answers").iterdir():
        for row in rows(path):
            found = markdown.metadata(row["choices"][0]["turns"][0]["content"], markdown.tokenizer())
            if markdown.tokenizer() != markdown.CL100K:
                assert found.pop("token_unit") == markdown.BYTES
                found["token_len"] = row["conv_metadata"]["token_len"]
            assert found == row["conv_metadata"]
            count += 1
    assert count == 1500


def test_style_by_hand():
    text = "# One\n\n- **a**\n- b\n\n1. __c__\n\n```\n# no header\n- no item\n```\n\n####### seven\n"
    assert markdown.style(markdown.metadata(text, markdown.BYTES)) == (-(-len(text) // 4), 1, 3, 2)


def test_answers_come_back_in_the_order_of_the_questions(tiny):
    questions = arena_hard.questions(tiny)
    assert [question.turns for question in questions] == [("p?",), ("q?",)]
    arena_hard.write_answers(tiny / "ours.jsonl", answers(), questions)
    found = arena_hard.read_answers(tiny / "ours.jsonl", questions)
    assert [(each.question, each.model, each.turns) for each in found] == [
        ("p", "ours", ("ours on p",)),
        ("q", "ours", ("ours on q",)),
    ]
    line = json.loads((tiny / "ours.jsonl").read_text().splitlines()[0])
    assert line["conv_metadata"]["token_len"] == line["choices"][0]["turns"][0]["token_len"]


def test_official_answers_are_read(copy, data):
    path = data / "arena_hard" / "answers" / "gpt-4-0613.jsonl.gz"
    found = arena_hard.read_answers(path, arena_hard.questions(copy))
    assert len(found) == 500
    assert {answer.model for answer in found} == {"gpt-4-0613"}


def test_a_second_attempt_continues_the_first_and_there_is_no_third(tiny):
    request = arena_hard.requests(tiny, arena_hard.questions(tiny), answers()[::-1])[0]
    again = arena_hard.follow_up(request, Judgment("Both are"))
    assert again is not None
    assert again.part == "game 1, again"
    assert [message["role"] for message in again.messages] == ["system", "user", "assistant", "user"]
    assert again.messages[2]["content"] == "Both are"
    assert arena_hard.follow_up(again, Judgment("Both are")) is None
    assert arena_hard.follow_up(request, Judgment("[[A=B]]")) is None
    assert arena_hard.follow_up(request, Judgment("[[A=B]] [[A>B]]")) is None


def line(part, text, question="p"):
    return {"question": question, "model": "ours", "part": part, "answer": {"text": text}}


def test_rows_of_a_store_join_second_attempts():
    lines = [line("game 1", "cut"), line("game 1, again", "[[B>>A]]"), line("game 2", "[[A>B]] [[B>A]]")]
    (row,) = arena_hard.rows_of_store(lines)
    assert row.labels == ("B>>A", None)
    assert row.battles() == [(1.0, 3)]


@pytest.mark.parametrize(
    ("labels", "battles"),
    [
        (("A>>B", "A>>B"), [(0.0, 3), (1.0, 3)]),
        (("B>A", "B>A"), [(1.0, 1), (0.0, 1)]),
        (("A=B", None), [(0.5, 1)]),
        (("A<B", "A>>A"), []),
    ],
)
def test_points_are_the_models_in_both_orders(labels, battles):
    assert arena_hard.Row("p", "ours", labels).battles() == battles


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("question.jsonl", '{"uid": "p", "category": "hard_prompt", "prompt": "p?"}', "v2.0"),
        ("question.jsonl", '{"question_id": "p", "turns": [{"content": "a"}]}\n' * 2, "twice"),
        ("question.jsonl", "", "no questions"),
        ("question.jsonl", "[]", "line 1: is no JSON object"),
        ("question.jsonl", '{"question_id": "p", "turns": []}', "'turns'"),
        ("judge_config.yaml", "prompt_template: ['{QUESTION}']", "v0.1"),
        ("judge_config.yaml", "[", "v0.1"),
        ("gpt-4-0314.jsonl", '{"uid": "p", "messages": []}', "v2.0"),
        ("gpt-4-0314.jsonl", '{"question_id": "p", "model_id": "x"}', "choices"),
        ("gpt-4-0314.jsonl", "", "2 of 2 questions have no answer"),
    ],
)
def test_files_that_are_not_v01s_are_refused(tiny, name, content, message):
    questions = arena_hard.questions(tiny)
    (tiny / name).write_text(content)
    with pytest.raises(UserError, match=message):
        arena_hard.requests(tiny, arena_hard.questions(tiny) or questions, answers()[::-1])


def test_answers_that_do_not_fit_the_questions_are_refused(tiny):
    questions = arena_hard.questions(tiny)
    one, two = answers()
    for wrong, message in [
        ([one], "1 of 2 questions have no answer, first p"),
        ([one, two, two], "twice"),
        ([one, replace(two, model="theirs")], "one file for each model"),
        ([one, two, replace(two, question="r")], "no question"),
    ]:
        with pytest.raises(UserError, match=message):
            arena_hard.write_answers(tiny / "ours.jsonl", wrong, questions)
    with pytest.raises(UserError, match="baseline"):
        arena_hard.requests(tiny, questions, answers("gpt-4-0314")[::-1])
    (tiny / "gpt-4-0314.jsonl").unlink()
    with pytest.raises(UserError, match=r"gpt-4-0314\.jsonl"):
        arena_hard.requests(tiny, questions, answers()[::-1])

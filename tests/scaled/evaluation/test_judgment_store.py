"""The store: what was written is there, torn ends go, wrong lines are said, the order is always the same."""

import dataclasses
import errno
import itertools
import json
import os

import pytest

from inspo.command_line import UserError
from scaled.evaluation.benchmarks.base import JudgeRequest, Judgment
from scaled.evaluation.judging.store import Store, judgment, read

JUDGE = "a judge"


def request(question, part="game 1"):
    message = {"role": "user", "content": f"{question}: good? \u2028\n"}
    return JudgeRequest(str(question), "ours", part, (message,), {"temperature": 0})


def answer(question):
    return Judgment(f"verdict {question}", {"a": -0.5}, "stop", 7, 2, "2026-11-26T12:00:00+00:00", "http://judge")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "judgments" / "b--j.jsonl"


def fill(path, questions):
    with Store(path) as store:
        for question in questions:
            store.add(request(question), JUDGE, answer(question))
        store.settle()


def test_what_was_added_is_read_back(path):
    fill(path, [2])
    (line,) = read(path)
    asked = request(2)
    assert judgment(line) == answer(2)
    assert line["key"] == asked.key(JUDGE)
    assert line["prompt_hash"] == asked.prompt_hash()
    assert line["request"] == {"messages": list(asked.messages), "options": asked.options}
    assert [line[name] for name in ("question", "model", "part", "judge")] == ["2", "ours", "game 1", JUDGE]
    with Store(path) as store:
        assert (asked.key(JUDGE), "http://judge") in store
        assert (request(3).key(JUDGE), "http://judge") not in store
        assert store.judgment((asked.key(JUDGE), "http://judge")) == answer(2)
        assert (len(store), store.prompt_tokens, store.completion_tokens) == (1, 7, 2)


def test_any_order_of_answers_gives_the_same_bytes_with_numbers_in_order(tmp_path):
    found = set()
    for number, order in enumerate(itertools.permutations([9, 10, 81])):
        fill(path := tmp_path / f"{number}.jsonl", order)
        found.add(path.read_bytes())
        assert [line["question"] for line in read(path)] == ["9", "10", "81"]
    assert len(found) == 1


def test_a_settled_store_goes_on(path):
    with Store(path) as store:
        for question in (3, 1, 2):
            store.add(request(question), JUDGE, answer(question))
        store.settle()
        store.add(request(0), JUDGE, answer(0))
        said = [store.judgment((request(q).key(JUDGE), "http://judge")).text for q in range(4)]
        assert said == [f"verdict {q}" for q in range(4)]
        assert store.prompt_tokens == 4 * 7


def test_cut_off_at_any_byte_it_is_completed_to_the_same_bytes(path):
    fill(path, [1, 2])
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole)):
        path.write_bytes(whole[:end])
        assert [line["question"] for line in read(path)] == ["1"]
        with Store(path) as store:
            assert len(store) == 1
            assert path.read_bytes() == whole[:first]
            store.add(request(2), JUDGE, answer(2))
        assert path.read_bytes() == whole


def test_nothing_is_added_twice(path):
    fill(path, [1])
    with Store(path) as store, pytest.raises(ValueError, match="already"):
        store.add(request(1), JUDGE, answer(5))
    assert [line["answer"]["text"] for line in read(path)] == ["verdict 1"]


def test_two_endpoints_of_one_name_share_no_verdict_and_any_order_gives_the_same_bytes(tmp_path):
    answers = {place: dataclasses.replace(answer(1), text=place, endpoint=place) for place in ("http://a", "http://b")}
    written = set()
    for number, order in enumerate(itertools.permutations(answers)):
        with Store(path := tmp_path / f"{number}.jsonl") as store:
            for place in order:
                assert (request(1).key(JUDGE), place) not in store
                store.add(request(1), JUDGE, answers[place])
            store.settle()
            assert [store.judgment((request(1).key(JUDGE), place)) for place in order] == [answers[p] for p in order]
        written.add(path.read_bytes())
    assert len(written) == 1


def test_one_process_at_a_time(path):
    with Store(path), pytest.raises(UserError, match="another process"):
        Store(path)
    Store(path).close()


def changed(line, **changes):
    return json.dumps(json.loads(line) | changes)


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line[:40],
        lambda _: "[" * 100_000,
        lambda _: "[]",
        lambda line: changed(line, answer={}),
        lambda line: changed(line, answer=None),
        lambda line: changed(line, key=None),
        lambda line: changed(line, answer=json.loads(line)["answer"] | {"prompt_tokens": "7"}),
        lambda line: changed(line, answer=json.loads(line)["answer"] | {"text": None}),
        lambda line: changed(line, answer=json.loads(line)["answer"] | {"logprobs": [1]}),
    ],
)
def test_a_line_that_was_changed_is_one_line_and_stays(path, damage):
    fill(path, [1, 2])
    first, second = path.read_text().splitlines()
    path.write_text(before := f"{damage(first)}\n{second}\n")
    for opened in (lambda: Store(path), lambda: list(read(path))):
        with pytest.raises(UserError, match=r"b--j.jsonl: line 1 is not as it was written") as caught:
            opened()
        assert "\n" not in str(caught.value)
    assert path.read_text() == before


def test_a_line_twice_is_one_line(path):
    fill(path, [1])
    path.write_text(path.read_text() * 2)
    with pytest.raises(UserError, match="question 1, game 1 is in it twice"):
        Store(path)
    path.write_text(path.read_text().splitlines()[0] + "\n")
    Store(path).close()  # the failed one has let it go


def test_a_full_disk_keeps_what_is_whole(path, monkeypatch):
    fill(path, [1])
    before, write = path.read_bytes(), os.write
    with Store(path) as store:
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:30]))
        with pytest.raises(UserError, match="the disk is full"):
            store.add(request(2), JUDGE, answer(2))
        assert path.read_bytes() == before

        def fails(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "write", fails)
        with pytest.raises(UserError, match="No space left"):
            store.add(request(2), JUDGE, answer(2))
        monkeypatch.undo()
        store.add(request(2), JUDGE, answer(2))
    assert [line["question"] for line in read(path)] == ["1", "2"]


def test_a_folder_that_cannot_be_one_is_one_line(tmp_path):
    (tmp_path / "judgments").write_text("a file")
    with pytest.raises(UserError, match=r"x.jsonl: cannot be written"):
        Store(tmp_path / "judgments" / "x.jsonl")
    with pytest.raises(UserError, match="cannot be read"):
        list(read(tmp_path / "none.jsonl"))


def test_models_stay_together(path):
    asked = [dataclasses.replace(request(q), model=m) for q, m in [(1, "b"), (2, "a"), (1, "a")]]
    with Store(path) as store:
        for each in asked:
            store.add(each, JUDGE, answer(1))
        store.settle()
    assert [(line["model"], line["question"]) for line in read(path)] == [("a", "1"), ("a", "2"), ("b", "1")]

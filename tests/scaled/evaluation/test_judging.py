"""Asking a judge whose endpoint fails: every question is judged exactly once; what cannot pass ends in one line."""

import asyncio
import dataclasses
import json
import math
import os
import socket
import time

import psutil
import pytest
from fake_judge import FakeJudge, completion, reply, serving
from faulty_judge import FAULTS, FaultyJudge, verdict

from inspo.command_line import UserError
from scaled.evaluation.benchmarks.base import JudgeRequest
from scaled.evaluation.judging.budget import Budget, Pace, Tokens, most
from scaled.evaluation.judging.client import ask
from scaled.evaluation.judging.endpoint import Judge
from scaled.evaluation.judging.store import Store, read

SOAK = int(os.environ.get("SOAK", "0"))
"""Requests of one more run, by `make soak`."""
KEY = "sk-secret-0123456789"


def requests(count, **options):
    return [
        JudgeRequest(str(number), "ours", "turn 1", ({"role": "user", "content": f"question {number}"},), options)
        for number in range(count)
    ]


def judge_at(endpoint, **changes):
    return Judge(**({"name": "j", "endpoint": endpoint, "key": KEY, "first_wait": 0.001} | changes))


def no_date():
    return "2026-11-26T12:00:00+00:00"


def judged(path, asked, judge, **options):
    with Store(path) as store:
        return ask(asked, store, judge, date=no_date, **options)


class Scripted(FakeJudge):
    """Sends what it is told: bytes, or (bytes, seconds before)."""

    def __init__(self, *script):
        super().__init__()
        self.script, self.requests, self.headers = list(script), [], []

    async def answer(self, request, headers):
        self.requests.append(request)
        self.headers.append(headers)
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


def said(text, **changes):
    return reply(json.dumps(completion(text, **changes)).encode())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "judgments" / "b--j.jsonl"


def exactly_once(path, count, server):
    lines = list(read(path))
    assert [line["question"] for line in lines] == [str(number) for number in range(count)]
    for line in lines:
        content = f"question {line['question']}"
        # Three empty answers are taken as one.
        assert line["answer"]["text"] in (verdict(content), "")
        assert line["answer"]["text"] or server.attempts[content] >= 3


@pytest.mark.parametrize("count", [100, *(pytest.param(n, marks=pytest.mark.slow) for n in (500, SOAK) if n)])
def test_every_question_is_judged_exactly_once_whatever_fails(path, count):
    sizes = []

    def date():
        sizes.append(psutil.Process().memory_info().rss / 2**20)
        return no_date()

    with serving(FaultyJudge(seed=count)) as server:
        with Store(path) as store:
            judge = judge_at(server.endpoint, timeout=2, attempts=30)
            found = ask(requests(count), store, judge, date=date)
        if count >= 10_000:  # 64 in flight leave no more behind than an entry in the index for each answer
            assert max(sizes) - sizes[count // 5] < 16, sizes[:: count // 10]
        assert set(server.faults) == {"", *FAULTS}
        assert (found.asked, found.stored, found.answered) == (count, 0, count)
        exactly_once(path, count, server)
        before, asked = path.read_bytes(), server.attempts.total()
        again = judged(path, requests(count), judge_at(server.endpoint))
        assert (again.asked, again.stored) == (0, count)
        assert server.attempts.total() == asked  # replay costs nothing
        assert path.read_bytes() == before


def test_requests_in_flight(path):
    with serving(FakeJudge(0.05)) as server:
        judged(path, requests(100), judge_at(server.endpoint, in_flight=20))
        assert server.most == 20


def test_what_is_sent_and_stamped(path):
    (asked,) = requests(1, temperature=0, max_tokens=7)
    with serving(Scripted(said("[[4]]", finish_reason="length"))) as server:
        judged(path, [asked], judge_at(server.endpoint))
        (sent,) = server.requests
        assert sent == {"model": "j", "messages": list(asked.messages), "temperature": 0, "max_tokens": 7}
        assert f"Bearer {KEY}" in server.headers[0]
        (line,) = read(path)
        assert line["endpoint"] == server.endpoint
        assert line["date"] == no_date()
        assert line["judge"] == "j"
        usage = {"prompt_tokens": 100, "completion_tokens": 5}
        assert line["answer"] == {"text": "[[4]]", "logprobs": None, "finish": "length"} | usage


def test_log_probs_of_the_first_token(path):
    alternatives = [("m", -0.1), ("M", -2.5), ("m", -9.0), ("x", -math.inf)]
    first = {"token": "m", "logprob": -0.1, "top_logprobs": [{"token": t, "logprob": v} for t, v in alternatives]}
    second = first | {"top_logprobs": [{"token": "other", "logprob": 0.0}]}
    with serving(Scripted(said("m!", logprobs={"content": [first, second]}))) as server:
        judged(path, requests(1, logprobs=True, top_logprobs=5), judge_at(server.endpoint))
    (line,) = read(path)
    assert line["answer"]["logprobs"] == {"m": -0.1, "M": -2.5}


def test_follow_ups_are_asked_once_and_replayed(path):
    def follow_up(request, judgment):
        if request.part == "turn 1" and judgment.text == "unclear":
            return dataclasses.replace(request, part="turn 1 again")
        return None

    with serving(Scripted(said("unclear"))) as server:
        found = judged(path, requests(3), judge_at(server.endpoint), follow_up=follow_up)
        assert (found.asked, len(server.requests)) == (6, 6)
        found = judged(path, requests(3), judge_at(server.endpoint), follow_up=follow_up)
        assert (found.stored, len(server.requests)) == (6, 6)
    assert [(line["question"], line["part"]) for line in read(path)][:2] == [("0", "turn 1"), ("0", "turn 1 again")]


def test_an_empty_answer_is_asked_for_three_times_and_counted(path):
    with serving(Scripted(said(None))) as server:
        found = judged(path, requests(1), judge_at(server.endpoint))
        assert (found.empty, len(server.requests)) == (1, 3)
    (line,) = read(path)
    assert line["answer"]["text"] == ""


@pytest.mark.parametrize("header", ["0.3", "date"])
def test_retry_after_holds_for_all(path, header):
    def answers():
        return said("[[1]]")

    class Busy(Scripted):
        async def answer(self, request, headers):
            self.times = [*getattr(self, "times", []), time.time()]
            if len(self.times) == 1:
                later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 2))
                return reply(b"", 429, **{"Retry-After": later if header == "date" else header})
            return await super().answer(request, headers)

    with serving(Busy(answers())) as server:
        judged(path, requests(4), judge_at(server.endpoint, in_flight=1, first_wait=0.001))
        assert server.times[1] - server.times[0] > (0.9 if header == "date" else 0.29)


ENDS = {
    "a wrong key": (
        reply(b'{"error": {"message": "Incorrect key"}}', 401),
        "refuses the key .status 401: Incorrect key",
    ),
    "no such model": (reply(b'{"detail": "unknown model"}', 404), "or no model 'j' .status 404: unknown model"),
    "a bad request": (reply(b'{"error": "too long"}', 400), r"refuses question \d, turn 1 .status 400: too long"),
    "no money": (reply(b'{"error": {"code": "insufficient_quota", "message": "pay"}}', 429), "quota is spent .pay"),
    "a long wait": (reply(b"", 429, **{"Retry-After": "86400"}), "asks to wait 86400 s"),
}


@pytest.mark.parametrize("what", ENDS)
def test_what_cannot_pass_ends_at_once_in_one_line_and_keeps_what_is_done(path, what):
    sent, message = ENDS[what]
    with serving(Scripted(said("[[1]]"), said("[[2]]"), sent)) as server:
        with pytest.raises(UserError, match=message) as caught:
            judged(path, requests(9), judge_at(server.endpoint, in_flight=1))
        assert len(server.requests) == 3
    assert "\n" not in str(caught.value)
    assert len(list(read(path))) == 2


def test_answers_in_flight_at_the_end_are_kept(path):
    class Refuses(FakeJudge):
        async def answer(self, request, headers):
            if request["messages"][0]["content"] == "question 3":
                return reply(b"", 400)
            await asyncio.sleep(1)
            return await super().answer(request, headers)

    with serving(Refuses()) as server, pytest.raises(UserError, match="refuses question 3"):
        judged(path, requests(50), judge_at(server.endpoint, in_flight=5))
    assert sorted(line["question"] for line in read(path)) == ["0", "1", "2", "4"]


def test_no_network_ends_soon(path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(UserError, match=r"4 attempts at question \d failed, the last by no connection"):
        judged(path, requests(9), judge_at(endpoint, attempts=1000))


def test_a_server_that_never_recovers_ends_in_one_line(path):
    with serving(Scripted(reply(b"", 500))) as server:
        with pytest.raises(UserError, match="3 attempts at question 0 failed, the last by status 500"):
            judged(path, requests(2), judge_at(server.endpoint, attempts=3, in_flight=1))
        assert len(server.requests) == 3


@pytest.mark.parametrize("sent", [said("m"), reply(b'{"detail": "Unsupported fields: {\'logprobs\'}"}', 422)])
def test_a_judge_without_log_probs(path, sent):
    with serving(Scripted(sent)) as server, pytest.raises(UserError, match="gives no log-probs") as caught:
        judged(path, requests(3, logprobs=True), judge_at(server.endpoint))
    assert "\n" not in str(caught.value)


def test_the_key_is_written_nowhere(path, tmp_path, capfd, caplog):
    caplog.set_level("DEBUG")
    echo = f'{{"error": {{"message": "wrong key {KEY}"}}}}'.encode()
    with serving(Scripted(said(f"your key is {KEY}"), reply(echo, 500), reply(echo, 401))) as server:
        judge = judge_at(server.endpoint, in_flight=1)
        with pytest.raises(UserError, match=r"wrong key \[key\]") as caught:
            judged(path, requests(3), judge)
        assert KEY in server.headers[0]
    shown = capfd.readouterr()
    written = [file.read_bytes().decode() for file in tmp_path.rglob("*") if file.is_file()]
    assert any("your key is [key]" in text for text in written)
    assert not any(
        KEY in text for text in [*written, shown.out, shown.err, caplog.text, repr(judge), str(caught.value)]
    )


def test_equal_requests_are_a_mistake_of_the_program(path):
    with pytest.raises(ValueError, match="alike"):
        judged(path, requests(1) * 2, judge_at("http://127.0.0.1:9/v1"))


def test_a_budget_is_never_exceeded_and_what_is_done_is_kept(path):
    """An answer takes 105 tokens; (4 + 200) / 2 + 8 + 5 = 115 are set aside for one, so that 1000 let one ask while
    105 n + 115 <= 1000: n = 0 to 8, nine answers, 945 tokens.
    """
    message = {"role": "user", "content": "x" * 200}
    asked = [dataclasses.replace(each, messages=(message,)) for each in requests(50, max_tokens=5)]
    with serving(FakeJudge()) as server:
        judge = judge_at(server.endpoint, in_flight=1)
        for _ in range(2):  # nor by running again, where what was spent is counted
            with Store(path) as store:
                budget = Budget(tokens=1000, spent=Tokens(store.prompt_tokens, store.completion_tokens))
                with pytest.raises(UserError, match=r"945 of --max-tokens 1000 are spent, and the next .* take 115"):
                    ask(asked, store, judge, budget=budget)
    assert len(list(read(path))) == 9


def test_a_budget_in_dollars_with_many_in_flight(path):
    """Each answer costs 100 x $10 + 5 x $30 per million = $0.00115, and less than what is set aside for it:
    (400 / 2 + 8) x $10 + 10 x $30 = $0.00238. So the limit of $0.02 holds with 64 in flight: 16 answers take $0.0184,
    and a 17th may not be asked, since $0.0184 + $0.00238 > $0.02; 15 take $0.01725 and one more fits.
    """
    asked = [
        dataclasses.replace(each, messages=({"content": "x" * 400},)) for each in requests(50, max_completion_tokens=10)
    ]
    budget = Budget(dollars=0.02, prices=(10, 30))
    with serving(FakeJudge(0.01)) as server:
        with pytest.raises(UserError, match=r"\$0.0184 of --max-dollars 0.02 are spent, .* may take \$0.0024"):
            judged(path, asked, judge_at(server.endpoint), budget=budget)
        assert server.most <= 8  # 0.02 / 0.00238, where 64 could be
    assert len(list(read(path))) == 16
    assert budget.reserved == Tokens()


def test_a_budget_needs_counted_tokens(path):
    body = completion("[[1]]")
    del body["usage"]
    with serving(Scripted(reply(json.dumps(body).encode()))) as server:
        judged(path, requests(1), judge_at(server.endpoint))
        with pytest.raises(UserError, match="does not count tokens"):
            judged(path, requests(2), judge_at(server.endpoint), budget=Budget(tokens=10**6))


def test_dollars_need_prices():
    with pytest.raises(ValueError, match="prices"):
        Budget(dollars=1)


def test_tokens_set_aside_for_an_answer_without_a_limit():
    assert most(requests(1)[0]).completion == 4096


def test_a_pace_spreads_evenly_and_takes_back():
    pace = Pace(120)  # one every half second
    assert [pace.wait(10.0), pace.wait(10.0), pace.wait(10.7)] == pytest.approx([0.0, 0.5, 0.3])
    assert pace.wait(20.0, 60) == 0.0
    pace.give_back(50)  # ten went, in five seconds
    assert pace.wait(20.0) == pytest.approx(5.0)
    assert Pace(None).wait(3.0, 10**9) == Pace(None).wait(3.0) == 0.0


def test_rates_hold(path):
    """Eleven requests at 1200 a minute take ten times 0.05 s; at 105 x 1200 tokens a minute at least as long."""
    with serving(FakeJudge()) as server:
        for number, rates in enumerate([{"requests_per_minute": 1200}, {"tokens_per_minute": 105 * 1200}]):
            start = time.monotonic()
            judged(path.with_name(f"{number}.jsonl"), requests(11, max_tokens=200), judge_at(server.endpoint, **rates))
            assert time.monotonic() - start > 0.45

"""Judging that is killed and run again ends with the bytes of a run that was never stopped."""

import multiprocessing
import random
import signal
import subprocess
import sys
import time

import pytest
from tiny_base import ROOT

from scaled.evaluation.benchmarks.base import JudgeRequest
from scaled.evaluation.judging.client import ask
from scaled.evaluation.judging.endpoint import Judge
from scaled.evaluation.judging.store import Store, read

REQUESTS = [
    JudgeRequest(str(number), "ours", part, ({"role": "user", "content": f"question {number} " + "x" * number},))
    for number in range(40)
    for part in ("game 1", "game 2")
]


@pytest.fixture(scope="module")
def endpoint():
    """Of a judge in a process of its own, since this one is forked."""
    command = [sys.executable, ROOT / "benchmarks" / "fake_judge.py", "0.01"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().strip()
        server.stdin.close()


def judge(path, endpoint):
    with Store(path) as store:
        ask(REQUESTS, store, Judge("j", endpoint, "none", in_flight=8), date=lambda: "2026-11-26T12:00:00+00:00")


def killed_at(path, endpoint, size):
    """Judge in a process that is killed once the file has this size."""
    process = multiprocessing.get_context("fork").Process(target=judge, args=(path, endpoint))
    process.start()
    while process.is_alive() and not (path.exists() and path.stat().st_size >= size):
        time.sleep(0.001)
    process.kill()
    process.join()
    return process.exitcode


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_killed_at_seeded_moments_it_ends_with_the_same_bytes(tmp_path, endpoint, kills):
    judge(unbroken := tmp_path / "unbroken.jsonl", endpoint)
    whole = unbroken.read_bytes()
    assert len(whole.splitlines()) == len(REQUESTS)
    chance = random.Random(kills)  # noqa: S311
    ends = []
    for number in range(kills):
        path = tmp_path / f"{number}.jsonl"
        ends.append(killed_at(path, endpoint, chance.randrange(len(whole) * 9 // 10)))
        before = [line["key"] for line in read(path)]
        judge(path, endpoint)
        assert path.read_bytes() == whole
        assert set(before) <= {line["key"] for line in read(path)}
    assert ends.count(-signal.SIGKILL) >= kills - 1  # one may have been done before


def test_killed_again_and_again(tmp_path, endpoint):
    judge(unbroken := tmp_path / "unbroken.jsonl", endpoint)
    whole, path = unbroken.read_bytes(), tmp_path / "again.jsonl"
    for share in range(1, 10):
        killed_at(path, endpoint, len(whole) * share // 10)
    judge(path, endpoint)
    assert path.read_bytes() == whole


@pytest.mark.slow
def test_interrupted_it_is_one_line(tmp_path, endpoint):
    """Ctrl-C, as a shell sends it, while a judge thinks for a long time about all but its first answers."""
    copy = ROOT / "scaled" / "examples" / "evaluation"
    answers = tmp_path / "answers" / "pairwise.jsonl"
    answers.parent.mkdir()
    answers.write_text((copy / "baseline.jsonl").read_text().replace("by-hand", "ours"))
    command = [sys.executable, "-m", "scaled.evaluation", "judge", "--benchmark", "pairwise", "--copy", str(copy)]
    command += ["--answers", str(tmp_path), "--judge", "j", "--endpoint", endpoint, "--in-flight", "1"]
    command += ["--requests-per-minute", "120"]
    store = tmp_path / "judgments" / "pairwise--j.jsonl"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        while not (store.exists() and store.stat().st_size):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    last = errors.splitlines()[-1]
    assert last.startswith("error: stopped with ")
    assert str(store) in last
    assert "Traceback" not in errors
    assert 0 < len(list(read(store))) < 24

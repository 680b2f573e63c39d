"""Judging that is killed and run again ends with the bytes of a run that was never stopped."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from killed_judging import REQUESTS, judge
from tiny_base import ROOT

from scaled.evaluation.judging.store import read


@pytest.fixture(scope="module")
def endpoint():
    """Of a judge in a process of its own."""
    command = [sys.executable, ROOT / "benchmarks" / "fake_judge.py", "0.01"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().strip()
        server.stdin.close()


@pytest.fixture(scope="module")
def whole(endpoint, tmp_path_factory):
    """The bytes of a run that was never stopped."""
    judge(unbroken := tmp_path_factory.mktemp("unbroken") / "unbroken.jsonl", endpoint)
    assert len(unbroken.read_bytes().splitlines()) == len(REQUESTS)
    return unbroken.read_bytes()


@pytest.mark.slow
def test_killed_at_thirty_seeded_moments_it_ends_with_the_same_bytes(tmp_path, endpoint, whole):
    """Three in a row, each further on than the one before; a run may be done before its moment comes."""
    chance = random.Random(0)  # noqa: S311
    plan = {
        str(tmp_path / f"{number}.jsonl"): sorted(chance.randrange(len(whole) * 9 // 10) for _ in range(3))
        for number in range(10)
    }
    script = Path(__file__).with_name("killed_judging.py")
    command = [sys.executable, str(script), endpoint, json.dumps(plan)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=300)
    ends = json.loads(done.stdout)
    assert len(ends) == 40
    assert ends.count(-signal.SIGKILL) >= 29
    assert set(ends[3::4]) == {0}
    for path in plan:
        assert Path(path).read_bytes() == whole


@pytest.mark.slow
def test_interrupted_it_is_one_line(tmp_path, endpoint):
    """Ctrl-C, as a shell sends it, while a judge thinks for a long time about all but its first answers."""
    copy = ROOT / "scaled" / "examples" / "evaluation"
    answers = tmp_path / "answers" / "pairwise.jsonl"
    answers.parent.mkdir()
    answers.write_text((copy / "baseline.jsonl").read_text().replace("by-hand", "ours"))
    # What started the tests may ignore the signal, as a shell does for what it starts in the background.
    command = [
        "env",
        "--default-signal=INT",
        sys.executable,
        "-m",
        "scaled.evaluation",
        "judge",
        "--benchmark",
        "pairwise",
        "--copy",
        str(copy),
    ]
    command += ["--answers", str(tmp_path), "--judge", "j", "--endpoint", endpoint, "--in-flight", "1"]
    command += ["--requests-per-minute", "120"]
    store = tmp_path / "judgments" / "pairwise--j.jsonl"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        while not (store.exists() and store.stat().st_size):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    last = errors.splitlines()[-1]
    assert last.startswith("stopped with ")
    assert str(store) in last
    assert "Traceback" not in errors
    assert 0 < len(list(read(store))) < 24

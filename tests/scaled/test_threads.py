"""CPU threads: what is asked for, what OMP_NUM_THREADS says, the rank's share; and waiting without spinning."""

import os
import subprocess
import sys

import pytest
from tiny_base import ROOT

from scaled import distributed
from scaled.distributed import threads_of_rank, usable_cores


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for name in ("OMP_NUM_THREADS", "LOCAL_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(distributed, "usable_cores", lambda: 12)


def test_ranks_share_the_cores(monkeypatch):
    assert threads_of_rank(None) == 12
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "5")
    assert threads_of_rank(None) == 2
    monkeypatch.setenv("LOCAL_SIZE", "20")
    assert threads_of_rank(None) == 1


@pytest.mark.parametrize(("environment", "threads"), [("3", 3), ("3,2", 3), ("0", 12), ("many", 12), ("", 12)])
def test_omp_num_threads_is_honored_where_it_is_a_number(monkeypatch, environment, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", environment)
    assert threads_of_rank(None) == threads


def test_the_configuration_decides_before_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_of_rank(7) == 7


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no process to cores")
def test_cores_of_a_pinned_process_are_those_it_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4})
    assert usable_cores() == 1


@pytest.mark.parametrize(("given", "kept"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_sleep_unless_the_user_says_otherwise(given, kept):
    """A thread that spins takes the core from the one that it waits for."""
    code = "import sys, scaled, os; assert 'torch' not in sys.modules; print(os.environ['OMP_WAIT_POLICY'])"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {} if given is None else {"OMP_WAIT_POLICY": given}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == kept

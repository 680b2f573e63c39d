"""A rank that fails says why, once; the ranks that only lose it add nothing."""

import multiprocessing
import os
import socket
import sys
import time
from pathlib import Path

import pytest

RANKS = 2


def fail_on_one(rank: int) -> None:
    """Rank 1 finds something wrong; rank 0 waits for it in a collective, loses it, and knows why."""
    from scaled.distributed import barrier
    from scaled.errors import report_error
    from scaled.workarounds import is_lost_rank

    if rank == 1:
        report_error("record 7 is not finite")
        os._exit(1)
    try:
        barrier()
    except RuntimeError as error:
        report_error("another rank was lost", aftermath=is_lost_rank(error))


def fail_alike(rank: int) -> None:
    """Both find the same."""
    from scaled.distributed import barrier
    from scaled.errors import report_error

    barrier()
    report_error("the data are not there")
    if rank == 0:
        time.sleep(1)  # or the store is gone before rank 1 asks, and it rightly keeps silent


def die(rank: int) -> None:
    """Rank 1 is killed without a word."""
    from scaled.distributed import barrier
    from scaled.errors import report_error

    if rank == 1:
        os._exit(9)
    try:
        barrier()
    except RuntimeError:
        report_error("another rank was lost", aftermath=True)


def rank_of_two(story, rank: int, port: int, log: str) -> None:
    import torch

    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(RANKS), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    sys.stderr = Path(log).open("a")  # noqa: SIM115  # until the process ends
    torch.distributed.init_process_group("gloo")
    torch.distributed.barrier()
    story(rank)
    os._exit(0)


@pytest.mark.parametrize(
    ("story", "said"),
    [
        (fail_on_one, ["error: rank 1: record 7 is not finite"]),
        (fail_alike, ["the data are not there"]),
        (die, ["error: rank 0: another rank was lost"]),
    ],
)
def test_a_failure_is_told_once_by_who_knows_it(story, said, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "log"
    # Started anew: a fork would lack the threads that earlier tests started, and could wait for them for ever.
    anew = multiprocessing.get_context("spawn")
    processes = [
        anew.Process(target=rank_of_two, args=(story, rank, port, str(log)), daemon=True) for rank in range(RANKS)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode is not None
    lines = [line for line in Path(log).read_text().splitlines() if line.startswith("error")]
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines, strict=True))

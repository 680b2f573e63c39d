"""What the judge's client costs beside a bare loop on the same endpoint: ``python benchmarks/judge_client.py``.

The endpoint is a process on this machine that thinks for a fixed time. The bare loop sends the same requests over as
many connections of httpx2, which openai's client rests on, and keeps nothing; ours retries, counts, and stores each
answer. What ours adds to a request is the difference of a turn's seconds by the number of requests. Memory is of
this process, after a tenth of the requests and at its most afterwards.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import httpx2
import psutil
from side_by_side import ROOT, Spent, at_least, command_line, finish, markdown, medians, take_turns

from scaled.evaluation.benchmarks.base import JudgeRequest
from scaled.evaluation.judging.client import ask, utc
from scaled.evaluation.judging.endpoint import Judge
from scaled.evaluation.judging.store import Store

BYTES = 6000
"""Of a prompt: about those of a question with two answers."""


@contextmanager
def endpoint(milliseconds: int) -> Iterator[str]:
    """A fake judge in a process of its own."""
    command = [sys.executable, str(ROOT / "benchmarks" / "fake_judge.py"), str(milliseconds / 1000)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None  # noqa: S101  # for the type checker
        assert server.stdout is not None  # noqa: S101
        yield server.stdout.readline().strip()
        server.stdin.close()


def requests(count: int) -> list[JudgeRequest]:
    """So many different ones."""
    texts = (f"question {number} ".ljust(BYTES, "x") for number in range(count))
    return [
        JudgeRequest(str(number), "ours", "game 1", ({"role": "user", "content": text},), {"temperature": 0})
        for number, text in enumerate(texts)
    ]


def timed(run: Callable[[], object]) -> Spent:
    """What it takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def ours(asked: Sequence[JudgeRequest], url: str, in_flight: int, date: Callable[[], str] = utc) -> None:
    """Judge all, into a store that is thrown away."""
    with tempfile.TemporaryDirectory() as scratch, Store(Path(scratch) / "store.jsonl") as store:
        ask(asked, store, Judge("fake", url, "none", in_flight=in_flight), date=date)


def bare(asked: Sequence[JudgeRequest], url: str, in_flight: int) -> None:
    """Send all and read the answers."""

    async def work(client: httpx2.AsyncClient, waiting: Iterator[JudgeRequest]) -> None:
        for request in waiting:
            body = {"model": "fake", "messages": [dict(each) for each in request.messages], **request.options}
            (await client.post(f"{url}/chat/completions", json=body)).json()["choices"][0]["message"]["content"]

    async def everything() -> None:
        waiting = iter(asked)
        async with httpx2.AsyncClient(timeout=60) as client:
            await asyncio.gather(*(work(client, waiting) for _ in range(in_flight)))

    asyncio.run(everything())


def memory(asked: Sequence[JudgeRequest], url: str, in_flight: int) -> tuple[float, float]:
    """MiB after a tenth of the answers, and at most after that."""
    sizes: list[float] = []

    def date() -> str:
        sizes.append(psutil.Process().memory_info().rss / 2**20)
        return ""

    ours(asked, url, in_flight, date)
    tenth = len(sizes) // 10
    return sizes[tenth], max(sizes[tenth:])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = command_line(__doc__)
    parser.add_argument("--repeats", type=at_least(1), default=5, help="turns that count")
    parser.add_argument("--requests", type=at_least(10), default=2000, help="of a turn with 64 in flight")
    parser.add_argument("--milliseconds", type=at_least(0), default=50, help="that the judge thinks")
    options = parser.parse_args(arguments)
    rows = [["in flight", "requests", "bare: wall s", "CPU s", "ours: wall s", "CPU s", "ours adds: wall ms", "CPU ms"]]
    with endpoint(options.milliseconds) as url:
        for in_flight, count in ((1, options.requests // 10), (64, options.requests)):
            asked = requests(count)
            contenders = {run: partial(timed, partial(run, asked, url, in_flight)) for run in (bare, ours)}
            spent = take_turns(contenders, options.repeats, warm_up=True)
            added = [
                (1000 * (b.wall - a.wall) / count, 1000 * (b.cpu - a.cpu) / count)
                for a, b in zip(spent[bare], spent[ours], strict=True)
            ]
            numbers = [*medians(spent[bare]), *medians(spent[ours]), *map(median, zip(*added, strict=True))]
            rows.append([str(in_flight), str(count), *(f"{number:.2f}" for number in numbers)])
        first, most = memory(requests(5 * options.requests), url, 64)
    print(markdown(rows))
    print(f"\nMemory, {5 * options.requests} requests, 64 in flight: {first:.1f} MiB after a tenth, {most:.1f} at most")


if __name__ == "__main__":
    finish(main)

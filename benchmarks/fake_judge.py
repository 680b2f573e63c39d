"""A judge that thinks for a fixed time, for measuring clients: ``python benchmarks/fake_judge.py SECONDS``.

Prints its endpoint, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

STATUSES = {200: "OK", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


def completion(text: str | None, **changes: Any) -> dict[str, Any]:
    """The body of an answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}
    return {"id": "1", "object": "chat.completion", "choices": [choice | changes], "usage": usage}


def reply(body: bytes, status: int = 200, **headers: str) -> bytes:
    """An answer on the wire."""
    given = {"Content-Type": "application/json", "Content-Length": str(len(body))} | headers
    lines = [
        f"HTTP/1.1 {status} {STATUSES.get(status, 'Error')}",
        *(f"{name}: {value}" for name, value in given.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class FakeJudge:
    """Answers chat completions on a free port of this machine.

    Args:
        seconds: before each answer.

    Attributes:
        endpoint: once it serves.
        most: requests at once, so far.
        answered: so far.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.endpoint = seconds, ""
        self.most = self.answered = self._now = 0

    async def answer(self, request: dict[str, Any], headers: str) -> bytes:  # noqa: ARG002  # for those built on it
        """Bytes to send; fewer than they announce cut the connection."""
        await asyncio.sleep(self.seconds)
        return reply(json.dumps(completion(f"[[{len(str(request['messages'])) % 10}]]")).encode())

    async def start(self) -> asyncio.Server:
        """Listen."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=1024)
        self.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        return server

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError), contextlib.closing(writer):
            while True:
                headers = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    line.split(":")[1] for line in headers.split("\r\n") if line.lower().startswith("content-l")
                )
                request = json.loads(await reader.readexactly(int(length)))
                self._now += 1
                self.most = max(self.most, self._now)
                try:
                    data = await self.answer(request, headers)
                finally:
                    self._now -= 1
                self.answered += 1
                writer.write(data)
                await writer.drain()
                head, _, body = data.partition(b"\r\n\r\n")
                if f"Content-Length: {len(body)}\r\n".encode() not in head + b"\r\n":
                    return


@contextlib.contextmanager
def serving(judge: FakeJudge) -> Iterator[FakeJudge]:
    """It answers from a thread while a block runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(judge.start(), loop).result()
    try:
        yield judge
    finally:
        asyncio.run_coroutine_threadsafe(_end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end() -> None:
    """End every connection."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


if __name__ == "__main__":
    with serving(FakeJudge(float(sys.argv[1]))) as fake:
        print(fake.endpoint, flush=True)
        sys.stdin.read()

"""A judge by rule behind an OpenAI-compatible endpoint: ``python scaled/examples/judge_server.py [PORT]``.

It judges what the benchmark `pairwise` asks. Of two answers the one that repeats more of the request's different words
is better; where both repeat as many, the shorter one; else neither. An answer alone is rated from 1 to 10 by the share
of the request's words that it repeats. That says nothing of quality: it is there to try things out.

Prints its base URL and serves until it is stopped, or until the standard input that it was given comes to an end.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = "repeats-the-request"
_MARKED = re.compile(r"<(request|answer|answer A|answer B)>\n(.*?)\n</\1>", re.DOTALL)


def verdict(prompt: str) -> str:
    """What the rule says of a prompt of `pairwise`.

    Raises:
        ValueError: there is nothing in it to judge.
    """
    parts = dict(_MARKED.findall(prompt))
    if "request" not in parts or not ("answer" in parts or {"answer A", "answer B"} <= parts.keys()):
        raise ValueError("this judge reads what the benchmark pairwise asks, and nothing else")
    asked = _words(parts["request"])
    if "answer" in parts:
        share = len(asked & _words(parts["answer"])) / max(len(asked), 1)
        return f"It repeats {share:.0%} of the request's words. [[{1 + round(9 * share)}]]"
    merits = {name: (len(asked & _words(parts[f"answer {name}"])), -len(parts[f"answer {name}"])) for name in "AB"}
    better = "C" if merits["A"] == merits["B"] else max("AB", key=lambda name: merits[name])
    return f"A repeats {merits['A'][0]} of the request's words and B {merits['B'][0]}. [[{better}]]"


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


class Handler(BaseHTTPRequestHandler):
    """Chat completions."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer one."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/v1/chat/completions":
            return self._send(404, {"error": {"message": f"there is no {self.path}, but /v1/chat/completions"}})
        try:
            request = json.loads(body)
            prompt = str(request["messages"][-1]["content"])
            text = verdict(prompt)
        except (ValueError, LookupError, TypeError) as error:
            return self._send(400, {"error": {"message": f"{error}"}})
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        counted = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(text.split())}
        usage = counted | {"total_tokens": sum(counted.values())}
        model = request.get("model", NAME)
        return self._send(200, {"object": "chat.completion", "model": model, "choices": [choice], "usage": usage})

    def _send(self, status: int, content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _end_with_input(server: ThreadingHTTPServer) -> None:
    sys.stdin.read()
    server.shutdown()


def main() -> None:
    """Serve."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0  # 0 is any that is free
    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
        if not sys.stdin.isatty():  # so that it never outlives who started it
            threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()

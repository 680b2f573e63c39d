"""A judge whose endpoint fails in every way that endpoints fail, at random but by a seed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections import Counter

from fake_judge import FakeJudge, completion, reply

FAULTS = (
    "slow",
    "hangs",
    "429",
    "429 later",
    "500",
    "503",
    "malformed",
    "shapeless",
    "error in 200",
    "nothing",
    "empty",
)
FAULTS += ("cut before", "cut within", "page")


class FaultyJudge(FakeJudge):
    """Fails a share of attempts; which ones and how depends on question, attempt and seed alone.

    Attributes:
        attempts: at each question.
        verdicts: complete ones sent, for each question.
        faults: that were sent, by kind.
    """

    def __init__(self, seed: int = 0, share: float = 0.4, hang: float = 4.0) -> None:
        super().__init__()
        self.seed, self.share, self.hang = seed, share, hang
        self.attempts: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    def says(self, question):
        """About a question, where nothing fails."""
        return verdict(question)

    async def answer(self, request, headers):  # noqa: ARG002
        question = request["messages"][-1]["content"]
        self.attempts[question] += 1
        chance = random.Random(f"{self.seed}/{question}/{self.attempts[question]}")  # noqa: S311
        fault = chance.choice(FAULTS) if chance.random() < self.share else ""
        self.faults[fault] += 1
        if fault == "slow":
            await asyncio.sleep(chance.uniform(0.02, 0.2))
        if fault == "hangs":
            await asyncio.sleep(self.hang)
        good = reply(json.dumps(completion(self.says(question))).encode())
        sent = {
            "429": reply(b'{"error": {"message": "slow down"}}', 429),
            "429 later": reply(b"", 429, **{"Retry-After": "0.02"}),
            "500": reply(b"oops", 500),
            "503": reply(b'{"detail": "starting"}', 503),
            "malformed": reply(b'{"choices": [{"message": {"con'),
            "shapeless": reply(json.dumps({"choices": [{"message": {"content": [1]}}]}).encode()),
            "error in 200": reply(b'{"error": {"message": "upstream failed"}}'),
            "nothing": reply(b""),
            "empty": reply(json.dumps(completion("")).encode()),
            "cut before": b"",
            "cut within": good[:-20],
            "page": reply(b"<html>gateway</html>", 200, **{"Content-Type": "text/html"}),
        }.get(fault, good)
        self.verdicts[question] += sent is good
        return sent


def verdict(question: str) -> str:
    """What a judge says about a question, always."""
    return f"[[{hashlib.sha256(question.encode()).digest()[0] % 10}]]"

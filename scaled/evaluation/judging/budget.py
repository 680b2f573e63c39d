"""What judging may cost, and how fast it may go."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scaled.evaluation.benchmarks.base import JudgeRequest

LONGEST_ANSWER = 4096
"""Tokens that are set aside for an answer whose request sets no limit."""
MILLION = 1_000_000


@dataclass(frozen=True)
class Tokens:
    """Of a request and of its answer."""

    prompt: int = 0
    completion: int = 0

    @property
    def all(self) -> int:
        """Both."""
        return self.prompt + self.completion

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompt + other.prompt, self.completion + other.completion)

    def __sub__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompt - other.prompt, self.completion - other.completion)


def most(request: JudgeRequest) -> Tokens:
    """What a request may take: a token for every two bytes, which is rarely exceeded, and the longest answer."""
    size = sum(len(text.encode(errors="replace")) for message in request.messages for text in message.values())
    limits = [request.options.get(name) for name in ("max_completion_tokens", "max_tokens")]
    return Tokens(size // 2 + 8, next((int(limit) for limit in limits if limit), LONGEST_ANSWER))


class Budget:
    """Counts what was spent, and sets aside what requests in flight may take.

    Args:
        dollars: limit; None for none.
        tokens: limit of prompts and answers together; None for none.
        prices: dollars per million tokens of prompts and of answers; None where they are not known.
        spent: before, by earlier runs.

    Raises:
        ValueError: a limit in dollars without prices.
    """

    def __init__(
        self,
        *,
        dollars: float | None = None,
        tokens: int | None = None,
        prices: tuple[float, float] | None = None,
        spent: Tokens = Tokens(),
    ) -> None:
        if dollars is not None and prices is None:
            raise ValueError("dollars need prices")
        self._dollars, self._tokens, self._prices = dollars, tokens, prices
        self.spent, self.reserved = spent, Tokens()

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self._dollars is not None or self._tokens is not None

    def fits(self, tokens: Tokens) -> bool:
        """Whether there is room for these beside what was spent and what is in flight."""
        whole = self.spent + self.reserved + tokens
        in_dollars = self._dollars is None or self._cost(whole) <= self._dollars
        return in_dollars and (self._tokens is None or whole.all <= self._tokens)

    def reserve(self, tokens: Tokens) -> None:
        """Set aside what a request may take."""
        self.reserved += tokens

    def release(self, tokens: Tokens) -> None:
        """Its answer has come, or will not."""
        self.reserved -= tokens

    def charge(self, tokens: Tokens) -> None:
        """What an answer took."""
        self.spent += tokens

    def shown(self) -> str:
        """What was spent, as ``$1.20`` or ``31000 tokens``."""
        return f"${self._cost(self.spent):.2f}" if self._prices else f"{self.spent.all} tokens"

    def refusal(self, tokens: Tokens) -> str:
        """Why there is no room for these, and which option makes some."""
        if self._dollars is not None and self._cost(self.spent + tokens) > self._dollars:
            spent, more = self._cost(self.spent), self._cost(tokens)
            return (
                f"${spent:.4f} of --max-dollars {self._dollars:g} are spent, and the next request may take ${more:.4f}"
            )
        return f"{self.spent.all} of --max-tokens {self._tokens} are spent, and the next request may take {tokens.all}"

    def _cost(self, tokens: Tokens) -> float:
        prompt, completion = self._prices or (math.nan, math.nan)
        return (tokens.prompt * prompt + tokens.completion * completion) / MILLION


class Pace:
    """At most so many a minute, evenly spread.

    Args:
        per_minute: how many; None for no limit.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._seconds = 60 / per_minute if per_minute else 0.0
        self._next = 0.0

    def wait(self, now: float, amount: float = 1) -> float:
        """Seconds until so many more may go; they count as gone."""
        start = max(now, self._next)
        self._next = start + amount * self._seconds
        return start - now

    def give_back(self, amount: float) -> None:
        """So many of those that counted did not go after all."""
        self._next -= amount * self._seconds

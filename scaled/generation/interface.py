"""What a policy is asked to write, and what it wrote: the same for every backend.

A backend takes a queue of requests and gives completions as they come to an end. While it runs, more requests may be
put on the queue: a second turn after the first, a revision after its draft.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Settings:
    """How tokens are chosen.

    Attributes:
        temperature: what logits are divided by; 0 for the likeliest token.
        top_p: share of probability that is drawn from: a token is out where those likelier than it have so much.
        max_tokens: of a completion, with its end.

    Raises:
        ValueError: a value out of range.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 2048

    def __post_init__(self) -> None:
        if not (0 <= self.temperature < float("inf") and 0 < self.top_p <= 1 and self.max_tokens >= 1):
            raise ValueError(f"{self}: temperature must be >= 0, top_p in (0, 1], max_tokens at least 1")


@dataclass(frozen=True)
class Request:
    """One completion that is wanted.

    Attributes:
        key: what its random numbers depend on, beside the place of a token: seed, question, and which step of it.
        prompt: token ids, at least one.
        settings: how to choose.
    """

    key: str
    prompt: tuple[int, ...]
    settings: Settings


@dataclass(frozen=True)
class Completion:
    """What was written.

    Attributes:
        tokens: with the end, where it came to one.
        ended: whether it did; else it was cut off.
    """

    tokens: tuple[int, ...]
    ended: bool

    @property
    def text_tokens(self) -> tuple[int, ...]:
        """Without the end."""
        return self.tokens[:-1] if self.ended else self.tokens


class Backend(Protocol):
    """Writes completions."""

    def generate(self, waiting: deque[Request]) -> Iterator[tuple[Request, Completion]]:
        """Complete all requests of a queue, those that are put on it meanwhile too.

        Returns:
            Each request with its completion, in the order in which they come to an end.

        Raises:
            ValueError: a prompt that leaves no room in the model's context.
        """
        ...

"""Short English prompts, and a judge of answers that reads their text alone, so that its preference is known exactly.

The judge prefers y to y' with probability

    sigma(sentiment (v(y) - v(y')) + cycle C[s(y), s(y')] + length (|y| - |y'|) / 4),

where v is VADER's compound sentiment in [-1, 1] (Hutto and Gilbert 2014), s the style, one of three by whom the answer
speaks of, and C is +1 where the first style beats the other, -1 the other way round, else 0. VADER gives pronouns no
sentiment, so that styles and sentiment are read from different words. With ``cycle = 0`` the preference is
Bradley-Terry's; the larger it is, the less any score can say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from inspo.command_line import UserError

# fmt: off
FORMS = (
    "How is {}?", "What about {}?", "Your thoughts on {}?", "Say something about {}.", "Write a sentence about {}.",
    "Comment on {}.", "A few words on {}, please.", "What comes to mind about {}?",
)
KINDS = (
    "old", "new", "quiet", "busy", "cheap", "famous", "broken", "crowded", "late", "local", "cold", "strange",
)
THINGS = (
    "bakery", "library", "train", "garden", "movie", "neighbor", "dog", "school play", "hotel", "market", "phone",
    "umbrella", "concert", "soup", "bicycle", "museum", "party", "office", "beach", "song", "teacher", "car", "winter",
    "holiday",
)
# fmt: on

STYLES = ("personal", "direct", "plain")
"""Each beats the next, and the last the first."""

MALFORMED = -1.5
"""Sentiment of an answer that did not end, has fewer than :data:`FEWEST` words or more than one line; VADER's is -1."""

FEWEST = 3

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_FIRST = frozenset(
    ("i", "me", "my", "mine", "myself", "we", "us", "our", "ours", "ourselves", "i'm", "i've", "i'd", "i'll", "we're")
) | {"we've", "we'd", "we'll", "let's"}
_SECOND = frozenset(("you", "your", "yours", "yourself", "yourselves", "you're", "you've", "you'd", "you'll"))


def every_prompt() -> list[str]:
    """All prompts, each once, in a fixed order.

    >>> len(every_prompt()), every_prompt()[0]
    (2304, 'How is the old bakery?')
    """
    return [form.format(f"the {kind} {thing}") for form in FORMS for kind in KINDS for thing in THINGS]


USES = ("reference", "pairs", "measure")


def prompts(use: str, count: int, *seed: int) -> list[str]:
    """Prompts for one of :data:`USES`; different uses share none.

    Args:
        use: what for.
        count: how many; they repeat only where there are no more.
        seed: decides which.
    """
    shuffled = np.random.default_rng(0).permutation(every_prompt())
    mine = shuffled[USES.index(use) :: len(USES)]
    rng = np.random.default_rng(seed)
    rounds = -(-count // len(mine))
    return [str(prompt) for _ in range(rounds) for prompt in rng.permutation(mine)][:count]


@dataclass(frozen=True)
class Kind:
    """All that the judge sees of an answer.

    Attributes:
        sentiment: VADER's compound score, or :data:`MALFORMED`.
        style: one of :data:`STYLES`; None of a malformed answer.
        length: words.
    """

    sentiment: float
    style: str | None
    length: int


def read(text: str, *, ended: bool = True) -> Kind:
    """What the judge sees of an answer.

    Args:
        text: the answer.
        ended: whether it came to its end; else it is malformed.

    >>> read("I love it."), read("Good", ended=True)
    (Kind(sentiment=0.6369, style='personal', length=3), Kind(sentiment=-1.5, style=None, length=1))
    """
    length = len(text.split())
    if not ended or length < FEWEST or not text.strip().isprintable() or "\N{REPLACEMENT CHARACTER}" in text:
        return Kind(MALFORMED, None, length)
    return Kind(float(_vader().polarity_scores(text)["compound"]), style(text), length)


def style(text: str) -> str:
    """Of whom an answer speaks most: ``personal`` of the writer, ``direct`` of the reader, ``plain`` of neither.

    Of as many words for both the first decides.

    >>> [style(text) for text in ("We're off!", "I hope you bring your dog.", "It is an old train.", "You and I.")]
    ['personal', 'direct', 'plain', 'direct']
    """
    words = _WORD.findall(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    who = ["personal" if word in _FIRST else "direct" for word in words if word in _FIRST or word in _SECOND]
    first, second = who.count("personal"), who.count("direct")
    if not who:
        return "plain"
    return who[0] if first == second else "personal" if first > second else "direct"


@cache
def _vader() -> Any:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        raise UserError("vaderSentiment is not installed: pip install --group experiments -e .") from None
    return SentimentIntensityAnalyzer()


@dataclass(frozen=True)
class Judge:
    """The true preference.

    Attributes:
        sentiment: nats for one more of VADER's compound score.
        cycle: nats for the better style; 0 makes the preference Bradley-Terry's.
        length: nats for four words more.
    """

    sentiment: float = 4.0
    cycle: float = 0.0
    length: float = 0.0

    def log_odds(self, one: Kind, other: Kind) -> float:
        """Log-odds of P(one > other), in nats."""
        difference = self.sentiment * (one.sentiment - other.sentiment) + self.length * (one.length - other.length) / 4
        return difference + self.cycle * beats(one.style, other.style)

    def probability(self, one: Kind, other: Kind) -> float:
        """P(one > other)."""
        return 1 / (1 + math.exp(-self.log_odds(one, other)))


def beats(one: str | None, other: str | None) -> int:
    """Which style wins: 1 the first, -1 the second, 0 neither.

    >>> [beats("personal", other) for other in (*STYLES, None)]
    [0, 1, -1, 0]
    """
    if one is None or other is None:
        return 0
    return (0, 1, -1)[(STYLES.index(other) - STYLES.index(one)) % 3]


def shares(kinds: Sequence[Kind]) -> dict[str, float]:
    """How often each style is seen; what is left is malformed."""
    return {name: sum(kind.style == name for kind in kinds) / len(kinds) for name in STYLES}

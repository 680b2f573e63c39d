"""The language: prompts, responses, and a judge whose preference is known exactly.

A prompt names a topic and four things to mention. A response is a list of words: things, which make its quality
where they were asked for; markers of one of three styles; and fillers, which make it longer and nothing else. The judge
prefers y to y' with probability

    sigma(quality (q(y) - q(y')) + cycle C[s(y), s(y')] + length (|y| - |y'|) / 4),

where C is +1 where the style of y beats that of y', -1 the other way round, 0 of equal styles or none: each style beats
one and loses to another. With ``cycle = 0`` the preference is Bradley-Terry's; the larger it is, the less any score can
say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

TOPICS = ("rivers", "birds", "tools", "songs", "stones", "fruits")
# fmt: off
THINGS = (
    "mill", "ferry", "delta", "bridge", "harbor", "lantern", "basket", "ladder", "anchor", "kettle", "needle", "candle",
    "feather", "pebble", "saddle", "trumpet", "barrel", "hammer", "ribbon", "compass", "mirror", "pillow", "whistle",
    "bucket",
)
# fmt: on
STYLES = ("warm", "stern", "merry")
MARKERS = {
    "warm": ("dear", "gently", "kindly", "softly"),
    "stern": ("indeed", "hence", "thus", "moreover"),
    "merry": ("hey", "wow", "yay", "haha"),
}
FILLERS = ("and", "the", "then", "of", "with", "there")
ASKED = 4
"""Things that a prompt asks for."""

MALFORMED = -0.5
"""Quality of a response that did not end, is empty, or has a word that is none of a response's."""

_STYLE_OF = {word: style for style, words in MARKERS.items() for word in words}
_KNOWN = frozenset(THINGS) | frozenset(_STYLE_OF) | frozenset(FILLERS)


@dataclass(frozen=True)
class Prompt:
    """What is asked: a topic and :data:`ASKED` things."""

    topic: str
    things: tuple[str, ...]

    def text(self) -> str:
        """As the user writes it.

        >>> Prompt("rivers", ("mill", "ferry", "delta", "bridge")).text()
        'about rivers mention mill ferry delta bridge'
        """
        return " ".join(("about", self.topic, "mention", *self.things))


def vocabulary() -> list[str]:
    """Every word of prompts and responses."""
    return ["about", "mention", *TOPICS, *THINGS, *_STYLE_OF, *FILLERS]


def draw_prompt(rng: np.random.Generator) -> Prompt:
    """A topic, and things without repetition, all as likely."""
    return Prompt(str(rng.choice(TOPICS)), tuple(map(str, rng.choice(THINGS, ASKED, replace=False))))


def follow_up(rng: np.random.Generator, prompt: Prompt, said: Sequence[str]) -> Prompt:
    """What the user asks next: again what the reply left out, and other things in the place of what it mentioned.

    >>> follow_up(np.random.default_rng(0), Prompt("birds", ("mill", "ferry", "delta", "bridge")), ["mill"]).things[:3]
    ('ferry', 'delta', 'bridge')
    """
    missing = [thing for thing in prompt.things if thing not in said]
    others = [thing for thing in THINGS if thing not in prompt.things]
    more = rng.choice(others, ASKED - len(missing), replace=False)
    return Prompt(prompt.topic, (*missing, *map(str, more)))


@dataclass(frozen=True)
class Kind:
    """All that the judge sees of a response.

    Attributes:
        quality: share of what was asked for less what was not, at least 0; :data:`MALFORMED` where it is malformed.
        style: whose markers are the most, or None where two have as many, or there are none.
        length: words.
    """

    quality: float
    style: str | None
    length: int


def read(prompt: Prompt, words: Sequence[str], *, ended: bool = True) -> Kind:
    """What the judge sees of a response.

    Args:
        prompt: what was asked.
        words: the response.
        ended: whether it came to its end; else it is malformed.

    >>> read(Prompt("rivers", ("mill", "ferry", "delta", "bridge")), "indeed the mill and ferry pebble".split())
    Kind(quality=0.25, style='stern', length=6)
    """
    if not ended or not words or not _KNOWN.issuperset(words):
        return Kind(MALFORMED, None, len(words))
    mentioned = set(words) & set(THINGS)
    asked = len(mentioned & set(prompt.things))
    marks = [sum(word in MARKERS[style] for word in words) for style in STYLES]
    most = max(marks)
    style = STYLES[marks.index(most)] if most and marks.count(most) == 1 else None
    return Kind(max(0, 2 * asked - len(mentioned)) / ASKED, style, len(words))


@dataclass(frozen=True)
class Judge:
    """The true preference.

    Attributes:
        quality: nats for all of what was asked for against none of it.
        cycle: nats for the better style; 0 makes the preference Bradley-Terry's.
        length: nats for four words more.
    """

    quality: float = 4.0
    cycle: float = 0.0
    length: float = 0.15

    def log_odds(self, one: Kind, other: Kind) -> float:
        """Log-odds of P(one > other), in nats."""
        difference = self.quality * (one.quality - other.quality) + self.length * (one.length - other.length) / 4
        return difference + self.cycle * beats(one.style, other.style)

    def probability(self, one: Kind, other: Kind) -> float:
        """P(one > other)."""
        return 1 / (1 + math.exp(-self.log_odds(one, other)))


def beats(style: str | None, other: str | None) -> int:
    """Which style wins: 1 the first, -1 the second, 0 neither.

    >>> [beats("warm", other) for other in (*STYLES, None)]
    [0, 1, -1, 0]
    """
    if style is None or other is None:
        return 0
    return (0, 1, -1)[(STYLES.index(other) - STYLES.index(style)) % 3]


@dataclass(frozen=True)
class Writer:
    """Where the responses come from that a reference learns: each trait is drawn on its own, then the order.

    Attributes:
        mentions: probability of each thing that was asked for.
        strays: probability of each of two things that were not.
        marks: probability of each of three further markers, beside one that is always there.
        fills: probability of each of six fillers.
    """

    mentions: float = 0.6
    strays: float = 0.25
    marks: float = 0.5
    fills: float = 0.5

    def write(self, rng: np.random.Generator, prompt: Prompt, style: str | None = None) -> list[str]:
        """One response.

        Args:
            rng: where the randomness comes from.
            prompt: what is asked.
            style: of the response; None draws one, all as likely.
        """
        style = style or str(rng.choice(STYLES))
        words = [thing for thing in prompt.things if rng.random() < self.mentions]
        others = [thing for thing in THINGS if thing not in prompt.things]
        words += map(str, rng.choice(others, rng.binomial(2, self.strays), replace=False))
        words += map(str, rng.choice(MARKERS[style], 1 + rng.binomial(3, self.marks)))
        words += map(str, rng.choice(FILLERS, rng.binomial(6, self.fills)))
        rng.shuffle(words)
        return words

    def kinds(self) -> Iterator[tuple[float, Kind]]:
        """Every kind of response with its probability, whatever the prompt."""
        for asked, strays, marks, fills in product(range(ASKED + 1), range(3), range(4), range(7)):
            probability = (
                _binomial(ASKED, asked, self.mentions)
                * _binomial(2, strays, self.strays)
                * _binomial(3, marks, self.marks)
                * _binomial(6, fills, self.fills)
            )
            quality, length = max(0, asked - strays) / ASKED, asked + strays + 1 + marks + fills
            for style in STYLES:
                yield probability / 3, Kind(quality, style, length)


def _binomial(n: int, k: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


def win_rate(judge: Judge, one: Sequence[tuple[float, Kind]], other: Sequence[tuple[float, Kind]]) -> float:
    """P(y > y') with y and y' drawn independently from two distributions over kinds of response."""
    traits = [
        (
            np.array([weight for weight, _ in kinds]),
            np.array([judge.quality * kind.quality + judge.length * kind.length / 4 for _, kind in kinds]),
            np.array([-1 if kind.style is None else STYLES.index(kind.style) for _, kind in kinds]),
        )
        for kinds in (one, other)
    ]
    (weights, scores, styles), (other_weights, other_scores, other_styles) = traits
    names = (*STYLES, None)  # None is at -1 too
    circle = np.array([[beats(style, rival) for rival in names] for style in names])
    log_odds = scores[:, None] - other_scores + judge.cycle * circle[styles[:, None], other_styles]
    return float(weights @ (1 / (1 + np.exp(-log_odds))) @ other_weights)

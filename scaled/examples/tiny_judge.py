"""A judge by rule, to try rounds of training out: ``judge: scaled.examples.tiny_judge:prefers``.

Of two responses the one that repeats more of the request's different words is likely preferred, and the shorter one.
That says nothing of quality.
"""

from __future__ import annotations

import math
import re


def prefers(prompt: str, first: str, second: str) -> float:
    """P(the first is preferred): two nats of log-odds for a word more, one for 20 characters less.

    >>> prefers("Name three birds.", "Three birds!", "Birds: all three!"), prefers("Name one.", "The owl.", "The owl.")
    (0.5621765008857981, 0.5)
    """
    asked = _words(prompt)
    merits = [2 * len(asked & _words(response)) - len(response) / 20 for response in (first, second)]
    return 1 / (1 + math.exp(merits[1] - merits[0]))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))

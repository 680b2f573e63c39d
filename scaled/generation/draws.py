"""Which token comes next: random numbers that depend on nothing but a request's key and the token's place.

Tokens are drawn by inverting the cumulative distribution, in the order of their ids. For ``top_p`` a token
outside is drawn again, which samples what is inside in proportion, exactly; no sorting is needed. A draw is
uncertain where logits that differ by rounding would have drawn another token: the caller computes those anew.

Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from scaled.generation.interface import Request


def uniform(key: str, place: int, draw: int = 0) -> float:
    """A number in [0, 1), multiple of 2^-53, by a hash of its arguments.

    >>> uniform("0/question 81", 0) == uniform("0/question 81", 0) != uniform("0/question 81", 1)
    True
    """
    digest = hashlib.blake2b(f"{key}\0{place}\0{draw}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) * 2.0**-53


def choose(
    logits: Tensor, requests: Sequence[Request], places: Sequence[int], tolerance: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The next token of each row.

    Args:
        logits: (B, V), of any dtype.
        requests: of each row.
        places: of each row, how many tokens it has.
        tolerance: how far logits may be off by rounding, in nats.

    Returns:
        (B,) token ids, and (B,) bool: whether other logits within the tolerance could choose another token.
    """
    tokens = logits.argmax(-1)
    if tolerance:
        best = logits.topk(2, -1).values.double()
        uncertain = best[:, 0] - best[:, 1] <= 2 * tolerance
    else:
        uncertain = torch.zeros_like(tokens, dtype=torch.bool)
    if drawn := [row for row, request in enumerate(requests) if request.settings.temperature > 0]:
        rows = torch.tensor(drawn, device=logits.device)
        tokens[rows], uncertain[rows] = _draw(
            logits[rows], [requests[row] for row in drawn], [places[row] for row in drawn], tolerance
        )
    return tokens, uncertain


def _draw(
    logits: Tensor, requests: Sequence[Request], places: Sequence[int], tolerance: float
) -> tuple[Tensor, Tensor]:
    """The same where every temperature is positive."""

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=logits.device)[:, None]

    temperature, top_p = (column([getattr(r.settings, name) for r in requests]) for name in ("temperature", "top_p"))
    probabilities = torch.softmax(logits.double() / temperature, -1)
    cumulative = probabilities.cumsum(-1)
    error = tolerance / (2 * temperature)  # of a cumulative probability: sum of p (d - mean d) for any |d| <= tolerance
    tokens = torch.empty(len(requests), dtype=torch.long, device=logits.device)
    uncertain = torch.zeros(len(requests), dtype=torch.bool, device=logits.device)
    left, draw = list(range(len(requests))), 0
    while left:
        rows = torch.tensor(left, device=logits.device)
        p, c = (probabilities, cumulative) if len(left) == len(requests) else (probabilities[rows], cumulative[rows])
        u = column([uniform(requests[row].key, places[row], draw) for row in left]) * c[:, -1:]
        token = torch.searchsorted(c, u, right=True)
        high = c.gather(-1, token)
        mine = p.gather(-1, token)
        slack = torch.minimum(high - u, u - (high - mine))
        doubt = slack < error[rows]
        inside = torch.ones_like(doubt)
        if bool((limited := top_p[rows] < 1).any()):
            spread = 4 * error[rows]  # of the ratio of two probabilities
            likelier = torch.where(p > mine * (1 + spread), p, 0).sum(-1, keepdim=True)
            at_most = likelier
            if tolerance:
                at_most = torch.where(p >= mine * (1 - spread), p, 0).sum(-1, keepdim=True) - mine
            inside = (likelier < top_p[rows]) | ~limited
            near = (likelier - error[rows] < top_p[rows]) & (at_most + error[rows] >= top_p[rows])
            doubt |= near & limited
        tokens[rows] = token[:, 0]
        uncertain[rows] |= doubt[:, 0] & (tolerance > 0)
        settled = (inside[:, 0] | uncertain[rows]).tolist()
        left, draw = [row for row, done in zip(left, settled, strict=True) if not done], draw + 1
    return tokens, uncertain

"""One pair and one request -> the token sequence of Appendix C.2, within a maximum length.

A request log pi(y | x, y') is scored on the sequence prompt, context y', target y, with a
:class:`Separator` around the context. Only the target's tokens are ever scored.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import chain
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from inspo.conditioning import Conditioning, LogpRequest, Role
from inspo.pairs import PreferencePair, Span


@dataclass(frozen=True)
class Separator:
    """Tokens around a context response. They are read, never scored.

    An unconditioned request has no context and no separator: pi(y | x) is scored on x y, as it is
    deployed, whatever the separator.

    Attributes:
        before_context: tokens between the prompt and the context.
        before_target: tokens between the context and the target.
    """

    before_context: tuple[int, ...] = ()
    before_target: tuple[int, ...] = ()

    @classmethod
    def parse(
        cls,
        text: str,
        token_to_id: Callable[[str], int | None] | None = None,
        header_tokens: Sequence[int] | None = None,
    ) -> Separator:
        """Read a configuration's separator.

        Args:
            text: one of

                - ``none``: the target follows the context's own end-of-turn token directly;
                - ``turn``: the target is a new assistant turn, opened by `header_tokens`;
                - ``token:T``: one token before the context and before the target, Eq. (14)-(15) to
                  the letter; T is a token id or, where it is not a number, a token.
            token_to_id: vocabulary look-up for ``token:T``; None stands for an unknown token.
            header_tokens: what opens an assistant turn, for ``turn``.

        Raises:
            ValueError: another text, an unknown token, or what the text needs not given.

        >>> Separator.parse("turn", header_tokens=[7, 8])
        Separator(before_context=(), before_target=(7, 8))
        """
        kind, _, token = text.partition(":")
        if text == "none":
            return NO_SEPARATOR
        if text == "turn":
            if not header_tokens:
                raise ValueError('separator "turn" needs the tokens that open an assistant turn')
            return cls(before_target=tuple(header_tokens))
        if kind != "token" or not token:
            raise ValueError(f'separator "{text}" must be "none", "turn" or "token:" and a token or its id')
        token_id = int(token) if token.isdecimal() else token_to_id(token) if token_to_id else None
        if token_id is None:
            raise ValueError(f'separator "{text}": "{token}" is not a token of the vocabulary')
        return cls((token_id,), (token_id,))


NO_SEPARATOR = Separator()


def requests_of(requests: Conditioning | Iterable[LogpRequest]) -> tuple[LogpRequest, ...]:
    """The requests of a conditioning, or those given, each once."""
    return requests.requests() if isinstance(requests, Conditioning) else tuple(dict.fromkeys(requests))


def response(pair: Any, role: Role) -> Sequence[int]:
    """The response of a pair that plays a role, in token ids."""
    found: Sequence[int] = pair.chosen if role is Role.CHOSEN else pair.rejected
    return found


def scored_of(pair: PreferencePair, role: Role) -> npt.NDArray[np.bool_]:
    """(n,) which tokens of a pair's response are scored: all but the masked ones."""
    masked = pair.chosen_masked if role is Role.CHOSEN else pair.rejected_masked
    scored = np.ones(len(response(pair, role)), dtype=bool)
    for start, end in masked:
        scored[start:end] = False
    return scored


def scored_sequence(
    pair: PreferencePair,
    request: LogpRequest,
    *,
    separator: Separator = NO_SEPARATOR,
    draft_cap: int | None = None,
) -> tuple[int, ...]:
    """The sequence on whose last tokens, the target's, a request is scored, but for masked ones. Eq. (14)-(15).

    Args:
        pair: the pair.
        request: which response given which.
        separator: tokens around the context.
        draft_cap: longest context in tokens; a longer one is cut there and so loses its end-of-turn
            token. None leaves it whole. It never applies to the target.

    Returns:
        Token ids of prompt, context and target.

    >>> pair = PreferencePair([1, 2], [3, 9], [4, 5, 9])
    >>> symmetric = Conditioning.SYMMETRIC.requests()
    >>> [scored_sequence(pair, request, draft_cap=2) for request in symmetric]
    [(1, 2, 4, 5, 3, 9), (1, 2, 3, 9, 4, 5, 9)]
    """
    return tuple(chain.from_iterable(scored_parts(pair, request, separator=separator, draft_cap=draft_cap)))


def scored_parts(
    pair: Any,
    request: LogpRequest,
    *,
    separator: Separator = NO_SEPARATOR,
    draft_cap: int | None = None,
) -> tuple[Sequence[int], ...]:
    """What :func:`scored_sequence` puts one after another, of a pair or of whatever has its three parts, as arrays."""
    target = response(pair, request.target)
    if request.context is None:
        return pair.prompt, target
    context = response(pair, request.context)[:draft_cap]
    return pair.prompt, separator.before_context, context, separator.before_target, target


def sequence_length(
    sizes: Any,
    request: LogpRequest,
    *,
    separator: Separator = NO_SEPARATOR,
    draft_cap: int | None = None,
) -> Any:
    """Tokens of :func:`scored_sequence`.

    Args:
        sizes: tokens of prompt, chosen and rejected response: three numbers, or three arrays (n,) for n pairs.
        request: as for the sequence.
        separator: likewise.
        draft_cap: likewise.

    >>> sequence_length((2, 2, 3), LogpRequest(Role.CHOSEN, Role.REJECTED))
    7
    """
    prompt, chosen, rejected = sizes
    of = {Role.CHOSEN: chosen, Role.REJECTED: rejected}
    if request.context is None:
        return prompt + of[request.target]
    context = of[request.context] if draft_cap is None else np.minimum(of[request.context], draft_cap)
    return prompt + len(separator.before_context) + context + len(separator.before_target) + of[request.target]


LengthPolicy = Literal["cut_prompt", "cut_responses", "drop"]


@dataclass(frozen=True)
class Limits:
    """How long sequences may be, and what happens to pairs that are longer.

    Section 5.3 limits the whole tuple of prompt, context and target to MaxLen tokens and the context
    to alpha MaxLen; it does not say what happens to longer ones, hence the options.

    Attributes:
        max_length: maximum length in tokens of a pair's longest sequence, over the requests; None for no limit.
        over_length: what to do with a longer pair, tried in this order; where nothing makes the pair
            fit, that is an error.

            - ``cut_prompt``: cut the prompt where the pair allows it (:attr:`~inspo.pairs.PreferencePair.cuttable`),
              from the left;
            - ``cut_responses``: cut both responses to the greatest common length that fits (at least
              one token, and not to equal responses); they lose their end-of-turn token, and one that would end with
              masked tokens loses these too;
            - ``drop``: leave the pair out, counted.
        draft_cap: alpha in (0, 1]: a response has at most alpha max_length tokens as *context*; None
            for no cap. As target a response is never capped.
        over_cap: ``cut`` a longer context, so that it is a prefix of the response and has no
            end-of-turn token, or ``drop`` the pair, counted.

    Raises:
        ValueError: a value out of range, or a cap without max_length.
    """

    max_length: int | None = None
    over_length: tuple[LengthPolicy, ...] = ("cut_prompt",)
    draft_cap: float | None = None
    over_cap: Literal["cut", "drop"] = "cut"

    def __post_init__(self) -> None:
        if self.max_length is not None and self.max_length < 2:
            raise ValueError(f"max_length = {self.max_length} must leave room for a prompt and a response")
        if not set(self.over_length) <= set(get_args(LengthPolicy)):
            raise ValueError(f"over_length = {self.over_length} may hold {', '.join(get_args(LengthPolicy))}")
        if self.over_cap not in ("cut", "drop"):
            raise ValueError(f"over_cap = {self.over_cap!r} must be 'cut' or 'drop'")
        if self.draft_cap is not None:
            if self.max_length is None:
                raise ValueError("draft_cap is a share of max_length: give max_length too")
            if not (0 < self.draft_cap <= 1 and self.draft_tokens):
                raise ValueError(f"draft_cap = {self.draft_cap} must be in (0, 1] and leave at least one token")

    @cached_property
    def draft_tokens(self) -> int | None:
        """Maximum length of a context response in tokens, alpha max_length rounded down; None for no cap.

        >>> Limits(max_length=100, draft_cap=0.29).draft_tokens
        29
        """
        if self.draft_cap is None or self.max_length is None:
            return None
        return int(Fraction(str(self.draft_cap)) * self.max_length)  # exact: 0.29 * 100 is 28.999...


@dataclass(frozen=True)
class FittedPairs:
    """Pairs within their limits, and what was cut or left out.

    Attributes:
        pairs: those kept, in the given order.
        counts: what happened -> number of pairs: ``prompt_cut``, ``responses_cut``, ``draft_cut``
            (all three kept), ``dropped_over_length``, ``dropped_over_cap``. Every key is there.
        dropped: the records of the pairs left out.
    """

    pairs: tuple[PreferencePair, ...]
    counts: dict[str, int]
    dropped: tuple[int | str, ...]


def fit(
    pairs: Iterable[PreferencePair],
    requests: Conditioning | Iterable[LogpRequest],
    limits: Limits,
    *,
    separator: Separator = NO_SEPARATOR,
) -> FittedPairs:
    """Cut or leave out pairs that are longer than the limits, before any tree is built; everything is counted.

    Args:
        pairs: the data set.
        requests: whose sequences the limits hold for. To train several conditionings on the same
            data, fit once for all of their requests.
        limits: the limits; build trees with ``draft_cap=limits.draft_tokens``.
        separator: tokens around a context, which count.

    Raises:
        ValueError: a pair that no policy makes fit, naming its record.
    """
    wanted = requests_of(requests)
    counts = dict.fromkeys(("prompt_cut", "responses_cut", "draft_cut", "dropped_over_length", "dropped_over_cap"), 0)
    kept: list[PreferencePair] = []
    dropped: list[int | str] = []
    for pair in pairs:
        if limits.over_cap == "drop" and _drafts_exceed_cap(pair, wanted, limits):
            outcome: _Outcome = (None, "dropped_over_cap")
        else:
            outcome = _within_length(pair, wanted, limits, separator)
        fitted, event = outcome
        if event:
            counts[event] += 1
        if fitted is None:
            dropped.append(pair.record)
        else:
            kept.append(fitted)
            counts["draft_cut"] += _drafts_exceed_cap(fitted, wanted, limits)
    return FittedPairs(tuple(kept), counts, tuple(dropped))


# A pair, cut if need be, or None; and what was done to it, by its name in FittedPairs.counts.
_Outcome = tuple[PreferencePair | None, str | None]


def _drafts_exceed_cap(pair: PreferencePair, requests: Iterable[LogpRequest], limits: Limits) -> bool:
    cap = limits.draft_tokens
    return cap is not None and any(
        request.context is not None and len(response(pair, request.context)) > cap for request in requests
    )


def _within_length(
    pair: PreferencePair, requests: tuple[LogpRequest, ...], limits: Limits, separator: Separator
) -> _Outcome:
    limit, cap = limits.max_length, limits.draft_tokens

    def longest(response_limit: int | None = None) -> int:
        """Tokens of the longest sequence beside the prompt, with both responses cut to a limit."""
        sizes = 0, len(pair.chosen[:response_limit]), len(pair.rejected[:response_limit])
        return int(max(sequence_length(sizes, request, separator=separator, draft_cap=cap) for request in requests))

    if limit is None or len(pair.prompt) + longest() <= limit:
        return pair, None
    for policy in limits.over_length:
        if policy == "drop":
            return None, "dropped_over_length"
        if policy == "cut_prompt":
            surplus = len(pair.prompt) + longest() - limit
            start, end = pair.cuttable or (0, len(pair.prompt) - 1)
            if surplus <= end - start:
                prompt = (*pair.prompt[:start], *pair.prompt[start + surplus :])
                return replace(pair, prompt=prompt, cuttable=(start, end - surplus)), "prompt_cut"
        if policy == "cut_responses":
            room = limit - len(pair.prompt)
            response_limit = bisect_right(range(1, limit), room, key=longest)
            chosen, chosen_masked = _cut(pair.chosen, pair.chosen_masked, response_limit)
            rejected, rejected_masked = _cut(pair.rejected, pair.rejected_masked, response_limit)
            if chosen != rejected:  # with no room at all both are empty, hence equal
                cut = replace(
                    pair,
                    chosen=chosen,
                    rejected=rejected,
                    chosen_masked=chosen_masked,
                    rejected_masked=rejected_masked,
                )
                return cut, "responses_cut"
    raise ValueError(
        f"record {pair.record}: a prompt of {len(pair.prompt)} and responses of {len(pair.chosen)} and "
        f"{len(pair.rejected)} tokens need {len(pair.prompt) + longest()} tokens, more than max_length = {limit}, "
        f"and over_length = {limits.over_length} cannot make them fit"
    )


def _cut(tokens: Sequence[int], masked: tuple[Span, ...], limit: int) -> tuple[Sequence[int], tuple[Span, ...]]:
    """A response's first tokens, at most `limit`, up to the last that is scored; and its masked spans."""
    end = next((start for start, past in masked if start < limit <= past), limit)
    return tokens[:end], tuple(span for span in masked if span[1] < end)

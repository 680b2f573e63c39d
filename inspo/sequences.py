"""One pair and one request -> the token sequence of Appendix C.2, and how long it may be.

A request log pi(y | x, y') is scored on the sequence prompt, context y', target y, with a
:class:`Separator` around the context. Only the target's tokens are ever scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from inspo.conditioning import Conditioning, LogpRequest, Role
from inspo.pairs import PreferencePair


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
        identity = int(token) if token.isdecimal() else token_to_id(token) if token_to_id else None
        if identity is None:
            raise ValueError(f'separator "{text}": "{token}" is not a token of the vocabulary')
        return cls((identity,), (identity,))


NO_SEPARATOR = Separator()


def requests_of(requests: Conditioning | Iterable[LogpRequest]) -> tuple[LogpRequest, ...]:
    """The requests of a conditioning, or those given, each once."""
    return requests.requests() if isinstance(requests, Conditioning) else tuple(dict.fromkeys(requests))


def response(pair: PreferencePair, role: Role) -> Sequence[int]:
    """The response of a pair that plays a role, in token ids."""
    return pair.chosen if role is Role.CHOSEN else pair.rejected


def scored_sequence(
    pair: PreferencePair,
    request: LogpRequest,
    *,
    separator: Separator = NO_SEPARATOR,
    draft_cap: int | None = None,
) -> tuple[int, ...]:
    """The sequence on whose last tokens, the target's, a request is scored. Eq. (14)-(15).

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
    target = response(pair, request.target)
    if request.context is None:
        return (*pair.prompt, *target)
    context = response(pair, request.context)[:draft_cap]
    return (*pair.prompt, *separator.before_context, *context, *separator.before_target, *target)

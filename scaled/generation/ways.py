"""Three ways to answer: plain, a draft and its revision, and the best of several candidates.

A way is a generator: it yields requests, is sent their completions, and returns a turn. So one queue serves all
questions at once, whatever step each of them is at (:func:`drive`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from inspo.conditioning import LogpRequest, Role
from inspo.pairs import PreferencePair
from inspo.sequences import NO_SEPARATOR, Separator, scored_sequence
from scaled.data.messages import Message
from scaled.generation.interface import Backend, Completion, Request, Settings

Result = TypeVar("Result")
Steps = Generator[list[Request], list[Completion], Result]
"""Yields the requests of a step, is sent their completions."""


@dataclass(frozen=True)
class Asked:
    """One turn to answer.

    Attributes:
        key: seed, question and turn.
        messages: the conversation up to it.
        prompt: the same in tokens.
        settings: how to choose tokens.
    """

    key: str
    messages: tuple[Message, ...]
    prompt: tuple[int, ...]
    settings: Settings

    def request(self, step: str) -> Request:
        """The same prompt, with the random numbers of a step."""
        return Request(f"{self.key}/{step}", self.prompt, self.settings)


@dataclass(frozen=True)
class Answered:
    """An answer in tokens, and what it came from.

    Attributes:
        completion: the answer.
        draft: what it revises.
        candidates: what it was chosen from.
        scores: of each candidate, by which it was chosen.
        not_revised: whether the draft is the answer, because it left no room for a revision.
    """

    completion: Completion
    draft: Completion | None = None
    candidates: tuple[Completion, ...] = ()
    scores: tuple[float, ...] = ()
    not_revised: bool = False


Way = Callable[[Asked], Steps[Answered]]
Chooser = Callable[[Asked, Sequence[Completion]], Sequence[float]]
"""Scores of candidates, the higher the better: by margin, by a reward model, or by any judge."""


def plain(asked: Asked) -> Steps[Answered]:
    """pi(. | x)."""
    (completion,) = yield [asked.request("answer")]
    return Answered(completion)


@dataclass(frozen=True)
class Revise:
    """A draft from pi(. | x), then pi(. | x, draft), laid out as in training (Eq. 14-15).

    Attributes:
        end_of_turn: what ends a response in training, and so a draft that has ended.
        separator: tokens around the draft.
        draft_cap: tokens that are shown of it at most; None for all.
        context: tokens that the model has room for; None for no limit.
    """

    end_of_turn: int
    separator: Separator = NO_SEPARATOR
    draft_cap: int | None = None
    context: int | None = None

    def __call__(self, asked: Asked) -> Steps[Answered]:
        """Both steps."""
        (draft,) = yield [asked.request("draft")]
        prompt = revision_prompt(asked.prompt, as_response(draft, self.end_of_turn), self.separator, self.draft_cap)
        if self.context is not None and len(prompt) >= self.context:
            return Answered(draft, draft=draft, not_revised=True)
        (completion,) = yield [replace(asked, prompt=prompt).request("revision")]
        return Answered(completion, draft=draft)


@dataclass(frozen=True)
class BestOf:
    """The best of n candidates from pi(. | x); of equal scores the first.

    Attributes:
        candidates: n.
        chooser: gives each a score.
    """

    candidates: int
    chooser: Chooser

    def __call__(self, asked: Asked) -> Steps[Answered]:
        """All candidates at once, then the choice."""
        found = yield [asked.request(f"candidate {number}") for number in range(self.candidates)]
        scores = tuple(float(score) for score in self.chooser(asked, found))
        best = max(range(len(found)), key=lambda index: (scores[index], -index))
        return Answered(found[best], candidates=tuple(found), scores=scores)


def as_response(completion: Completion, end_of_turn: int) -> tuple[int, ...]:
    """A completion as training has responses: what has ended has the end of a turn, what was cut off has none."""
    return (*completion.text_tokens, end_of_turn) if completion.ended else completion.tokens


def revision_prompt(
    prompt: tuple[int, ...], draft: tuple[int, ...], separator: Separator, draft_cap: int | None
) -> tuple[int, ...]:
    """What pi(. | x, draft) is asked with: training's sequence up to its target.

    >>> revision_prompt((1, 2), (3, 4, 9), Separator(before_target=(7,)), draft_cap=2)
    (1, 2, 3, 4, 7)
    """
    target = (0,) if draft != (0,) else (1,)  # any other response: it is cut off again
    pair = PreferencePair(prompt, target, draft)
    request = LogpRequest(Role.CHOSEN, Role.REJECTED)
    return scored_sequence(pair, request, separator=separator, draft_cap=draft_cap)[:-1]


@dataclass
class _Open:
    """A conversation that waits for completions."""

    name: str
    steps: Steps[Any]
    requests: list[Request]
    missing: int
    found: dict[str, Completion] = field(default_factory=dict)


def drive(
    backend: Backend,
    conversations: Mapping[str, Steps[Result]],
    *,
    known: Callable[[Request], Completion | None] = lambda _: None,
    note: Callable[[Request, Completion], None] = lambda _request, _completion: None,
) -> Iterator[tuple[str, Result]]:
    """Carry on all conversations at once.

    Args:
        backend: completes.
        conversations: by name; their requests' keys differ.
        known: completions that are there already.
        note: told of each new one, before anything else is done with it.

    Returns:
        Each conversation's name and result, in the order in which they come to an end.
    """
    waiting: deque[Request] = deque()
    owners: dict[str, _Open] = {}

    def proceed(name: str, steps: Steps[Result], sent: list[Completion] | None) -> Iterator[tuple[str, Result]]:
        """Up to requests that have to be waited for, or to the end."""
        while True:
            try:
                requests = steps.send(sent)  # type: ignore[arg-type]  # None starts a generator
            except StopIteration as end:
                yield name, end.value
                return
            there = {request.key: found for request in requests if (found := known(request)) is not None}
            lacking = [request for request in requests if request.key not in there]
            if lacking:
                turn = _Open(name, steps, requests, len(lacking), there)
                owners.update(dict.fromkeys((request.key for request in lacking), turn))
                # What has begun goes on first.
                if sent is None:
                    waiting.extend(lacking)
                else:
                    waiting.extendleft(reversed(lacking))
                return
            sent = [there[request.key] for request in requests]

    for name, steps in conversations.items():
        yield from proceed(name, steps, None)
    waiting = deque(sorted(waiting, key=lambda request: -len(request.prompt)))  # alike lengths are read together
    for request, completion in backend.generate(waiting):
        note(request, completion)
        turn = owners.pop(request.key)
        turn.found[request.key] = completion
        turn.missing -= 1
        if not turn.missing:
            yield from proceed(turn.name, turn.steps, [turn.found[each.key] for each in turn.requests])

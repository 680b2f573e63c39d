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
Steps = Generator["list[Request] | Choice", Any, Result]
"""Yields the requests of a step and is sent their completions, or yields a choice and is sent its scores."""


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


@dataclass(frozen=True)
class Choice:
    """Candidates that wait for scores, with those of other questions."""

    asked: Asked
    found: tuple[Completion, ...]


Way = Callable[[Asked], Steps[Answered]]
Chooser = Callable[[Asked, Sequence[Completion]], Sequence[float]]
"""Scores of candidates, the higher the better, by margin or by a reward model."""
TogetherChooser = Callable[[Sequence[Choice]], Sequence[Sequence[float]]]
"""The same for many questions at once, by a judge that answers many requests at a time."""


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
        chooser: gives each a score; None where they are asked for together with those of other questions.
    """

    candidates: int
    chooser: Chooser | None

    def __call__(self, asked: Asked) -> Steps[Answered]:
        """All candidates at once, then the choice."""
        found = yield [asked.request(f"candidate {number}") for number in range(self.candidates)]
        given = (yield Choice(asked, tuple(found))) if self.chooser is None else self.chooser(asked, found)
        scores = tuple(float(score) for score in given)
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
    choose: TogetherChooser | None = None,
) -> Iterator[tuple[str, Result]]:
    """Carry on all conversations at once.

    Args:
        backend: completes.
        conversations: by name; their requests' keys differ.
        known: completions that are there already.
        note: told of each new one, before anything else is done with it.
        choose: scores choices, for ways that yield them: the first alone, so that a judge that cannot be asked ends it
            early, then all that are there whenever nothing is left to write.

    Returns:
        Each conversation's name and result, in the order in which they come to an end.
    """
    return _Driving(backend, known, note, choose).run(conversations)


class _Driving:
    """What is written, and who waits for it."""

    def __init__(
        self,
        backend: Backend,
        known: Callable[[Request], Completion | None],
        note: Callable[[Request, Completion], None],
        choose: TogetherChooser | None,
    ) -> None:
        self._backend, self._known, self._note, self._choose = backend, known, note, choose
        self._waiting: deque[Request] = deque()
        self._owners: dict[str, _Open] = {}
        self._choices: list[tuple[str, Steps[Any], Choice]] = []
        self._chosen = False

    def run(self, conversations: Mapping[str, Steps[Result]]) -> Iterator[tuple[str, Result]]:
        """All of them."""
        for name, steps in conversations.items():
            yield from self._proceed(name, steps, None)
        yield from self._settled()
        # Alike lengths are read together.
        self._waiting = deque(sorted(self._waiting, key=lambda request: -len(request.prompt)))
        while self._waiting:
            for request, completion in self._backend.generate(self._waiting):
                yield from self._completed(request, completion)
                if not self._chosen:
                    yield from self._settled()
            while self._choices and not self._waiting:
                yield from self._settled()

    def _completed(self, request: Request, completion: Completion) -> Iterator[tuple[str, Any]]:
        """Note a completion, and go on with a conversation that it was the last for."""
        self._note(request, completion)
        turn = self._owners.pop(request.key)
        turn.found[request.key] = completion
        turn.missing -= 1
        if not turn.missing:
            yield from self._proceed(turn.name, turn.steps, [turn.found[each.key] for each in turn.requests])

    def _settled(self) -> Iterator[tuple[str, Any]]:
        """Go on with all that wait for scores."""
        if not self._choices:
            return
        if self._choose is None:
            raise ValueError("a way leaves the choice to drive, which has nothing to choose by")
        self._chosen, made = True, self._choices
        self._choices = []
        for (name, steps, _), scores in zip(made, self._choose([choice for *_, choice in made]), strict=True):
            yield from self._proceed(name, steps, scores)

    def _proceed(self, name: str, steps: Steps[Any], sent: Sequence[Any] | None) -> Iterator[tuple[str, Any]]:
        """Up to what has to be waited for, or to the end."""
        while True:
            try:
                requests = steps.send(sent)
            except StopIteration as end:
                yield name, end.value
                return
            if isinstance(requests, Choice):
                self._choices.append((name, steps, requests))
                return
            there = {request.key: found for request in requests if (found := self._known(request)) is not None}
            lacking = [request for request in requests if request.key not in there]
            if lacking:
                turn = _Open(name, steps, requests, len(lacking), there)
                self._owners.update(dict.fromkeys((request.key for request in lacking), turn))
                # What has begun goes on first.
                if sent is None:
                    self._waiting.extend(lacking)
                else:
                    self._waiting.extendleft(reversed(lacking))
                return
            sent = [there[request.key] for request in requests]

"""Asks a judge behind any OpenAI-compatible endpoint: many requests at once, each until it is answered.

What passes (a busy or failing server, cut connections, unreadable or empty answers) is tried again with growing waits;
what does not (a wrong key, an unknown model, a budget that is spent) ends in one line. Every answer is in the store
before the next request is made, and what is in the store is not asked.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from inspo.command_line import UserError
from scaled.evaluation.benchmarks.base import JudgeRequest, Judgment
from scaled.evaluation.judging.budget import Budget, Pace, Tokens, most
from scaled.evaluation.judging.endpoint import Judge, PassingError, parsed, refusal
from scaled.evaluation.judging.store import FollowUp, Store
from scaled.progress import progress

EMPTY_ANSWERS = 3
"""To one request are taken as the answer."""
ATTEMPTS_AT_FIRST = 4
"""At an endpoint that cannot be reached, before anything was answered."""
LONGEST_BACKOFF = 60.0


@dataclass
class Outcome:
    """Of judging: how many answers there are, came from the store, were asked for, and are empty."""

    answered: int = 0
    stored: int = 0
    asked: int = 0
    empty: int = 0


def utc() -> str:
    """Now, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def ask(
    requests: Sequence[JudgeRequest],
    store: Store,
    judge: Judge,
    *,
    budget: Budget | None = None,
    follow_up: FollowUp | None = None,
    date: Callable[[], str] = utc,
) -> Outcome:
    """Have every request answered, and the store in order.

    Args:
        requests: no two alike.
        store: what is in it already is not asked again.
        judge: who is asked.
        budget: None for no limit.
        follow_up: what is asked after an answer.
        date: of an answer.

    Raises:
        ValueError: two requests are alike.
        UserError: the endpoint refuses or cannot be reached, the budget is spent, or the store cannot be written. What
            was answered until then is in the store.
    """
    if len({request.key(judge.name) for request in requests}) < len(requests):
        raise ValueError("two requests are alike")
    asking = _Asking(requests, store, judge, budget or Budget(), follow_up, date)
    asyncio.run(asking.run())
    store.settle()
    return asking.outcome


class _Asking:
    """One run over the requests."""

    def __init__(
        self,
        requests: Sequence[JudgeRequest],
        store: Store,
        judge: Judge,
        budget: Budget,
        follow_up: FollowUp | None,
        date: Callable[[], str],
    ) -> None:
        self._requests, self._store, self._judge, self._budget = requests, store, judge, budget
        self._follow_up, self._date = follow_up, date
        self._paces = Pace(judge.requests_per_minute), Pace(judge.tokens_per_minute)
        self._silent_until = 0.0
        self._error: UserError | None = None
        self.outcome = Outcome()

    async def run(self) -> None:
        """Ask all, until the end or the first error; what is in flight then is awaited, since it is paid for."""
        from openai import AsyncOpenAI

        self._stopped, self._freed = asyncio.Event(), asyncio.Condition()
        waiting = iter(self._requests)
        opened = AsyncOpenAI(base_url=self._judge.endpoint, api_key=self._judge.key, max_retries=0, timeout=None)
        with progress(len(self._requests), "judging", "request") as self._bar:
            async with opened as self._client, asyncio.TaskGroup() as group:
                for _ in range(min(self._judge.in_flight, len(self._requests))):
                    group.create_task(self._work(waiting))
        if self._error is not None:
            raise self._error

    async def _work(self, waiting: Iterator[JudgeRequest]) -> None:
        """Take one request after the other, each with what follows it."""
        for first in waiting:
            request: JudgeRequest | None = first
            while request is not None:
                if self._stopped.is_set():
                    return
                try:
                    answer = await self._answer(request)
                except UserError as error:
                    self._stop(error)
                    return
                request = self._follow_up(request, answer) if self._follow_up else None
                if request is not None:
                    self._bar.total += 1

    def _stop(self, error: UserError) -> None:
        self._error = self._error or error
        self._stopped.set()

    async def _answer(self, request: JudgeRequest) -> Judgment:
        """From the store, or by asking."""
        known = request.key(self._judge.name), self._judge.endpoint
        if known in self._store:
            answer = self._store.judgment(known)
            self.outcome.stored += 1
            self._bar.initial += 1  # the rate is of those that are asked
        else:
            answer = await self._ask(request)
            self._store.add(request, self._judge.name, answer)
            self.outcome.asked += 1
        self.outcome.answered += 1
        self.outcome.empty += not answer.text
        self._bar.set_postfix_str(f"spent {self._budget.shown()}", refresh=False)
        self._bar.update()
        return answer

    async def _ask(self, request: JudgeRequest) -> Judgment:
        """Try until there is an answer."""
        judge, empty, last = self._judge, 0, ""
        for attempt in range(judge.attempts):
            try:
                answer = await self._attempt(request)
            except PassingError as error:
                last = str(error)
                if error.early and not self.outcome.asked and attempt + 1 >= ATTEMPTS_AT_FIRST:
                    break
                if error.wait is not None:
                    self._silent_until = max(self._silent_until, time.monotonic() + error.wait)
            else:
                empty += not (answer.text or answer.logprobs)
                if answer.text or answer.logprobs or empty == EMPTY_ANSWERS:
                    return answer
                last = "empty answers"
            if attempt + 1 < judge.attempts:
                backoff = min(LONGEST_BACKOFF, judge.first_wait * 2**attempt)
                await self._sleep(backoff * random.uniform(0.5, 1))  # noqa: S311  # no secret: it spreads attempts
        raise UserError(
            f"{judge.endpoint}: {attempt + 1} attempts at question {request.question} failed, the last by {last}; "
            "run the same command again once it answers"
        )

    async def _attempt(self, request: JudgeRequest) -> Judgment:
        """Wait for room in the budget and for the rates, and ask once."""
        tokens = most(request)
        await self._afford(tokens)
        try:
            now = time.monotonic()
            waits = self._paces[0].wait(now), self._paces[1].wait(now, tokens.all), self._silent_until - now
            await self._sleep(max(waits))
            answer = await self._post(request)
            used = Tokens(answer.prompt_tokens, answer.completion_tokens)
            self._budget.charge(used)
            self._paces[1].give_back(tokens.all - used.all if used.all else 0)
            return answer
        finally:
            self._budget.release(tokens)
            async with self._freed:
                self._freed.notify_all()

    async def _afford(self, tokens: Tokens) -> None:
        """Set tokens aside; where they do not fit, wait for what is in flight, which may take less than was set."""
        async with self._freed:
            await self._freed.wait_for(lambda: self._budget.fits(tokens) or not self._budget.reserved.all)
            if not self._budget.fits(tokens):
                raise UserError(f"{self._budget.refusal(tokens)}: raise it, and run the same command again to go on")
            self._budget.reserve(tokens)

    async def _sleep(self, seconds: float) -> None:
        """Until then; where judging has ended, no longer."""
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), seconds)
        if self._error is not None:
            raise self._error

    async def _post(self, request: JudgeRequest) -> Judgment:
        """One request on the wire."""
        import httpx2
        from openai import APIConnectionError, APIStatusError

        judge = self._judge
        body = {"model": judge.name, "messages": [dict(each) for each in request.messages], **request.options}
        try:
            async with asyncio.timeout(judge.timeout):
                response = await self._client.post("/chat/completions", cast_to=httpx2.Response, body=body)
        except TimeoutError:
            raise PassingError(f"no answer within {judge.timeout:g} s") from None
        except APIConnectionError as error:
            unreachable = isinstance(error.__cause__, httpx2.ConnectError)
            cause = f"no connection ({error.__cause__})" if unreachable else "a cut connection"
            raise PassingError(cause, early=unreachable) from None
        except APIStatusError as error:
            raise refusal(judge, request, error.response) from None
        answer = parsed(judge, request, response.content)
        if self._budget.limited and not answer.prompt_tokens:
            raise UserError(f"{judge.endpoint} does not count tokens, which --max-dollars and --max-tokens need")
        return replace(answer, date=self._date(), endpoint=judge.endpoint)

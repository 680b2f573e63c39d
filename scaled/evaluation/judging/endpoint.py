"""A judge behind an endpoint, and what the endpoint's answers mean: a judgment, a passing failure, or the end."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from inspo.command_line import UserError
from scaled.evaluation.benchmarks.base import JudgeRequest, Judgment

if TYPE_CHECKING:
    from httpx2 import Response

LONGEST_WAIT = 600.0
"""Seconds that a server may ask to wait."""
SHORTEST_SECRET = 8
"""Characters of a key that is a secret; shorter ones are placeholders such as `none`."""
BUSY = (408, 409, 425, 429)


@dataclass(frozen=True)
class Judge:
    """Who is asked, and how.

    Attributes:
        name: of the model, as the endpoint knows it.
        endpoint: base URL, such as ``https://api.openai.com/v1``.
        key: that the endpoint asks for.
        in_flight: requests at once.
        timeout: seconds of one attempt.
        attempts: of one request, before judging ends.
        requests_per_minute: limit; None for none.
        tokens_per_minute: limit, of prompts and answers together; None for none.
        first_wait: seconds before the second attempt; doubled before each further one.
    """

    name: str
    endpoint: str
    key: str = field(repr=False)
    in_flight: int = 64
    timeout: float = 180.0
    attempts: int = 10
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    first_wait: float = 0.5


class PassingError(Exception):
    """What may be gone at the next attempt.

    Attributes:
        wait: seconds that the server asked for; None where it did not say.
        early: whether few attempts are enough before anything was answered.
    """

    def __init__(self, message: str, wait: float | None = None, *, early: bool = False) -> None:
        super().__init__(message)
        self.wait, self.early = wait, early


def refusal(judge: Judge, request: JudgeRequest, response: Response) -> PassingError | UserError:
    """What a status other than success means."""
    status, body = response.status_code, _text(judge, response.content)
    said, at = _shortened(_message(body)), judge.endpoint
    if status == 429 and "insufficient_quota" in body:
        return UserError(f"{at}: the account's quota is spent ({said}); add to it, and run again")
    if status in BUSY or status >= 500:
        wait = _seconds(response.headers)
        if wait is not None and wait > LONGEST_WAIT:
            return UserError(f"{at} asks to wait {wait:.0f} s; run the same command again then")
        return PassingError(f"status {status} ({said})", wait)
    if request.options.get("logprobs") and "logprobs" in body:
        return _no_logprobs(judge, said)
    known = {
        401: "refuses the key",
        403: "refuses the key",
        404: f"has no chat/completions, or no model {judge.name!r}",
    }
    what = known.get(status, f"refuses question {request.question}, {request.part}")
    return UserError(f"{at} {what} (status {status}: {said}); correct it, and run again: what was answered is kept")


def parsed(judge: Judge, request: JudgeRequest, content: bytes) -> Judgment:
    """An answer's body.

    Raises:
        PassingError: it is none.
        UserError: it lacks log-probs that were asked for.
    """
    text = _text(judge, content)
    try:
        body = json.loads(text)
        choice = body["choices"][0]
        said = choice["message"].get("content")
        usage = body.get("usage") or {}
        if not isinstance(said, (str, type(None))):
            raise TypeError(said)  # noqa: TRY301  # unreadable like the others
        answer = Judgment(
            text=said or "",
            logprobs=_first_token(choice.get("logprobs")),
            finish=str(choice["finish_reason"]) if choice.get("finish_reason") else None,
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise PassingError(f"an unreadable answer ({_shortened(_message(text)) or 'nothing'})") from None
    if request.options.get("logprobs") and answer.logprobs is None and answer.text:
        raise _no_logprobs(judge, "its answers lack them")
    return answer


def _no_logprobs(judge: Judge, said: str) -> UserError:
    return UserError(
        f"{judge.name} at {judge.endpoint} gives no log-probs ({said}), which this verdict needs: "
        "name another judge, or a verdict by text"
    )


def _text(judge: Judge, content: bytes) -> str:
    """Without the key, should a server send it back."""
    text = content.decode(errors="replace")
    return text.replace(judge.key, "[key]") if len(judge.key) >= SHORTEST_SECRET else text


def _first_token(logprobs: Any) -> dict[str, float] | None:
    """Text -> nats of the likeliest first tokens; those that are said to be impossible are left out."""
    if not logprobs or not logprobs.get("content"):
        return None
    found: dict[str, float] = {}
    for each in logprobs["content"][0]["top_logprobs"]:
        if math.isfinite(value := float(each["logprob"])):
            found.setdefault(str(each["token"]), value)
    return found


def _message(body: str) -> str:
    """What an error says, in the forms that servers use; else all of it."""
    try:
        found = json.loads(body)
        while isinstance(found, dict):
            found = next(found[name] for name in ("error", "message", "detail") if name in found)
        return str(found)
    except (ValueError, StopIteration, RecursionError):
        return body


def _shortened(text: str, longest: int = 200) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[:longest]} ..."


def _seconds(headers: Mapping[str, str]) -> float | None:
    """What `Retry-After` asks for: seconds, or a date."""
    said = headers.get("retry-after", "")
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None

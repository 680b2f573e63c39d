"""A record under a chat template -> its texts: the prompt, and the prompt with either response.

Nothing is lost on the way: every turn's text must stand in what the template writes. And nothing is
written into it: what somebody's text has of control tokens is marked as text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from transformers import PreTrainedTokenizerBase

from scaled.data.layouts import Record, UnusableRecordError, replies
from scaled.data.messages import Message
from scaled.data.templates import Template

_REASONING = ("reasoning_content", "reasoning", "thinking")
_ANOTHER = "name another template"
_ONCE_A_REPLY_FOLLOWS = "the prompt differently once a reply follows"


@dataclass(frozen=True)
class Rendered:
    """A record's texts; with marks around control tokens that are text where `marked`.

    Attributes:
        record: whose texts.
        prompt: what the deployed policy is given.
        chosen: the prompt with the chosen response, up to the end of its turn. Of a response of several replies, the
            prompt with the first one, what the policy is given for the second, that with the second, and so on: each
            begins with the one before it.
        rejected: the prompt with the rejected response, likewise.
        marked: whether there are marks.
    """

    record: Record
    prompt: str
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    marked: bool

    @property
    def texts(self) -> tuple[str, ...]:
        """All of them."""
        return self.prompt, *self.chosen, *self.rejected


def render(record: Record, tokenizer: PreTrainedTokenizerBase, template: Template, events: Counter[str]) -> Rendered:
    """The texts of a record.

    Args:
        record: a prompt and two responses.
        tokenizer: whose template it is.
        template: how conversations are written.
        events: counts ``control_tokens_in_text``, ``earlier_reasoning_left_out`` and ``several_replies``, of records.

    Raises:
        UnusableRecordError: the template refuses the record, or leaves out something of it.
    """
    said = [record["prompt"], record["chosen"], record["rejected"]]
    write = partial(_written, tokenizer, template, record.get("template_options"))
    plain = Rendered(record, *write(said, record.get("tools")), marked=False)
    _check_complete(plain, template, events)
    events["several_replies"] += len(plain.chosen) > 1 or len(plain.rejected) > 1
    marked, (_, tools) = [template.marked(turns)[0] for turns in said], template.marked([], record.get("tools"))
    if (marked, tools) == (said, record.get("tools")):
        return plain
    events["control_tokens_in_text"] += 1
    return Rendered(record, *write(marked, tools), marked=True)


def _written(
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
    options: Mapping[str, Any] | None,
    said: Sequence[list[Message]],
    tools: Any,
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The texts of a prompt and two responses."""
    write = partial(template.render, tokenizer, tools=tools, options=options)
    prompt, *responses = said
    try:
        asked = write(prompt)
        chosen, rejected = (
            [
                text
                for turns, reply in replies(prompt, response)
                for text in (write(turns), write(turns, reply).removesuffix(template.after_turns))
            ][1:]
            for response in responses
        )
    except ValueError as error:
        raise UnusableRecordError("refused_by_template", f"{error}: {_ANOTHER}") from error
    for texts in ([asked, *chosen], [asked, *rejected]):
        for number, (before, text) in enumerate(pairwise(texts)):
            if not text.startswith(before):
                what = "a reply differently once other turns follow" if number % 2 else _ONCE_A_REPLY_FOLLOWS
                raise UnusableRecordError("refused_by_template", f"the chat template writes {what}: {_ANOTHER}")
    return asked, tuple(chosen), tuple(rejected)


def _check_complete(rendered: Rendered, template: Template, events: Counter[str]) -> None:
    """Whether everything that the record says stands in its texts.

    Raises:
        UnusableRecordError: not everything, or the responses are equal there.
    """
    record, prompt, full = rendered.record, rendered.prompt, (rendered.chosen[-1], rendered.rejected[-1])
    earlier = False
    for number, turn in enumerate(record["prompt"], 1):
        *before, last = list(_pieces(turn, template)) or [""]
        lost = _lost([last] if turn["role"] == "assistant" else [*before, last], prompt)
        if lost:
            raise _left_out(lost, f'turn {number} of the prompt ("{turn["role"]}")')
        earlier |= turn["role"] == "assistant" and bool(_lost(before, prompt))
    for which, response, text in zip(("chosen", "rejected"), (record["chosen"], record["rejected"]), full, strict=True):
        if lost := sum(_lost(_pieces(turn, template), text[len(prompt) :]) for turn in response):
            raise _left_out(lost, f"the {which} response")
    if tools := record.get("tools"):
        names = [str(_function(tool).get("name", "")) for tool in tools]
        if not any(name and name in prompt for name in names):
            raise UnusableRecordError("left_out_by_template", f"the chat template has no place for tools: {_ANOTHER}")
    if full[0] == full[1]:
        raise UnusableRecordError(
            "equal", f"chosen and rejected are the same response as the chat template writes them: {_ANOTHER}"
        )
    events["earlier_reasoning_left_out"] += earlier


def _left_out(characters: int, whose: str) -> UnusableRecordError:
    return UnusableRecordError(
        "left_out_by_template", f"the chat template leaves out {characters} characters of {whose}: {_ANOTHER}"
    )


def _lost(pieces: Iterator[str] | list[str], text: str) -> int:
    """Characters of pieces that do not stand in a text, as they are or as JSON has them."""
    return sum(len(piece) for piece in pieces if not any(form in text for form in _forms(piece)))


def _forms(piece: str) -> Iterator[str]:
    yield piece
    for ascii_only in (False, True):
        yield json.dumps(piece, ensure_ascii=ascii_only)[1:-1]


def _pieces(turn: Message, template: Template) -> Iterator[str]:
    """What a turn says, apart from control tokens and from spaces around: reasoning, content, calls."""
    said = [str(turn[name]) for name in _REASONING if turn.get(name)][:1]  # type: ignore[literal-required]
    said += template.control_tokens.split(turn["content"])
    for call in turn.get("tool_calls", ()):
        function = _function(call)
        said += [str(function.get("name", "")), *_leaves(function.get("arguments"))]
    return (piece.strip() for piece in said if piece.strip())


def _function(tool: Any) -> Mapping[str, Any]:
    inner = tool.get("function", tool) if isinstance(tool, Mapping) else {}
    return inner if isinstance(inner, Mapping) else {}


def _leaves(arguments: Any) -> Iterator[str]:
    """The texts within a call's arguments, which may as a whole be JSON text."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            yield arguments
            return
    waiting = [arguments]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value

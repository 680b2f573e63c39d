"""A record under a chat template -> its three texts: the prompt, and the prompt with either reply.

Nothing is lost on the way: every turn's text must stand in what the template writes. And nothing is
written into it: what somebody's text has of control tokens is marked as text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from transformers import PreTrainedTokenizerBase

from scaled.data.layouts import Record, UnusableRecordError
from scaled.data.messages import Message
from scaled.data.templates import Template

_REASONING = ("reasoning_content", "reasoning", "thinking")
_ANOTHER = "name another template"


@dataclass(frozen=True)
class Rendered:
    """A record's texts; with marks around control tokens that are text where `marked`.

    Attributes:
        record: whose texts.
        prompt: what the deployed policy is given.
        chosen: the prompt with the chosen reply, up to the end of its turn.
        rejected: the prompt with the rejected reply.
        marked: whether there are marks.
    """

    record: Record
    prompt: str
    chosen: str
    rejected: str
    marked: bool

    @property
    def texts(self) -> tuple[str, str, str]:
        """All three."""
        return self.prompt, self.chosen, self.rejected


def render(record: Record, tokenizer: PreTrainedTokenizerBase, template: Template, events: Counter[str]) -> Rendered:
    """The texts of a record.

    Args:
        record: a prompt and two replies.
        tokenizer: whose template it is.
        template: how conversations are written.
        events: counts ``control_tokens_in_text`` and ``earlier_reasoning_left_out``, of records.

    Raises:
        UnusableRecordError: the template refuses the record, or leaves out something of it.
    """
    said = [*record["prompt"], record["chosen"], record["rejected"]], record.get("tools")
    write = partial(_texts, tokenizer, template, record.get("template_options"))
    plain = write(*said)
    _check_complete(record, plain, template, events)
    marked = template.marked(*said)
    if marked == said:
        return Rendered(record, *plain, marked=False)
    events["control_tokens_in_text"] += 1
    return Rendered(record, *write(*marked), marked=True)


def _texts(
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
    options: Mapping[str, Any] | None,
    turns: list[Message],
    tools: Any,
) -> tuple[str, str, str]:
    """The three texts of a prompt's turns with both replies behind them."""
    *prompt, chosen, rejected = turns
    try:
        asked, *full = (
            template.render(tokenizer, prompt, reply, tools=tools, options=options)
            for reply in (None, chosen, rejected)
        )
    except ValueError as error:
        raise UnusableRecordError("refused_by_template", f"{error}: {_ANOTHER}") from error
    if not all(text.startswith(asked) for text in full):
        raise UnusableRecordError(
            "refused_by_template", f"the chat template writes the prompt differently once a reply follows: {_ANOTHER}"
        )
    return asked, full[0], full[1]


def _check_complete(record: Record, texts: tuple[str, str, str], template: Template, events: Counter[str]) -> None:
    """Whether everything that the record says stands in its texts.

    Raises:
        UnusableRecordError: not everything, or the replies are equal there.
    """
    prompt, *full = texts
    earlier = False
    for number, turn in enumerate(record["prompt"], 1):
        *before, last = list(_pieces(turn, template)) or [""]
        lost = _lost([last] if turn["role"] == "assistant" else [*before, last], prompt)
        if lost:
            raise _left_out(lost, f'turn {number} of the prompt ("{turn["role"]}")')
        earlier |= turn["role"] == "assistant" and bool(_lost(before, prompt))
    for which, text in zip(("chosen", "rejected"), full, strict=True):
        if lost := _lost(_pieces(record[which], template), text[len(prompt) :]):  # type: ignore[literal-required]
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

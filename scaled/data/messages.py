"""Whatever a cell has of a conversation -> messages: lists of messages, ShareGPT's, JSON in a string, transcripts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from inspo.command_line import one_line


class Message(TypedDict):
    """One turn of a conversation, with every key that the data give it; the chat template decides what it reads.

    Attributes:
        role: ``system``, ``user``, ``assistant`` or ``tool``; what else there may be is up to the chat template.
        content: the turn's text.
        tool_calls: an assistant's calls, as OpenAI and transformers write them.
        tool_call_id: which call a tool's turn answers.
        name: whose turn it is, as of a tool.
        reasoning_content: what an assistant thinks before its content.
    """

    role: str
    content: str
    tool_calls: NotRequired[list[Any]]
    tool_call_id: NotRequired[str]
    name: NotRequired[str]
    reasoning_content: NotRequired[str]


ROLES = ("system", "developer", "user", "assistant", "tool")
"""What chat templates call who speaks."""

_SHAREGPT = {"human": "user", "gpt": "assistant", "function_call": "assistant", "observation": "tool"}
_SHAREGPT |= {role: role for role in ROLES}
_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):")


def as_messages(value: Any, column: str, speaker: str) -> list[Message]:
    r"""The messages of a cell.

    Args:
        value: text; a message or a list of them, of role and content or, as ShareGPT has them, of from and value; one
            of these as JSON text; a transcript, of turns that begin with two line breaks and ``Human:`` or
            ``Assistant:``.
        column: where it stands.
        speaker: the role of mere text.

    Raises:
        ValueError: it is none of these, in one line that names column and turn.

    >>> as_messages("\n\nHuman: Hi\n\nAssistant: Hello.", "chosen", "assistant")[1]
    {'role': 'assistant', 'content': 'Hello.'}
    """
    if isinstance(value, str):
        transcript = _transcript(value)
        value = parsed(value, _is_conversation) if transcript is None else transcript
        if isinstance(value, str):
            return [Message(role=speaker, content=value)]
    turns = [value] if isinstance(value, Mapping) else value
    if not isinstance(turns, Sequence) or not turns:
        raise ValueError(f'column "{column}" must be text or a list of messages, got {shown(value)}')
    return [_message(turn, f'column "{column}", turn {number}') for number, turn in enumerate(turns, 1)]


def parsed(value: Any, wanted: Any = None) -> Any:
    """What text says in JSON, where that is an object or a list, and wanted; else the value itself."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return value
        if wanted is None or wanted(found):
            return found
    return value


def _is_conversation(value: Any) -> bool:
    turns = value if isinstance(value, list) else [value]
    return bool(turns) and all(isinstance(turn, dict) and ({"role", "from"} & turn.keys()) for turn in turns)


def _transcript(text: str) -> list[Message] | None:
    """The turns of a transcript; a last turn without text, which only asks for a reply, is left out."""
    stripped = text.lstrip()
    if not stripped.startswith("Human:") or not (text.startswith("\n\nHuman:") or "\n\nAssistant:" in text):
        return None
    _, *parts = _SPEAKER.split(stripped)
    roles = ["user" if speaker == "Human" else "assistant" for speaker in parts[::2]]
    turns = [Message(role=role, content=said.strip()) for role, said in zip(roles, parts[1::2], strict=True)]
    return turns if turns[-1]["content"] or len(turns) == 1 else turns[:-1]


def _message(turn: Any, place: str) -> Message:
    if isinstance(turn, Mapping) and {"from", "value"} <= turn.keys():
        turn = _of_sharegpt(turn, place)
    if not isinstance(turn, Mapping) or "role" not in turn or not {"content", "tool_calls"} & turn.keys():
        raise ValueError(f'{place} must have "role" and "content", got {shown(turn)}')
    if not isinstance(turn["role"], str) or not turn["role"]:
        raise ValueError(f"{place}: role must be text, got {shown(turn['role'])}")
    if turn["role"] in _SHAREGPT.keys() - set(ROLES):
        raise ValueError(f'{place}: role "{turn["role"]}" must be one of {", ".join(ROLES)}')
    calls = turn.get("tool_calls")
    if calls is not None and not isinstance(calls, Sequence):
        raise ValueError(f"{place}: tool_calls must be a list, got {shown(calls)}")
    kept = {
        str(key): value for key, value in turn.items() if value is not None and not (key == "tool_calls" and not calls)
    }
    content = _content(turn.get("content"), place, may_lack=bool(calls))
    return {**kept, "role": turn["role"], "content": content}  # type: ignore[typeddict-item]  # keys as given


def _of_sharegpt(turn: Mapping[str, Any], place: str) -> dict[str, Any]:
    others = {key: value for key, value in turn.items() if key not in ("from", "value")}
    speaker, said = turn["from"], turn["value"]
    if speaker not in _SHAREGPT:
        raise ValueError(f'{place}: from "{speaker}" must be one of {", ".join(_SHAREGPT)}')
    if speaker != "function_call":
        return {"role": _SHAREGPT[speaker], "content": said, **others}
    calls = parsed(said)
    calls = calls if isinstance(calls, list) else [calls]
    if not all(isinstance(call, Mapping) and "name" in call for call in calls):
        raise ValueError(f"{place}: a function_call must be JSON of name and arguments, got {shown(said)}")
    wrapped = [{"type": "function", "function": call} for call in calls]
    return {"role": "assistant", "content": "", "tool_calls": wrapped, **others}


def _content(content: Any, place: str, *, may_lack: bool) -> str:
    """A turn's text. Parts of text are put together; other parts are refused by name."""
    if content is None and may_lack:
        return ""
    if isinstance(content, Sequence) and not isinstance(content, str):
        for part in content:
            kind = part.get("type") if isinstance(part, Mapping) else None
            if kind != "text" or not isinstance(part.get("text"), str):
                raise ValueError(f"{place}: its content has a part of type {kind}, and only text is trained on")
        return "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise ValueError(f"{place}: content must be text, got {shown(content)}")
    return content


def shown(value: Any) -> str:
    """A value in a message: short and on one line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits
        text = one_line(error)
    return f"{type(value).__name__} {text[:40]}{'...' if len(text) > 40 else ''}"

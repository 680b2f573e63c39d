"""Columns -> records: the layouts in which preference pairs are published, recognized by their columns.

==================  ================================================================================
of                  columns
==================  ================================================================================
both responses      ``chosen``, ``rejected``; ``output`` (a list of the two, Alpaca's); or judged,
                    ``response_a``, ``response_b`` and ``p_a_preferred``, the probability that a is better
the prompt          ``prompt``; ``messages``; ``conversations`` (ShareGPT's); ``instruction`` with ``input``
                    (Alpaca's); or none: the turns that `chosen` and `rejected` begin with alike
beside it           ``system``, ``history`` (pairs of user and assistant), ``tools``, ``chat_template_kwargs``
labels              ``preference`` (the probability that `chosen` is better), ``score_chosen``, ``score_rejected``
==================  ================================================================================

A cell is text, messages, JSON text of messages, or a transcript: see :mod:`scaled.data.messages`.

A response begins where the assistant first speaks otherwise, and has all that follows: the assistant's reply, or, where
there are more turns behind it, a conversation.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

from scaled.data.messages import ROLES, Message, as_messages, parsed, shown
from scaled.data.sources import Row
from scaled.data.text_files import Broken

Response = list[Message]
"""What follows a prompt: the assistant's reply; or several, with the turns between them."""


class Record(TypedDict):
    """One prompt and two responses to it, in text.

    Attributes:
        record: file and number, for messages.
        prompt: every turn before the responses.
        chosen: the preferred response.
        rejected: the dispreferred response.
        preference: probability in [0, 1] that `chosen` really is the better one; 1 for a hard label.
        score_chosen: a judge's score of `chosen`, where the data has one.
        score_rejected: likewise.
        tools: schemas of the tools that the assistant may call, for the chat template.
        template_options: what else the chat template is given.
    """

    record: str
    prompt: list[Message]
    chosen: Response
    rejected: Response
    preference: float
    score_chosen: NotRequired[float]
    score_rejected: NotRequired[float]
    tools: NotRequired[list[Any]]
    template_options: NotRequired[dict[str, Any]]


Why = Literal["empty", "equal", "not_text", "malformed"]
"""What is wrong with a record of its own: a response without text; two equal ones; half a character; anything else."""

UnderTemplate = Literal["refused_by_template", "left_out_by_template"]
"""What else is wrong with it under a chat template, which refuses it, or writes less of it than it says."""


class UnusableRecordError(ValueError):
    """A record that cannot be trained on by itself, while others of its source may be. The message is one line."""

    def __init__(self, why: Why | UnderTemplate, message: str) -> None:
        super().__init__(message)
        self.why = why


_MEDIA = ("image", "images", "video", "videos", "audio", "audios")
_KEYS = Message.__annotations__.keys()


class Layout:
    """Turns the rows of one source into records, and keeps account of what it does not read.

    Args:
        columns: what is read -> the name of the column that has it, where that is another one.
        soft_labels: keep probabilities as soft labels.
        known: columns that earlier rows of the source had, where this begins within it.

    Attributes:
        unread: columns with values that were not read -> rows.
        roles: roles that no chat template is known to have -> messages.
        keys: keys of messages that no chat template is known to read -> messages.
        repeats: records both of whose responses begin with the prompt.
    """

    def __init__(self, columns: Mapping[str, str], *, soft_labels: bool, known: Iterable[str] = ()) -> None:
        self._columns = columns
        self._soft_labels = soft_labels
        self._known: dict[str, None] = dict.fromkeys(known)
        self.unread: Counter[str] = Counter()
        self.roles: Counter[str] = Counter()
        self.keys: Counter[str] = Counter()
        self.repeats = 0

    def record(self, row: Row) -> tuple[Record, bool]:
        """The record that a row says, and whether it is a tie.

        Raises:
            UnusableRecordError: this row makes no record.
            ValueError: no row of such columns does.
        """
        if isinstance(row.values, Broken):
            raise UnusableRecordError("malformed", row.values)
        if not isinstance(row.values, Mapping):
            raise UnusableRecordError("malformed", f"must be an object with columns, got {shown(row.values)}")
        self._known |= dict.fromkeys(map(str, row.values))
        for column in self._columns.values():
            if column not in self._known:
                raise _LayoutError(f'columns: there is no column "{column}"; there are {", ".join(self._known)}')
        cells = _Cells(row.values, self._columns, list(self._known))
        try:
            record, tie = _record(cells, soft_labels=self._soft_labels)
            _check_usable(record)
        except (_LayoutError, UnusableRecordError):
            raise
        except ValueError as error:
            raise UnusableRecordError("malformed", str(error)) from error
        except RecursionError as error:
            raise UnusableRecordError("malformed", "its lists or objects are nested too deeply") from error
        record["record"] = f"{row.name}:{row.number}" if row.name else str(row.number)
        self.unread.update(cells.unread())
        for message in (*record["prompt"], *record["chosen"], *record["rejected"]):
            self.roles.update({message["role"]} - {*ROLES})
            self.keys.update(message.keys() - _KEYS)
        self.repeats += _repeats(record)
        return record, tie


class _LayoutError(ValueError):
    """No row of such columns makes a record."""


class _Cells:
    """A row's cells by what they are read as; remembers which were asked for."""

    def __init__(self, values: Mapping[str, Any], columns: Mapping[str, str], known: list[str]) -> None:
        self._values, self._columns, self._known = values, columns, known
        self._read: set[str] = set()

    def column(self, name: str) -> str:
        return self._columns.get(name, name)

    def __contains__(self, name: str) -> bool:
        return self.column(name) in self._known and not (name in self._columns.values() and name not in self._columns)

    def __getitem__(self, name: str) -> Any:
        """A cell; None where it has no value."""
        if name not in self:
            return None
        self._read.add(self.column(name))
        return self._values.get(self.column(name))

    def needed(self, name: str) -> Any:
        """A cell of a column that must be there."""
        if name not in self:
            asked = f"columns: {{{name}: COLUMN}} says which it is"
            raise _LayoutError(f'column "{self.column(name)}" is missing; there are {", ".join(self._known)}; {asked}')
        return self[name]

    def unread(self) -> Iterator[str]:
        return (str(name) for name, value in self._values.items() if value is not None and name not in self._read)

    def refuse(self) -> None:
        """Refuse what is known not to be read rightly."""
        for name in _MEDIA:
            if name in self._known and self._values.get(name):
                raise _LayoutError(f'column "{name}" has what is no text, and only text is trained on')
        if {"completion", "label"} <= {*self._known} and "chosen" not in self:
            raise _LayoutError("single responses with a label (prompt, completion, label) make no pairs")


def _record(cells: _Cells, *, soft_labels: bool) -> tuple[Record, bool]:
    cells.refuse()
    judged = "response_a" in cells or "p_a_preferred" in cells
    names, preference = _judged(cells) if judged else (("chosen", "rejected"), _preference(cells))
    tie = preference == 0.5
    if not soft_labels:
        if preference < 0.5:
            raise ValueError(
                f'column "preference" = {preference} says that the rejected response is the better one: '
                "set soft_labels, or swap the two"
            )
        preference = 1.0
    before, chosen, rejected = _parted(*_conversations(cells, names))
    record = Record(record="", prompt=_prompt(cells, before), chosen=chosen, rejected=rejected, preference=preference)
    for score in ("score_chosen", "score_rejected"):
        if cells[score] is not None:
            record[score] = _finite(cells, score)
    if tools := _json_cell(cells, "tools", list):
        record["tools"] = tools
    if options := _json_cell(cells, "chat_template_kwargs", dict):
        record["template_options"] = options
    return record, tie


# --- responses


def _judged(cells: _Cells) -> tuple[tuple[str, str], float]:
    cells.needed("p_a_preferred")
    probability = _probability(cells, "p_a_preferred")
    names = ("response_a", "response_b") if probability >= 0.5 else ("response_b", "response_a")
    return names, max(probability, 1 - probability)


def _preference(cells: _Cells) -> float:
    return 1.0 if cells["preference"] is None else _probability(cells, "preference")


def _conversations(cells: _Cells, names: tuple[str, str]) -> list[list[Message]]:
    """Of each response its cell's turns, which may be those before it, too."""
    values = [cells["output"]] if "chosen" not in cells and "output" in cells else []
    if values:  # Alpaca's
        values = parsed(values[0])
        if not isinstance(values, list) or len(values) != 2:
            raise ValueError(
                f'column "output" must be a list of the better and the worse response, got {shown(values)}'
            )
        return [_conversation(value, cells.column("output")) for value in values]
    return [_conversation(cells.needed(name), cells.column(name)) for name in names]


def _conversation(value: Any, column: str) -> list[Message]:
    if value is None:
        raise UnusableRecordError("empty", f'column "{column}": the response is empty (null)')
    turns = as_messages(value, column, "assistant")
    if turns[-1]["role"] != "assistant":
        raise ValueError(f'column "{column}" must end with the assistant\'s reply, not with role "{turns[-1]["role"]}"')
    return turns


def _parted(chosen: list[Message], rejected: list[Message]) -> tuple[list[Message], Response, Response]:
    """The turns that two conversations begin with alike, up to one of the assistant's in both, and what follows."""
    both = list(zip(chosen, rejected, strict=False))
    alike = next((index for index, (one, other) in enumerate(both) if one != other), len(both) - 1)
    while alike >= 0 and not all(turn["role"] == "assistant" for turn in both[alike]):
        alike -= 1
    if alike < 0:
        raise ValueError("chosen and rejected differ before the assistant has said anything: they answer two prompts")
    return chosen[:alike], chosen[alike:], rejected[alike:]


# --- prompt


def _prompt(cells: _Cells, before: list[Message]) -> list[Message]:
    """Every turn before the responses, out of the prompt's columns and the turns that both cells begin with."""
    name = next((name for name in ("prompt", "conversations", "instruction") if cells[name] not in (None, "")), None)
    if name is None and not before and cells["messages"] is not None:
        name = "messages"
    if name is None and not before:
        there = next((name for name in ("prompt", "conversations", "instruction", "messages") if name in cells), None)
        if there is None:
            cells.needed("prompt")
        raise ValueError(f'column "{cells.column(str(there))}" is empty, and there are no turns before the responses')
    given = [] if name is None else as_messages(_with_input(cells, name), cells.column(name), "user")
    goes_on = bool(before) and before[0]["role"] == "assistant"
    if before and given and not goes_on and not _same(given, before):
        raise ValueError(f'column "{cells.column(str(name))}" differs from the turns before the responses')
    turns = [*given, *before] if goes_on else before or given
    if history := _json_cell(cells, "history", list):
        turns = [*_history(history), *turns]
    system = cells["system"]
    if system is not None and not isinstance(system, str):
        raise ValueError(f'column "{cells.column("system")}" must be text, got {shown(system)}')
    if system and turns[0]["role"] != "system":
        turns = [Message(role="system", content=system), *turns]
    elif system and turns[0]["content"] != system:
        raise ValueError(f'column "{cells.column("system")}" differs from the system turn of the conversation')
    return turns


def _with_input(cells: _Cells, name: str) -> Any:
    """The prompt's cell; of Alpaca's, instruction and input in two paragraphs."""
    more = cells["input"] if name == "instruction" else None
    if more is not None and not isinstance(more, str):
        raise ValueError(f'column "{cells.column("input")}" must be text, got {shown(more)}')
    return f"{cells[name]}\n{more}" if more else cells[name]


def _same(given: list[Message], turns: list[Message]) -> bool:
    """Whether a prompt says what the turns say; a single one may be a user turn among them (UltraFeedback)."""
    said = [(turn["role"], turn["content"].strip()) for turn in turns]
    wanted = [(turn["role"], turn["content"].strip()) for turn in given]
    return said == wanted or (len(wanted) == 1 and wanted[0] in said)


def _history(history: list[Any]) -> Iterator[Message]:
    for number, turn in enumerate(history, 1):
        if not isinstance(turn, list) or len(turn) != 2 or not all(isinstance(said, str) for said in turn):
            raise ValueError(f'column "history", turn {number} must be [user, assistant], got {shown(turn)}')
        yield Message(role="user", content=turn[0])
        yield Message(role="assistant", content=turn[1])


# --- cells


def _json_cell(cells: _Cells, name: str, kind: type) -> Any:
    """A list or an object, also in JSON text; None where it is empty."""
    value = parsed(cells[name])
    if value is not None and value != "" and not isinstance(value, kind):
        wanted = "a list" if kind is list else "an object"
        raise ValueError(f'column "{cells.column(name)}" must be {wanted}, got {shown(value)}')
    return value or None


def _finite(cells: _Cells, name: str) -> float:
    """A number, also as text, as CSV has it."""
    value = cells[name]
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f'column "{cells.column(name)}" must be a number, got {shown(value)}')
    return number


def _probability(cells: _Cells, name: str) -> float:
    value = _finite(cells, name)
    if not 0 <= value <= 1:
        raise ValueError(f'column "{cells.column(name)}" must be a probability in [0, 1], got {value}')
    return value


# --- what is wrong with a record of its own


_PARTS = {"prompt": "prompt", "chosen": "chosen response", "rejected": "rejected response", "tools": "column tools"}
_HALF = re.compile("[\ud800-\udfff]")


def _check_usable(record: Record) -> None:
    for part, name in _PARTS.items():
        for text in _strings(record.get(part)):
            if not text.isascii() and (half := _HALF.search(text)):
                message = f"the {name} holds half a surrogate pair (U+{ord(half[0]):X}), which is no text"
                raise UnusableRecordError("not_text", message)
    for which, response in (("chosen", record["chosen"]), ("rejected", record["rejected"])):
        for number, turn in enumerate(response, 1):
            if turn["role"] == "assistant" and not turn["content"].strip() and not turn.get("tool_calls"):
                place = "" if len(response) == 1 else f" in its turn {number}"
                raise UnusableRecordError("empty", f"the {which} response is empty{place}")
    if list(map(_said, record["chosen"])) == list(map(_said, record["rejected"])):
        raise UnusableRecordError("equal", "chosen and rejected are the same response")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _said(turn: Message) -> dict[str, Any]:
    return {**turn, "content": turn["content"].strip()}


def _repeats(record: Record) -> bool:
    """Whether both responses begin with what was asked."""
    asked = record["prompt"][-1]["content"].strip()
    replies = (record["chosen"][0], record["rejected"][0])
    return bool(asked) and all(reply["content"].lstrip().startswith(asked) for reply in replies)


def replies(prompt: Sequence[Message], response: Response) -> Iterator[tuple[list[Message], Message]]:
    """Each reply of the assistant in a response, behind all turns before it."""
    for number, turn in enumerate(response):
        if turn["role"] == "assistant":
            yield [*prompt, *response[:number]], turn

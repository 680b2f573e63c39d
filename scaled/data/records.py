"""Files of preference data -> records: conversations in text, checked one by one.

Three layouts are read, recognized by their columns:

- ``prompt, chosen, rejected`` as strings;
- conversations, as TRL has them: `chosen` and `rejected` are lists of ``{"role", "content"}`` messages
  that end with the assistant's reply; the prompt is an own list, or the turns before the reply;
- judged pairs: ``prompt, response_a, response_b, p_a_preferred``, the probability that a is better.

Everything is checked here, before a token is made: a mistake is a ValueError of one line, such as
``data.jsonl: record 17: column "chosen" is missing``. Records count from 1; in JSONL they are lines.
"""

from __future__ import annotations

import csv
import gzip
import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

logger = logging.getLogger(__name__)


class Message(TypedDict):
    """One turn of a conversation.

    Attributes:
        role: ``system``, ``user`` or ``assistant``; what else there may be is up to the chat template.
        content: the turn's text.
    """

    role: str
    content: str


class Record(TypedDict):
    """One prompt and two replies to it, in text.

    Attributes:
        record: file and number, for messages.
        prompt: every turn before the reply.
        chosen: the preferred reply.
        rejected: the dispreferred reply.
        preference: probability in [0, 1] that `chosen` really is the better one; 1 for a hard label.
        score_chosen: a judge's score of `chosen`, where the data has one.
        score_rejected: likewise.
    """

    record: str
    prompt: list[Message]
    chosen: str
    rejected: str
    preference: float
    score_chosen: NotRequired[float]
    score_rejected: NotRequired[float]


def load_records(
    source: str | Path | Sequence[str | Path] | Iterable[Mapping[str, Any]],
    *,
    soft_labels: bool = False,
    ties: Literal["drop", "keep"] = "drop",
    counts: Counter[str] | None = None,
) -> list[Record]:
    """Read and check preference data.

    Args:
        source: a file (``.jsonl``, ``.json``, ``.csv``, each also ``.gz``; ``.parquet``, ``.arrow``), a folder
            that ``datasets`` saved, several of these, or rows in memory (a list, a ``datasets.Dataset``).
        soft_labels: keep a judged pair's probability, or what a column ``preference`` says of `chosen`, as
            the record's preference; else labels are hard.
        ties: what to do with pairs at probability 1/2: leave them out, counted and logged, or keep them
            (judged pairs with response a as the chosen one).
        counts: gets ``ties_left_out``, a number of records.

    Returns:
        The records, in order.

    Raises:
        ValueError: a file that is missing, unreadable or empty, or a malformed record, in one line.

    >>> rows = [{"prompt": "Hi", "response_a": "Yo", "response_b": "Hello!", "p_a_preferred": 0.25}]
    >>> load_records(rows, soft_labels=True)[0]["chosen"], load_records(rows, soft_labels=True)[0]["preference"]
    ('Hello!', 0.75)
    """
    if ties not in ("drop", "keep"):
        raise ValueError(f"ties = {ties!r} must be 'drop' or 'keep'")
    if isinstance(source, (str, Path)):
        source = [source]
    sources = list(source)
    files = [Path(item) for item in sources if isinstance(item, (str, Path))]
    if files and len(files) != len(sources):
        raise ValueError("data must be files or rows, not both")
    named = (
        [(f"{file.name}: record {number}", row) for file in files for number, row in _read(file)]
        if files
        else [(f"record {number}", row) for number, row in enumerate(sources, 1)]
    )
    if not named:
        raise ValueError("there are no records in the data")
    records = [_record(name, row, soft_labels=soft_labels) for name, row in named]
    if ties == "drop":
        kept = [record for record, (_, row) in zip(records, named, strict=True) if not _is_tie(row)]
        if len(kept) < len(records):
            logger.warning("%d judged pairs are ties and left out", len(records) - len(kept))
            if counts is not None:
                counts["ties_left_out"] += len(records) - len(kept)
        if not kept:
            raise ValueError("every judged pair of the data is a tie (probability 1/2): there is nothing to learn from")
        return kept
    return records


def texts(records: Iterable[Record]) -> Iterator[str]:
    """Every text of the records: each turn of the prompt, the chosen and the rejected response."""
    for record in records:
        yield from (turn["content"] for turn in record["prompt"])
        yield record["chosen"]
        yield record["rejected"]


# --- files -> (number, row)


def _read(path: Path) -> Iterator[tuple[int, Any]]:
    """Rows of one file or folder with their numbers. Raises where there are none."""
    if not path.exists():
        raise ValueError(f"{path}: there is no such file")
    kind = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    reader = _READERS.get(kind.removesuffix(".gz")) if path.is_file() else _read_saved
    if reader is None:
        raise ValueError(f"{path.name}: unknown kind of file; give {', '.join(_READERS)} or a saved dataset's folder")
    empty = True
    try:
        for numbered in reader(path):
            empty = False
            yield numbered
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path.name}: cannot be read: {_one_line(error)}") from error
    if empty:
        raise ValueError(f"{path.name}: the file has no records")


def _open(path: Path) -> Any:
    opener = gzip.open if path.suffix == ".gz" else open
    return opener(path, "rt", encoding="utf-8", newline="")


def _read_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    with _open(path) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except json.JSONDecodeError as error:
                    raise ValueError(f"{path.name}: record {number}: not JSON: {error.msg}") from error


def _read_json(path: Path) -> Iterator[tuple[int, Any]]:
    with _open(path) as file:
        try:
            rows = json.load(file)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path.name}: not JSON: {error}; with one record a line, name it .jsonl") from error
    if not isinstance(rows, list):
        raise ValueError(f"{path.name}: must be a list of records, got {type(rows).__name__}")
    yield from enumerate(rows, 1)


def _read_csv(path: Path) -> Iterator[tuple[int, Any]]:
    with _open(path) as lines:
        for number, row in enumerate(csv.DictReader(lines, strict=True), 1):
            yield number, {name: _number(name, value) for name, value in row.items() if value is not None}


def _read_parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        yield from enumerate(parquet.read_table(path).to_pylist(), 1)
    except pa.ArrowException as error:
        raise ValueError(f"{path.name}: not a parquet file: {_one_line(error)}") from error


def _read_arrow(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    from datasets import Dataset

    try:
        yield from enumerate(Dataset.from_file(str(path)), 1)
    except pa.ArrowException as error:
        raise ValueError(f"{path.name}: not an arrow file: {_one_line(error)}") from error


def _read_saved(path: Path) -> Iterator[tuple[int, Any]]:
    from datasets import Dataset, load_from_disk

    try:
        saved = load_from_disk(str(path))
    except FileNotFoundError as error:
        raise ValueError(f"{path.name}: is a folder, but not one that datasets saved") from error
    if not isinstance(saved, Dataset):
        raise ValueError(f"{path.name}: has several splits: give one of {', '.join(f'{path.name}/{s}' for s in saved)}")
    yield from enumerate(saved, 1)


_READERS = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".arrow": _read_arrow,
}
_NUMBERS = ("p_a_preferred", "preference", "score_chosen", "score_rejected")


def _number(name: str, value: str) -> str | float:
    """A CSV cell: a number in the columns of numbers, where it is one."""
    if name not in _NUMBERS:
        return value
    try:
        return float(value)
    except ValueError:
        return value


# --- row -> record


def _record(name: str, row: Any, *, soft_labels: bool) -> Record:
    """Check one row. Raises a ValueError that starts with its name."""
    if not isinstance(row, Mapping):
        raise ValueError(f"{name}: must be an object with columns, got {_shown(row)}")
    try:
        row = {column: value for column, value in row.items() if value is not None}
        if "response_a" in row or "p_a_preferred" in row:
            record = _judged(row, soft_labels=soft_labels)
        else:
            record = _labeled(row, soft_labels=soft_labels)
        for reply in ("chosen", "rejected"):
            score = f"score_{reply}"
            if score in row:
                record[score] = _finite(row, score)  # type: ignore[literal-required]  # one of the two
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    record["record"] = name.replace(": record ", ":").removeprefix("record ")
    return record


def _judged(row: Mapping[str, Any], *, soft_labels: bool) -> Record:
    probability = _probability(row, "p_a_preferred")
    chosen, rejected = ("response_a", "response_b") if probability >= 0.5 else ("response_b", "response_a")
    return {
        "record": "",
        "prompt": _prompt(row),
        "chosen": _text(row, chosen),
        "rejected": _text(row, rejected),
        "preference": max(probability, 1 - probability) if soft_labels else 1.0,
    }


def _is_tie(row: Mapping[str, Any]) -> bool:
    return 0.5 in (row.get("p_a_preferred"), row.get("preference"))


def _labeled(row: Mapping[str, Any], *, soft_labels: bool) -> Record:
    preference = _probability(row, "preference") if row.get("preference") is not None else 1.0
    if not soft_labels:
        if preference < 0.5:
            raise ValueError(
                f'column "preference" = {preference} says that the rejected response is the better one: '
                "set soft_labels, or swap the two"
            )
        preference = 1.0
    if isinstance(_column(row, "chosen"), str):
        chosen, rejected = _text(row, "chosen"), _text(row, "rejected")
        return {"record": "", "prompt": _prompt(row), "chosen": chosen, "rejected": rejected, "preference": preference}
    *before_chosen, chosen_reply = _conversation(row, "chosen")
    *before_rejected, rejected_reply = _conversation(row, "rejected")
    for column, reply in (("chosen", chosen_reply), ("rejected", rejected_reply)):
        if reply["role"] != "assistant":
            raise ValueError(f'column "{column}" must end with the assistant\'s reply, not with role "{reply["role"]}"')
    if before_chosen != before_rejected:
        raise ValueError("chosen and rejected must share every turn before the last one")
    prompt = _prompt(row) if "prompt" in row else []
    if before_chosen and prompt and not _same_prompt(row["prompt"], prompt, before_chosen):
        raise ValueError('column "prompt" differs from the turns before the replies')
    prompt = before_chosen or prompt
    if not prompt:
        raise ValueError("there is no prompt: neither a column of that name nor turns before the replies")
    return {
        "record": "",
        "prompt": prompt,
        "chosen": chosen_reply["content"],
        "rejected": rejected_reply["content"],
        "preference": preference,
    }


def _same_prompt(given: Any, prompt: list[Message], turns: list[Message]) -> bool:
    """Whether a prompt column says what the turns say; a string is a user turn of theirs (UltraFeedback)."""
    if isinstance(given, str):
        return any(turn["role"] == "user" and turn["content"].strip() == given.strip() for turn in turns)
    return prompt == turns


def _prompt(row: Mapping[str, Any]) -> list[Message]:
    if isinstance(_column(row, "prompt"), str):
        return [{"role": "user", "content": _text(row, "prompt")}]
    return _conversation(row, "prompt")


def _conversation(row: Mapping[str, Any], column: str) -> list[Message]:
    turns = _column(row, column)
    if not isinstance(turns, Sequence) or isinstance(turns, (str, bytes)) or not turns:
        raise ValueError(f'column "{column}" must be a string or a list of messages, got {_shown(turns)}')
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, Mapping) or not {"role", "content"} <= turn.keys():
            raise ValueError(f'column "{column}", turn {number} must have "role" and "content", got {_shown(turn)}')
        for key in ("role", "content"):
            if not isinstance(turn[key], str):
                raise ValueError(f'column "{column}", turn {number}: {key} must be text, got {_shown(turn[key])}')
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]


def _column(row: Mapping[str, Any], column: str) -> Any:
    if column not in row:
        raise ValueError(f'column "{column}" is missing; there are {", ".join(sorted(map(str, row))) or "none"}')
    return row[column]


def _text(row: Mapping[str, Any], column: str) -> str:
    value = _column(row, column)
    if not isinstance(value, str):
        raise ValueError(f'column "{column}" must be text, got {_shown(value)}')
    return value


def _finite(row: Mapping[str, Any], column: str) -> float:
    value = _column(row, column)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f'column "{column}" must be a number, got {_shown(value)}')
    return float(value)


def _probability(row: Mapping[str, Any], column: str) -> float:
    value = _finite(row, column)
    if not 0 <= value <= 1:
        raise ValueError(f'column "{column}" must be a probability in [0, 1], got {value}')
    return value


def _shown(value: Any) -> str:
    """A value in a message: short and on one line."""
    text = repr(value)
    return f"{type(value).__name__} {text[:40]}{'...' if len(text) > 40 else ''}"


def _one_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]

"""JSON and CSV files -> numbered rows, strictly.

They are not read by `datasets`, because it lets pass in silence what a preference pair must not lose: of two keys or
columns of one name it keeps one, it fills in keys that one message has and another has not, it takes replies such as
"NA" or "None" for no value and "42" for a number, it shifts the cells of a row that has a comma too many, and it cannot
say which record is wrong.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO, Any, cast

from inspo.command_line import one_line

LONGEST_LINE = 32 * 2**20
"""Bytes of the longest line that is read; what is longer is no preference pair."""

LARGEST_LIST = 2**30
"""Bytes of the largest JSON list, which is read whole."""


class Broken(str):
    """Stands in the place of a row that cannot be read, while those after it can: what is wrong with it."""

    __slots__ = ()


def kind_of(path: Path) -> str:
    """A file's suffix; of a compressed text file, the one before ``.gz``."""
    packed = path.suffix.lower() == ".gz"
    kind = path.with_suffix("").suffix.lower() if packed else path.suffix.lower()
    return kind if kind in READERS or not packed else ".gz"


@contextmanager
def readable(place: str) -> Iterator[None]:
    """Turn whatever a damaged file makes a library raise into one line."""
    try:
        yield
    except Exception as error:
        cause = error.__cause__ if type(error).__name__.startswith("DatasetGeneration") and error.__cause__ else error
        said = getattr(cause, "strerror", None) or one_line(cause)
        raise ValueError(f"{place}: cannot be read: {said}") from error


def _of_lines(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in _lines(path):
        if line.strip():
            try:
                values = json.loads(line, object_pairs_hook=_object)
            except (ValueError, RecursionError) as error:
                values = Broken(_said(error))
            yield number, values


def _of_json(path: Path) -> Iterator[tuple[int, Any]]:
    """A list of records; or, as data sets often have it under this name, one record a line."""
    with _open(path) as file, readable(path.name):
        data = file.read(2**16)
        is_list = data.removeprefix(BOM_UTF8).lstrip().startswith(b"[")
        if is_list:
            data += file.read(LARGEST_LIST)
    if not is_list:
        yield from _of_lines(path)
        return
    if len(data) > LARGEST_LIST:
        raise ValueError(
            f"{path.name}: is a list of more than {LARGEST_LIST // 2**20} MiB: write one record a line, as .jsonl"
        )
    yield from _of_list(path.name, _decoded(path.name, data).lstrip())


_AFTER_OPENING, _AFTER_ELEMENT = re.compile(r"\[\s*(\]?)\s*"), re.compile(r"\s*([,\]])\s*")


def _of_list(name: str, text: str) -> Iterator[tuple[int, Any]]:
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    after = _AFTER_OPENING.match(text)
    for number in count(1):
        if after is None:
            raise ValueError(f"{name}: the list of records breaks off after record {number - 1}")
        if after[1] == "]":
            break
        with _json_of(f"{name}: record {number}"):
            values, position = decoder.raw_decode(text, after.end())
        yield number, values
        after = _AFTER_ELEMENT.match(text, position)
    if after is not None and after.end() < len(text):
        raise ValueError(f"{name}: something follows the list of records")


@contextmanager
def _json_of(place: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place}: {_said(error)}") from error


def _said(error: ValueError | RecursionError) -> str:
    """What is wrong with a text in JSON."""
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg}"
    if isinstance(error, RecursionError):
        return "not read: its lists or objects are nested too deeply"
    return one_line(error)  # a key that is there twice; an integer of thousands of digits


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f'"{next(name for name in names if names.count(name) > 1)}" is there twice in one object')
    return values


def _of_cells(path: Path, delimiter: str = ",") -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(LONGEST_LINE)
    table = csv.reader((line for _, line in _lines(path, "line")), delimiter=delimiter, strict=True)
    header: list[str] = []
    for number in count():
        try:
            cells = next(table, None)
        except csv.Error as error:
            raise ValueError(f"{path.name}: record {number}: cannot be read: {one_line(error)}") from error
        if cells is None:
            return
        if not header:
            header = cells
            _check_header(path.name, header, delimiter)
        elif cells and len(cells) != len(header):
            wrong = f"has {len(cells)} cells, the header has {len(header)}: put a text with commas in quotes"
            yield number, Broken(wrong)
        elif cells:
            yield number, {column: cell or None for column, cell in zip(header, cells, strict=True)}


def _check_header(name: str, header: list[str], delimiter: str) -> None:
    for column in header:
        if header.count(column) > 1:
            raise ValueError(f'{name}: the header has the column "{column}" twice: rename one')
    if len(header) == 1 and (other := next((mark for mark in ";\t|," if mark in header[0]), None)):
        raise ValueError(f"{name}: cells are separated by {other!r}: separate them by {delimiter!r}")


def _open(path: Path) -> IO[bytes]:
    with readable(path.name):
        opener: Callable[..., Any] = gzip.open if path.suffix.lower() == ".gz" else open
        return cast("IO[bytes]", opener(path, "rb"))


def _lines(path: Path, what: str = "record") -> Iterator[tuple[int, str]]:
    """Numbered lines with their ends; messages say what a line is."""
    with _open(path) as file:
        for number in count(1):
            place = f"{path.name}: {what} {number}"
            with readable(place):
                line = file.readline(LONGEST_LINE + 1)
            if not line:
                return
            if len(line) > LONGEST_LINE:
                raise ValueError(f"{place}: its line is longer than {LONGEST_LINE // 2**20} MiB, too long for a pair")
            yield number, _decoded(place, line)


def _decoded(place: str, data: bytes) -> str:
    if b"\0" in data:
        raise ValueError(f"{place}: is no text in UTF-8 (perhaps UTF-16, or no text at all): save it as UTF-8")
    try:
        return data.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        byte = data[error.start]
        raise ValueError(f"{place}: is no text in UTF-8 (byte 0x{byte:02x}): save it as UTF-8") from error


READERS: dict[str, Callable[[Path], Iterator[tuple[int, Any]]]] = {
    ".jsonl": _of_lines,
    ".json": _of_json,
    ".csv": _of_cells,
    ".tsv": partial(_of_cells, delimiter="\t"),
}
"""By suffix, what reads a file; each gives a row's number, from 1, and its values, which may be :class:`Broken`.

In JSON lines the number is the line's.
"""

"""Preference tables from files: JSON or CSV, counts or probabilities, with or without labels."""

from __future__ import annotations

import csv
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inspo.command_line import UserError, unknown_name
from inspo.matrices import Array, entry_name, frequencies, validate, validate_counts

# More than a table of a few thousand responses; a file beyond is something else.
LARGEST_FILE = 2**26
KEYS = ("counts", "preferences", "labels", "name", "source", "note")
# What stands for "nothing" in a cell, in lower case.
BLANK = {"", "nan", "na", "n/a", "null", "none", "-"}
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_COMMA = re.compile(r"[0-9]*,[0-9]+%?")
_ENTRY = re.compile(r"\[([0-9]+), ([0-9]+)\]")


@dataclass(frozen=True)
class PreferenceTable:
    """A preference matrix with what is known of its origin.

    Attributes:
        P: (K, K) preference matrix.
        labels: K names of the responses, all different.
        name: short name of the table.
        source: citation, or where it came from.
        counts: (K, K) int64 comparison counts, or None where only probabilities are known.
        smoothing: how many wins were added to both sides of every pair of `counts` to make P.
    """

    P: Array
    labels: tuple[str, ...]
    name: str
    source: str
    counts: npt.NDArray[np.int64] | None = None
    smoothing: float = 0.0


def load_preferences(path: str | Path) -> Array:
    """Load the preference matrix of a JSON or CSV file; :func:`load_table` says which formats.

    Returns:
        (K, K) float64 preference matrix.

    Raises:
        UserError: a file that cannot be read or does not hold a valid table; one line that names
            the file and the offending entry. It is a ValueError.
    """
    return load_table(path).P


def load_table(path: str | Path, *, smoothing: float = 0.0) -> PreferenceTable:
    """Load a preference table with its labels and citation.

    JSON is an object with either ``counts`` or ``preferences`` (a K x K list of rows), and
    optionally ``labels``, ``name``, ``source`` and ``note``. CSV is a K x K matrix, with or without a
    header row and a first column of labels, which name the same responses in the same order.

    A CSV whose diagonal is 0 holds counts; 0.5, probabilities; 50, or cells with a percent sign,
    percentages. A blank diagonal (also nan) is of either. Of a pair of probabilities one may be blank, and is
    then 1 minus the other. Probabilities that add up to 1 but for the rounding of float32 are made to.

    Args:
        path: of the file, ending in .json or .csv.
        smoothing: wins added to both sides of every pair of counts; 1/2 is Jeffreys' prior.

    Raises:
        UserError: as :func:`load_preferences`; also smoothing of a table that holds no counts.
    """
    file = Path(path)
    try:
        text = _read(file)
        parse = {".json": _parse_json, ".csv": _parse_csv}.get(file.suffix.lower(), _parse_neither)
        return parse(text, file.stem, smoothing)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


def _read(file: Path) -> str:
    if "\0" in str(file):
        raise UserError("no such file")
    try:
        if file.exists() and not file.is_file():
            raise UserError("cannot be read: it is no file")
        if file.stat().st_size > LARGEST_FILE:
            raise UserError(f"larger than {LARGEST_FILE // 2**20} MiB: too large for a preference table")
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError("no such file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"not a text file in UTF-8 (byte {error.start}); save it as JSON or CSV in UTF-8") from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}") from None
    if "\0" in text:
        raise UserError("not a text file; expected JSON or CSV in UTF-8")
    if not text.strip():
        raise UserError("the file is empty; expected a preference table in JSON or CSV")
    return text


def _parse_neither(_text: str, _stem: str, _smoothing: float) -> PreferenceTable:
    raise UserError("the name must end in .json or .csv, so that the format is known")


# ---------------------------------------------------------------- JSON


def _parse_json(text: str, stem: str, smoothing: float) -> PreferenceTable:
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        raise UserError(f"not valid JSON (cut off?): {error}") from None
    if not isinstance(content, dict) or ("counts" in content) == ("preferences" in content):
        raise UserError('expected a JSON object with one of the keys "counts" and "preferences"')
    for key in content:
        if key not in KEYS:
            raise UserError(f"{unknown_name(key, KEYS).partition(' (')[0]}; known: {', '.join(KEYS)}")
    key = "counts" if "counts" in content else "preferences"
    rows = content[key]
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise UserError(f'"{key}" must be a list of rows')
    labels = content.get("labels")
    if labels is not None and not isinstance(labels, list):
        raise UserError('"labels" must be a list of names')
    for name in ("name", "source", "note"):
        if name in content and not (isinstance(content[name], str) and _printable(content[name])):
            raise UserError(f'"{name}" must be a text')
    _require_square(rows)
    grid = [[math.nan if entry is None else entry for entry in row] for row in rows]
    words = {name: content.get(name, stem) for name in ("name", "source")}
    return _table(grid, labels, rows, is_counts=key == "counts", smoothing=smoothing, **words)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, without a key that is there twice."""
    found: dict[str, Any] = {}
    for key, entry in pairs:
        if key in found:
            raise UserError(f"the key {key!r} is there twice")
        found[key] = entry
    return found


# ---------------------------------------------------------------- CSV


def _parse_csv(text: str, stem: str, smoothing: float) -> PreferenceTable:
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), strict=True)]
    except csv.Error as error:
        raise UserError(f"not valid CSV: {error}") from None
    rows = [row for row in rows if any(row)]
    if len(rows) < 2:
        raise UserError("the file holds no table of at least two responses")
    for separator, name in SEPARATORS.items():
        if all(len(row) == 1 or separator in row[0] for row in rows) and any(separator in row[0] for row in rows):
            raise UserError(f"separated by {name}; separate by commas, and write decimals with a point")
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            if _COMMA.fullmatch(cell):
                raise UserError(f"row {i}, column {j} is {cell!r}; write decimals with a point")
    labels, cells = _split_labels(rows)
    _require_square(cells)
    grid, is_counts = _numbers(cells)
    return _table(grid, labels, cells, name=stem, source=stem, is_counts=is_counts, smoothing=smoothing)


def _split_labels(rows: list[list[str]]) -> tuple[list[str] | None, list[list[str]]]:
    """Take a header row and a first column of names off a table, if it has them.

    A header is recognized by the table's shape and by holding no number; the corner above the names may be
    blank, titled or missing. Below a corner without a number names may be numbers too: those that the header
    has and the first column.
    """
    height, width = len(rows), len(rows[-1])
    header, column = rows[0][1:], [row[0] for row in rows[1:]]
    without_corner = len(rows[0]) == width - 1 and height == width and all(len(row) == width for row in rows[1:])
    if without_corner and _are_names(rows[0]):
        header = rows[0]
    elif height == width + 1 and _are_names(rows[0]):
        return rows[0], rows[1:]
    elif width == height + 1 and _are_names([row[0] for row in rows]):
        return [row[0] for row in rows], [row[1:] for row in rows]
    elif not _is_headed(rows):
        return None, rows
    if len(header) != len(column):
        return None, rows
    if header != column:
        one = next(pair for pair in zip(column, header, strict=True) if pair[0] != pair[1])
        names = (column, header) if len(rows) < 8 else ([f"... {one[0]}"], [f"... {one[1]}"])
        named = " and columns ".join(", ".join(side) for side in names)
        raise UserError(f"rows are named {named}: name the same responses in the same order")
    return header, [row[1:] for row in rows[1:]]


def _is_headed(rows: list[list[str]]) -> bool:
    """Whether the first row and the first column of a table hold names."""
    header, column = rows[0][1:], [row[0] for row in rows[1:]]
    if _is_number(rows[0][0]) or not header or not column:
        return False
    if rows[0][0] not in BLANK or any(not _is_number(cell) and cell not in BLANK for cell in header):
        return True
    if header == column and len(set(header)) == len(header) > 1:
        return True
    # Numbers that differ, below a blank corner: a matrix if all of its diagonal is blank.
    return any(i < len(row) and row[i].lower() not in BLANK for i, row in enumerate(rows))


def _are_names(cells: Sequence[str]) -> bool:
    return all(cell and not _is_number(cell) for cell in cells)


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell.removesuffix("%").rstrip()) is not None


def _numbers(cells: list[list[str]]) -> tuple[list[list[Any]], bool]:
    """The entries of a CSV table, blank ones as nan, and whether they are counts."""
    grid = [[_cell(cell) for cell in row] for row in cells]
    percent = [cell.endswith("%") for row in cells for cell in row if cell.lower() not in BLANK]
    numbers = [entry for row in grid for entry in row if not isinstance(entry, str) and not math.isnan(entry)]
    if any(percent):
        _require(all(percent), "some cells have a percent sign and others none")
        return [
            [0.5 if i == j and entry == 0 else _share(entry) for j, entry in enumerate(row)]
            for i, row in enumerate(grid)
        ], False
    diagonal = [grid[i][i] for i in range(len(grid))]
    hundred = _all_pairs_are_a_hundred(grid)
    blank = all(isinstance(entry, float) and math.isnan(entry) for entry in diagonal)
    known = set() if blank else set(diagonal)
    if known == {50.0} and hundred:
        return [[_share(entry) for entry in row] for row in grid], False
    if not blank and known not in ({0.0}, {0.5}):
        shown = f"[{', '.join(repr(cells[i][i]) for i in range(min(len(cells), 8)))}{', ...' * (len(cells) > 8)}]"
        raise UserError(f"the diagonal must be all 0 (counts), all 0.5 (probabilities) or all blank, got {shown}")
    is_counts = known == {0.0} or (blank and any(number > 1 for number in numbers))
    _require(
        not (is_counts and hundred),
        "every pair adds up to 100: percentages, or 100 comparisons of each pair? For percentages write 50 on the "
        'diagonal or % behind each; counts give as JSON, as "counts"',
    )
    return grid, is_counts


def _cell(cell: str) -> Any:
    if cell.lower() in BLANK:
        return math.nan
    return float(cell.removesuffix("%")) if _is_number(cell) else cell


def _share(percent: Any) -> Any:
    return percent if isinstance(percent, str) else percent / 100


def _all_pairs_are_a_hundred(grid: list[list[Any]]) -> bool:
    pairs = [(grid[i][j], grid[j][i]) for i in range(len(grid)) for j in range(i)]
    return not any(isinstance(entry, str) for pair in pairs for entry in pair) and all(
        abs(one + other - 100) < 0.11 for one, other in pairs
    )


# ---------------------------------------------------------------- both


def _require(condition: Any, complaint: str) -> None:
    if not condition:
        raise UserError(complaint)


def _require_square(rows: list[list[Any]]) -> None:
    for i, row in enumerate(rows):
        _require(
            len(row) == len(rows),
            f"row {i} has {len(row)} entries, but there are {len(rows)} rows: must be square, "
            "with a row and a column for each response",
        )


def _table(
    grid: list[list[Any]],
    labels: list[Any] | None,
    shown: list[list[Any]],
    *,
    name: str,
    source: str,
    is_counts: bool,
    smoothing: float,
) -> PreferenceTable:
    """The table of these entries, blank ones nan; `shown` has them as they are in the file."""
    names = [f"y{i + 1}" for i in range(len(grid))] if labels is None else _names(labels, len(grid))
    with _named_entries(None if labels is None else names):
        counts, P = _entries(grid, shown, is_counts=is_counts, smoothing=smoothing)
    return PreferenceTable(P, tuple(names), name, source, counts, smoothing)


@contextmanager
def _named_entries(names: list[str] | None) -> Iterator[None]:
    """Say of an entry in a message whose it is, where the responses have names of their own."""
    try:
        yield
    except UserError as error:
        if names is None:
            raise
        raise UserError(
            _ENTRY.sub(lambda found: f"{found[0]} ({names[int(found[1])]} over {names[int(found[2])]})", str(error), 1)
        ) from None


def _entries(
    grid: list[list[Any]], shown: list[list[Any]], *, is_counts: bool, smoothing: float
) -> tuple[Array | None, Array]:
    """Counts, if these are counts, and probabilities."""
    what = "counts" if is_counts else "P"
    half = 0.0 if is_counts else 0.5
    table = np.full((len(grid), len(grid)), math.nan)
    for i, row in enumerate(grid):
        for j, entry in enumerate(row):
            if isinstance(entry, bool) or not isinstance(entry, (int, float)):
                raise UserError(f"{entry_name(what, (i, j))} is {entry!r}, must be a number")
            if isinstance(entry, int) and abs(entry) > 2**1000:
                raise UserError(f"{entry_name(what, (i, j))} is too large for a number")
            table[i, j] = half if i == j and math.isnan(entry) else entry
    blank = [[cell is None or (isinstance(cell, str) and cell.lower() in BLANK) for cell in row] for row in shown]
    for i, j in np.argwhere(np.array(blank) & np.isnan(table)):
        if is_counts or math.isnan(table[j, i]):
            both = " in both directions: half a table of counts does not say how often each was chosen"
            raise UserError(f"{entry_name(what, (i, j))} is {shown[i][j]!r}, must be a number" + both * is_counts)
        table[i, j] = 1 - table[j, i]
    if not is_counts:
        if smoothing:
            raise UserError("probabilities cannot be smoothed, only counts")
        return None, _valid(validate, table)
    counts = _valid(validate_counts, table)
    lower, upper = (np.any(triangle(counts) > 0) for triangle in (np.tril, np.triu))
    _require(
        len(counts) < 3 or (lower and upper),
        f"no response ever beat {'an earlier' if upper else 'a later'} one: is this half a table? Fill in how often "
        "they did; if it is so, give probabilities",
    )
    return counts, frequencies(counts, smoothing)


def _valid(check: Callable[[Any], Array], table: Array) -> Array:
    """What :mod:`inspo.matrices` has to say of a user's table is about the user's table."""
    try:
        return check(table)
    except ValueError as error:
        raise UserError(str(error)) from None


def _names(labels: list[Any], count: int) -> list[str]:
    """The responses' names as text.

    Raises:
        UserError: not one for each, none, one that cannot be printed, or two that are the same.
    """
    _require(len(labels) == count, f"{len(labels)} labels for {count} responses; give one label each")
    names: list[str] = []
    for i, label in enumerate(labels):
        is_name = isinstance(label, (str, int, float)) and not isinstance(label, bool)
        name = str(label).strip() if is_name else ""
        _require(name, f"response {i + 1} has no name (its label is {label!r})" if label else f"label {i + 1} is blank")
        _require(_printable(name), f"label {i + 1}, {name!r}, has characters that cannot be printed")
        _require(name not in names, f'two responses are named "{name}"; give each its own name')
        names.append(name)
    return names


def _printable(text: str) -> bool:
    """Whether there are no control characters and no halves of characters (surrogates) in it."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)

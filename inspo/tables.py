"""Preference tables from files: JSON or CSV, counts or probabilities, with or without labels."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inspo.matrices import Array, entry_name, frequencies, validate, validate_counts


@dataclass(frozen=True)
class PreferenceTable:
    """A preference matrix with what is known of its origin.

    Attributes:
        P: (K, K) preference matrix.
        labels: K names of the responses.
        name: short name of the table.
        source: citation, or where it came from.
        counts: (K, K) int64 comparison counts, or None where only probabilities are known.
    """

    P: Array
    labels: tuple[str, ...]
    name: str
    source: str
    counts: npt.NDArray[np.int64] | None = None


def load_preferences(path: str | Path) -> Array:
    """Load the preference matrix of a JSON or CSV file; :func:`load_table` says which formats.

    Returns:
        (K, K) float64 preference matrix.

    Raises:
        ValueError: a file that cannot be read or does not hold a valid table; one line that names
            the file and the offending entry.
    """
    return load_table(path).P


def load_table(path: str | Path) -> PreferenceTable:
    """Load a preference table with its labels and citation.

    JSON is an object with either ``counts`` or ``preferences`` (a K x K list of rows), and
    optionally ``labels``, ``name`` and ``source``. CSV is a K x K matrix, with or without a
    header row and a first column of labels. A CSV whose diagonal is 0 holds counts; one whose
    diagonal is 0.5 holds probabilities.

    Raises:
        ValueError: as :func:`load_preferences`.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"{file}: no such file") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not a text file; expected JSON or CSV in UTF-8") from None
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror}") from None
    if "\0" in text:
        raise ValueError(f"{file}: not a text file; expected JSON or CSV in UTF-8")
    if not text.strip():
        raise ValueError(f"{file}: the file is empty; expected a preference table in JSON or CSV")
    parse = {".json": _parse_json, ".csv": _parse_csv}.get(file.suffix.lower())
    if parse is None:
        raise ValueError(f"{file}: the name must end in .json or .csv, so that the format is known")
    try:
        return parse(text, file.stem)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _parse_json(text: str, stem: str) -> PreferenceTable:
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"not valid JSON (cut off?): {error}") from None
    if not isinstance(content, dict) or ("counts" in content) == ("preferences" in content):
        raise ValueError('expected a JSON object with one of the keys "counts" and "preferences"')
    key = "counts" if "counts" in content else "preferences"
    rows = content[key]
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise ValueError(f'"{key}" must be a list of rows')
    labels = content.get("labels")
    if labels is not None and not isinstance(labels, list):
        raise ValueError('"labels" must be a list of names')
    return _table(rows, labels, content.get("name", stem), content.get("source", stem), is_counts=key == "counts")


def _parse_csv(text: str, stem: str) -> PreferenceTable:
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines())]
    except csv.Error as error:
        raise ValueError(f"not valid CSV: {error}") from None
    labels, rows = _split_labels([row for row in rows if any(row)])
    numbers = [[cell if (value := _number(cell)) is None else value for cell in row] for row in rows]
    diagonal = [row[i] for i, row in enumerate(numbers) if i < len(row)]
    is_counts = all(entry == 0 for entry in diagonal)
    if not is_counts and 0 in diagonal:
        raise ValueError(f"the diagonal must be all 0 (counts) or all 0.5 (probabilities), got {diagonal}")
    return _table(numbers, labels, stem, stem, is_counts=is_counts)


def _split_labels(rows: list[list[str]]) -> tuple[list[str] | None, list[list[str]]]:
    """Take a header row and a first column of names off a table, if it has them.

    They are recognized by the table's shape and by holding no number; the corner above the names may be
    blank, titled or missing.
    """

    def names(cells: list[str]) -> bool:
        return all(cell and _number(cell) is None for cell in cells)

    if len(rows) < 2:
        raise ValueError("the file holds no table of at least two responses")
    height, width = len(rows), len(rows[-1])
    first_column = [row[0] for row in rows]
    header = rows[0][-(width - 1) :]
    if height == width and names(header) and names(first_column[1:]):
        return header, [row[1:] for row in rows[1:]]
    if width == height + 1 and names(first_column):
        return first_column, [row[1:] for row in rows]
    if height == width + 1 and names(rows[0]):
        return rows[0], rows[1:]
    return None, rows


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _table(
    rows: list[list[Any]], labels: list[Any] | None, name: Any, source: Any, *, is_counts: bool
) -> PreferenceTable:
    what = "counts" if is_counts else "P"
    for i, row in enumerate(rows):
        if len(row) != len(rows):
            raise ValueError(f"row {i} has {len(row)} entries, but there are {len(rows)} rows: must be square")
        for j, entry in enumerate(row):
            if isinstance(entry, bool) or not isinstance(entry, (int, float)):
                raise ValueError(f"{entry_name(what, (i, j))} is {entry!r}, must be a number")
    if labels is None:
        labels = [f"y{i + 1}" for i in range(len(rows))]
    if len(labels) != len(rows):
        raise ValueError(f"{len(labels)} labels for {len(rows)} responses; give one label each")
    counts = validate_counts(rows) if is_counts else None
    P = validate(rows) if counts is None else frequencies(counts)
    return PreferenceTable(P, tuple(str(label) for label in labels), str(name), str(source), counts)

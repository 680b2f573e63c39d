"""Preference matrices: make them, load them, check them, measure how separable they are.

A preference matrix holds, for one prompt with K responses, the probabilities
``P[i, j] = P(y_i is preferred to y_j)``. Rows are what is judged, columns what it is judged
against. Every valid matrix has ``P[i, j] + P[j, i] = 1`` and therefore ``P[i, i] = 1/2``.

Shapes: K responses; ``...`` any leading batch of problems. Arrays are float64, or object arrays
of :class:`fractions.Fraction` for exact work: those are checked exactly and never rounded.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from fractions import Fraction
from numbers import Rational
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# How far P + P^T may be from 1 in floating point; tables printed to a few digits still sum exactly.
TOLERANCE = 1e-8

# Counts up to here are exact in float64.
LARGEST_COUNT = 2**53


def as_numeric(values: npt.ArrayLike, name: str) -> Array:
    """Return `values` as a float64 array, or as an object array if it holds exact rationals.

    Raises:
        ValueError: ragged rows, or an entry that is not a number, naming the entry.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array of numbers, got ragged rows") from error
    if array.dtype.kind in "biuf":
        return array.astype(np.float64)
    array = np.asarray(values, dtype=object)
    for index, entry in np.ndenumerate(array):
        if isinstance(entry, bool) or not isinstance(entry, (Rational, float, np.floating, np.integer)):
            raise ValueError(f"{entry_name(name, index)} is {entry!r}; every entry must be a number")
    exact = all(isinstance(entry, Rational) for entry in array.flat)
    return array if exact else array.astype(np.float64)


def entry_name(name: str, index: tuple[int, ...]) -> str:
    """Name an entry the way a reader would index it, for example ``P[0, 2]``."""
    return f"{name}[{', '.join(str(int(i)) for i in index)}]"


def first_offender(bad: npt.NDArray[np.bool_]) -> tuple[int, ...] | None:
    """Index of the first true entry in reading order, or None."""
    hits = np.argwhere(bad)
    return tuple(int(i) for i in hits[0]) if len(hits) else None


def not_finite(array: Array) -> npt.NDArray[np.bool_]:
    """True where a float entry is NaN or infinite; exact rationals are always finite."""
    return np.zeros(array.shape, dtype=bool) if array.dtype == object else ~np.isfinite(array)


def validate(P: npt.ArrayLike, name: str = "P") -> Array:
    """Check a preference matrix and return it as an array.

    Args:
        P: (..., K, K), probabilities; float or Fraction entries.
        name: what to call the matrix in an error message.

    Returns:
        (..., K, K) float64, or an object array where the input held exact rationals.

    Raises:
        ValueError: not square, fewer than two responses, NaN, an entry outside [0, 1], or
            ``P[i, j] + P[j, i] != 1``; the message names the first offending entry.

    >>> validate([[0.5, 0.7], [0.3, 0.5]]).shape
    (2, 2)
    """
    matrix = as_numeric(P, name)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"{name} must be square, (..., K, K), got shape {matrix.shape}")
    if matrix.shape[-1] < 2:
        raise ValueError(f"{name} needs at least two responses, got shape {matrix.shape}")
    outside = not_finite(matrix) | ~((matrix >= 0) & (matrix <= 1)).astype(bool)
    if (index := first_offender(outside)) is not None:
        raise ValueError(f"{entry_name(name, index)} = {matrix[index]} is not a probability in [0, 1]")
    total = matrix + np.swapaxes(matrix, -1, -2)
    exact = matrix.dtype == object
    wrong = (total != 1) if exact else np.abs(total - 1) > TOLERANCE
    if (index := first_offender(np.asarray(wrong, dtype=bool))) is not None:
        mirror = (*index[:-2], index[-1], index[-2])
        if index == mirror:
            raise ValueError(
                f"{entry_name(name, index)} = {matrix[index]}, but a response ties with itself: must be 1/2"
            )
        raise ValueError(
            f"{entry_name(name, index)} + {entry_name(name, mirror)} = {matrix[index]} + {matrix[mirror]} must be 1"
        )
    return matrix


def bradley_terry(scores: npt.ArrayLike) -> Array:
    """Bradley-Terry preferences, Eq. (1): ``P[i, j] = sigmoid(scores[i] - scores[j])``.

    Args:
        scores: (..., K) rewards in nats. For strengths s, pass log(s).

    Returns:
        (..., K, K) float64.

    Raises:
        ValueError: a score that is not finite.

    >>> bradley_terry(np.log([4, 2, 1]))[0, 1].round(6).item()
    0.666667
    """
    from scipy.special import expit

    values = as_numeric(scores, "scores").astype(np.float64)
    if values.ndim < 1:
        raise ValueError("scores must have shape (..., K), got a single number")
    if (index := first_offender(not_finite(values))) is not None:
        raise ValueError(f"{entry_name('scores', index)} = {values[index]} must be finite")
    return validate(expit(values[..., :, None] - values[..., None, :]))


def rock_paper_scissors(p: float | Fraction) -> Array:
    """Cyclic preferences of three responses: each beats the next with probability p.

    Args:
        p: probability in [0, 1]; a Fraction gives an exact matrix. p = 1/2 is indifference.

    Returns:
        (3, 3), ``P[0, 1] = P[1, 2] = P[2, 0] = p``.

    Raises:
        ValueError: p outside [0, 1].
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p = {p} is not a probability in [0, 1]")
    half = Fraction(1, 2) if isinstance(p, Rational) else 0.5
    q = 1 - p
    return validate(np.array([[half, p, q], [q, half, p], [p, q, half]]))


def random_preferences(k: int, rng: np.random.Generator, scale: float = 1.0) -> Array:
    """Random non-separable preferences: independent log-odds N(0, scale^2) for each pair.

    Args:
        k: number of responses, at least 2.
        rng: the source of randomness.
        scale: standard deviation of the log-odds, in nats; 0 gives indifference.

    Returns:
        (k, k) float64.

    Raises:
        ValueError: k < 2 or a negative scale.
    """
    from scipy.special import expit

    if k < 2:
        raise ValueError(f"k = {k}: a preference needs at least two responses")
    if not scale >= 0:
        raise ValueError(f"scale = {scale} must be non-negative")
    log_odds = np.triu(rng.normal(0.0, 1.0, (k, k)) * scale, 1)
    return validate(expit(log_odds - log_odds.T))


def validate_counts(counts: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Check a table of paired-comparison counts.

    Args:
        counts: (K, K); ``counts[i, j]`` is how many preferred i over j; the diagonal is zero.

    Returns:
        (K, K) int64.

    Raises:
        ValueError: not square, an entry that is negative, fractional or not a number, a diagonal
            that is not zero, or a pair that nobody compared; the message names the entry.
    """
    table = as_numeric(counts, "counts")
    if table.ndim != 2 or table.shape[0] != table.shape[1] or table.shape[0] < 2:
        raise ValueError(f"counts must be square, (K, K) with K >= 2, got shape {table.shape}")
    if (index := first_offender(not_finite(table))) is not None:
        raise ValueError(f"{entry_name('counts', index)} = {table[index]} is not a count")
    if (index := first_offender((table > LARGEST_COUNT).astype(bool))) is not None:
        raise ValueError(f"{entry_name('counts', index)} = {table[index]} is no count of people: at most 2^53")
    if (index := first_offender((table < 0).astype(bool))) is not None:
        raise ValueError(f"{entry_name('counts', index)} = {table[index]} is negative; a count is 0, 1, 2, ...")
    if (index := first_offender((table % 1 != 0).astype(bool))) is not None:
        raise ValueError(f"{entry_name('counts', index)} = {table[index]} is fractional; a count is 0, 1, 2, ...")
    if (index := first_offender(np.diag(np.diag(table) != 0))) is not None:
        raise ValueError(f"{entry_name('counts', index)} = {table[index]}: nothing is compared with itself, must be 0")
    compared = table + table.T + np.eye(len(table), dtype=int)
    if (index := first_offender((compared == 0).astype(bool))) is not None:
        mirror = (index[1], index[0])
        raise ValueError(
            f"{entry_name('counts', index)} and {entry_name('counts', mirror)} are both 0: "
            "the pair was never compared, so its preference is unknown"
        )
    return table.astype(np.int64)


def from_counts(counts: npt.ArrayLike) -> Array:
    """Relative frequencies of a table of paired-comparison counts.

    Args:
        counts: (K, K) as :func:`validate_counts` describes.

    Returns:
        (K, K) float64, 1/2 on the diagonal.

    Raises:
        ValueError: as :func:`validate_counts`.

    >>> from_counts([[0, 3], [1, 0]])[0, 1].item()
    0.75
    """
    table = validate_counts(counts).astype(np.float64)
    total = table + table.T
    np.fill_diagonal(total, 1.0)
    P = table / total
    np.fill_diagonal(P, 0.5)
    return validate(P)


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

    They are told by the table's shape and by holding no number; the corner above the names may be
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
    P = validate(rows) if counts is None else from_counts(counts)
    return PreferenceTable(P, tuple(str(label) for label in labels), str(name), str(source), counts)


@dataclass(frozen=True)
class Separability:
    """How far preferences are from Bradley-Terry, Eq. (1). All zero where they are separable.

    Attributes:
        scores: (K,) maximum-likelihood Bradley-Terry scores in nats, mean zero.
        mean_kl: mean over pairs i < j of KL(P[i, j] || fitted), in nats.
        max_error: largest absolute difference of P[i, j] and the fit over pairs.
        cyclic_triads: number of triples i > j > k > i, each preferred with probability above 1/2.
    """

    scores: npt.NDArray[np.float64]
    mean_kl: float
    max_error: float
    cyclic_triads: int


def cyclic_triads(P: npt.ArrayLike) -> int:
    """Number of triples of responses that beat each other in a circle, each with P > 1/2.

    Args:
        P: (K, K) preference matrix.

    >>> cyclic_triads(rock_paper_scissors(0.6))
    1
    """
    matrix = validate(P)
    if matrix.ndim != 2:
        raise ValueError(f"P must be one matrix, (K, K), got shape {matrix.shape}")
    beats = (matrix > 0.5).astype(np.int64)
    return int(np.trace(beats @ beats @ beats)) // 3


def separability(P: npt.ArrayLike) -> Separability:
    """Fit Bradley-Terry by maximum likelihood, all pairs weighted alike, and measure the misfit.

    Where the likelihood has no maximum (some response always loses) the scores are large and
    finite and the fitted probabilities are at their limits to the optimiser's tolerance.

    Args:
        P: (K, K) preference matrix.
    """
    from scipy.optimize import minimize
    from scipy.special import expit, xlogy

    matrix = validate(P).astype(np.float64)
    triads = cyclic_triads(matrix)
    k = len(matrix)
    i, j = np.triu_indices(k, 1)
    p = matrix[i, j]

    def negative_log_likelihood(scores: Array) -> float:
        difference = scores[i] - scores[j]
        return float((p * np.logaddexp(0, -difference) + (1 - p) * np.logaddexp(0, difference)).sum())

    def gradient(scores: Array) -> Array:
        residual = expit(scores[i] - scores[j]) - p
        return np.bincount(i, residual, k) - np.bincount(j, residual, k)

    fit = minimize(
        negative_log_likelihood,
        np.zeros(k),
        jac=gradient,
        method="L-BFGS-B",
        options={"gtol": 1e-12, "ftol": 1e-16, "maxiter": 10_000},
    )
    fitted = expit(fit.x[i] - fit.x[j])
    tiny = np.finfo(np.float64).tiny
    kl = xlogy(p, p / np.maximum(fitted, tiny)) + xlogy(1 - p, (1 - p) / np.maximum(1 - fitted, tiny))
    return Separability(fit.x - fit.x.mean(), float(kl.mean()), float(np.abs(p - fitted).max()), triads)

"""Preference matrices and counts that are valid, or refused by the name of their first wrong entry.

``P[i, j] = P(y_i is preferred to y_j)``: rows are what is judged, columns what it is judged against. Every
valid matrix has ``P[i, j] + P[j, i] = 1`` and therefore ``P[i, i] = 1/2``.

Shapes: K responses; ``...`` any leading batch of problems. Arrays are float64, or object arrays of
:class:`fractions.Fraction` for exact work: those are checked exactly and never rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Rational
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Index = tuple[int, ...]

# How far P + P^T may be from 1 in floating point: float32, or its seven digits. Up to ROUNDING, that of float64,
# a matrix is left as it is; beyond, its pairs are made to sum to 1.
TOLERANCE = 1e-6
ROUNDING = 1e-12

# Counts up to here are exact in float64.
LARGEST_COUNT = 2**53


def entry_name(name: str, index: Index) -> str:
    """Name an entry the way a reader would index it, for example ``P[0, 2]``."""
    return f"{name}[{', '.join(map(str, index))}]"


def refuse(bad: npt.ArrayLike, describe: Callable[[Index], str]) -> None:
    """Raise a ValueError that describes the first true entry of `bad` in reading order, if there is one."""
    for index in np.argwhere(bad):
        raise ValueError(describe(tuple(index.tolist())))


def refuse_entries(bad: npt.ArrayLike, array: Array, name: str, why: str) -> None:
    """Raise a ValueError such as ``P[0, 1] = 1.5 is no probability`` for the first entry where `bad` is true."""
    refuse(bad, lambda index: f"{entry_name(name, index)} = {array[index]}{why}")


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
    refuse(
        np.frompyfunc(_is_no_number, 1, 1)(array),
        lambda index: f"{entry_name(name, index)} is {array[index]!r}; every entry must be a number",
    )
    exact = all(isinstance(entry, Rational) for entry in array.flat)
    return array if exact else array.astype(np.float64)


def _is_no_number(entry: Any) -> bool:
    return isinstance(entry, bool) or not isinstance(entry, (Rational, float, np.floating, np.integer))


def not_finite(array: Array) -> npt.NDArray[np.bool_]:
    """True where a float entry is NaN or infinite; exact rationals are always finite."""
    return np.zeros(array.shape, dtype=bool) if array.dtype == object else ~np.isfinite(array)


class PreferenceMatrix:
    """A preference matrix checked once: whatever takes a matrix takes it, and does not check it again.

    Args:
        P: (..., K, K), probabilities; float or Fraction entries.
        name: what to call the matrix in an error message.

    Raises:
        ValueError: as :func:`validate`.

    >>> P = PreferenceMatrix([[0.5, 0.7], [0.3, 0.5]])
    >>> validate(P) is P.values
    True
    """

    __slots__ = ("_values",)

    def __init__(self, P: npt.ArrayLike, name: str = "P") -> None:
        self._values = validate(P, name).copy()
        self._values.flags.writeable = False

    @property
    def values(self) -> Array:
        """(..., K, K) float64, or an object array of rationals; read-only."""
        return self._values

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:  # noqa: FBT001 # NumPy's
        """The matrix where NumPy wants an array."""
        return np.array(self._values, dtype=dtype, copy=copy)


def validate(P: npt.ArrayLike, name: str = "P") -> Array:
    """Check a preference matrix and return it as an array.

    Args:
        P: (..., K, K), probabilities; float or Fraction entries. A :class:`PreferenceMatrix` has been checked.
        name: what to call the matrix in an error message.

    Returns:
        (..., K, K) float64, or an object array where the input held exact rationals. Floats whose pairs sum to 1
        within 1e-6 alone, such as float32, are made to: each is moved by half of what they are off.

    Raises:
        ValueError: not square, fewer than two responses, NaN, an entry outside [0, 1], or
            ``P[i, j] + P[j, i] != 1``; the message names the first offending entry.

    >>> validate([[0.5, 0.7], [0.3, 0.5]]).shape
    (2, 2)
    """
    return P.values if isinstance(P, PreferenceMatrix) else _checked(P, name)


def _checked(P: npt.ArrayLike, name: str) -> Array:
    matrix = as_numeric(P, name)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"{name} must be square, (..., K, K), got shape {matrix.shape}")
    if matrix.shape[-1] < 2:
        raise ValueError(f"{name} needs at least two responses, got shape {matrix.shape}")
    refuse_entries(~((matrix >= 0) & (matrix <= 1)), matrix, name, " is not a probability in [0, 1]")

    def wrong_sum(index: Index) -> str:
        mirror = (*index[:-2], index[-1], index[-2])
        entry, other = entry_name(name, index), entry_name(name, mirror)
        if entry == other:
            return f"{entry} = {matrix[index]}, but a response ties with itself: must be 1/2"
        return f"{entry} + {other} = {matrix[index]} + {matrix[mirror]} must be 1, off by {float(abs(off[index])):.3g}"

    off = matrix + np.swapaxes(matrix, -1, -2) - 1
    exact = matrix.dtype == object
    refuse(abs(off) > (0 if exact else TOLERANCE), wrong_sum)
    return matrix if exact or (abs(off) <= ROUNDING).all() else np.asarray(matrix - off / 2)


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
    a_count = "a count is 0, 1, 2, ..."
    refuse_entries(not_finite(table), table, "counts", " is not a count")
    refuse_entries(table > LARGEST_COUNT, table, "counts", " is too large for a count: at most 2^53")
    refuse_entries(table < 0, table, "counts", f" is negative; {a_count}")
    ties = "; where ties count as halves, double all counts or give probabilities, with 0.5 on the diagonal"
    refuse_entries(table % 1 != 0, table, "counts", f" is fractional; {a_count}{ties}")
    itself = np.eye(len(table), dtype=bool)
    refuse_entries(itself & (table != 0), table, "counts", ": nothing is compared with itself, must be 0")
    refuse(
        ~itself & (table + table.T == 0),
        lambda index: (
            f"{entry_name('counts', index)} and {entry_name('counts', index[::-1])} are both 0: "
            "the pair was never compared, so its preference is unknown"
        ),
    )
    return table.astype(np.int64)


def from_counts(counts: npt.ArrayLike, *, smoothing: float = 0.0) -> Array:
    """Relative frequencies of a table of paired-comparison counts.

    Args:
        counts: (K, K) as :func:`validate_counts` describes.
        smoothing: wins added to both sides of every pair; 1/2 is Jeffreys' prior, and keeps every entry
            strictly between 0 and 1.

    Returns:
        (K, K) float64, 1/2 on the diagonal.

    Raises:
        ValueError: as :func:`validate_counts`.

    >>> from_counts([[0, 3], [1, 0]])[0, 1].item()
    0.75
    """
    return frequencies(validate_counts(counts), smoothing)


def frequencies(counts: npt.NDArray[np.int64], smoothing: float = 0.0) -> Array:
    """:func:`from_counts` of counts that have been checked.

    Raises:
        ValueError: a smoothing that is negative or not finite.
    """
    if not 0 <= smoothing < np.inf:
        raise ValueError(f"smoothing = {smoothing} must be a finite number >= 0")
    table = counts.astype(np.float64) + smoothing
    total = table + table.T
    np.fill_diagonal(total, 1.0)
    P = table / total
    np.fill_diagonal(P, 0.5)
    return P

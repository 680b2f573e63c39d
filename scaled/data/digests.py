"""Digests of texts, or of tokens, which stand for them where all of a data set are compared: 16 bytes each.

Among a million texts two different ones share a digest with a probability of 1e-27.

Shapes: n digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

SIZE = 16
"""Bytes of a digest."""

Digests = Sequence[bytes] | npt.NDArray[np.uint64]
"""n digests; as an array (n, 2)."""


def digest(of: str | npt.NDArray[Any]) -> bytes:
    """The digest of a text, half a surrogate pair being one too, or of an array of tokens."""
    data = of.encode("utf-8", "surrogatepass") if isinstance(of, str) else of.tobytes()
    return hashlib.blake2b(data, digest_size=SIZE).digest()


def as_array(digests: Digests) -> npt.NDArray[np.uint64]:
    """Digests as an array (n, 2)."""
    if isinstance(digests, np.ndarray):
        return digests
    return np.frombuffer(b"".join(digests), dtype=np.uint64).reshape(-1, 2)


def first_equal(digests: Digests) -> npt.NDArray[np.int64]:
    """For each digest the index of the first that equals it, its own where it is the first; (n,).

    >>> first_equal([digest("a"), digest("b"), digest("a")]).tolist()
    [0, 1, 0]
    """
    values = as_array(digests)
    order = np.lexsort((values[:, 1], values[:, 0]))  # stable: equal ones stay in their order
    ordered = values[order]
    begins = np.ones(len(values), dtype=bool)
    begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first = np.empty(len(values), dtype=np.int64)
    first[order] = order[np.flatnonzero(begins)][np.cumsum(begins) - 1]
    return first

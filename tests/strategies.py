"""Hypothesis strategies for exact problems, and the matrices that several tests refer to."""

from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

# Master witness: the smallest matrix with full support whose best prompt-only response depends on psi.
WITNESS = np.array(
    [
        [Fraction(1, 2), Fraction(3, 10), Fraction(9, 10)],
        [Fraction(7, 10), Fraction(1, 2), Fraction(3, 5)],
        [Fraction(1, 10), Fraction(2, 5), Fraction(1, 2)],
    ]
)


def uniform(k):
    """The exact uniform distribution over k responses."""
    return np.array([Fraction(1, k)] * k)


def from_upper(k, entries):
    """The preference matrix with these entries P[i, j] for i < j, in reading order."""
    P = np.full((k, k), Fraction(1, 2))
    for (i, j), p in zip(zip(*np.triu_indices(k, 1), strict=True), entries, strict=True):
        P[i, j], P[j, i] = p, 1 - p
    return P


def distributions(k, *, full_support=False):
    """Exact distributions over k responses, some of them zero unless `full_support`."""
    weights = st.lists(st.integers(int(full_support), 6), min_size=k, max_size=k).filter(any)
    return weights.map(lambda w: np.array([Fraction(entry, sum(w)) for entry in w]))


def preference_matrices(k, *, interior=False):
    """Exact preference matrices of k responses; `interior` keeps every entry inside (0, 1)."""
    twelfths = st.integers(int(interior), 12 - int(interior))
    pairs = k * (k - 1) // 2
    return st.lists(twelfths, min_size=pairs, max_size=pairs).map(
        lambda entries: from_upper(k, [Fraction(entry, 12) for entry in entries])
    )


@st.composite
def problems(draw, *, interior=False, full_support=False):
    """(P, mu), exact, of two to five responses."""
    k = draw(st.integers(2, 5))
    return draw(preference_matrices(k, interior=interior)), draw(distributions(k, full_support=full_support))


def random_policies(rng, *shape):
    """Floating-point distributions along the second-to-last axis: conditioned policies (..., K, K)."""
    raw = rng.exponential(size=shape)
    return raw / raw.sum(axis=-2, keepdims=True)


def random_problem(rng, k, *batch):
    """Floating-point (P, mu): independent uniform preferences and a random reference."""
    upper = np.triu(rng.uniform(size=(*batch, k, k)), 1)
    P = upper + np.tril(1 - np.swapaxes(upper, -1, -2), -1) + np.eye(k) / 2
    return P, random_policies(rng, *batch, k, 1)[..., 0]

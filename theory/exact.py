"""Values and optima in plain Python rationals, independent of :mod:`inspo.objectives`.

Nothing here uses NumPy or the library, so that a witness computed with it is a second opinion. A
matrix is a tuple of rows of Fractions, a conditioned policy too: ``policy[i][j]`` is pi(y_i | y_j).
Responses count from zero, as in code; texts count from one, as in the paper.

Log-odds are irrational, but sums of them with rational weights are ordered like products of odds
raised to whole powers, which are rational: :func:`odds_products`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations
from math import lcm, prod

Row = tuple[Fraction, ...]
Matrix = tuple[Row, ...]

HALF = Fraction(1, 2)


def fractions(text: str) -> Row:
    """Rationals from text, ``"3/10 9/10 0.6"``."""
    return tuple(Fraction(part) for part in text.split())


def preferences(upper: str | Sequence[Fraction]) -> Matrix:
    """The preference matrix with these entries above the diagonal, in reading order.

    Raises:
        ValueError: a number of entries that is no upper triangle's, or one outside [0, 1], named.

    >>> preferences("3/4")
    ((Fraction(1, 2), Fraction(3, 4)), (Fraction(1, 4), Fraction(1, 2)))
    """
    entries = fractions(upper) if isinstance(upper, str) else tuple(upper)
    k = next(k for k in range(2, 99) if k * (k - 1) // 2 >= len(entries))
    if len(entries) != k * (k - 1) // 2:
        raise ValueError(f"{len(entries)} entries are no upper triangle: give 1, 3, 6, 10, ... of them")
    above = dict(zip(combinations(range(k), 2), entries, strict=True))
    for (i, j), p in above.items():
        if not 0 <= p <= 1:
            raise ValueError(f"P[{i}, {j}] = {p} is not a probability in [0, 1]")
    return tuple(
        tuple(HALF if i == j else above[i, j] if i < j else 1 - above[j, i] for j in range(k)) for i in range(k)
    )


def uniform(k: int) -> Row:
    """The uniform distribution over k responses."""
    return (Fraction(1, k),) * k


def bradley_terry(strengths: Sequence[int]) -> Matrix:
    """P[i][j] = s_i / (s_i + s_j)."""
    return tuple(tuple(Fraction(a, a + b) for b in strengths) for a in strengths)


def check_distribution(p: Row, name: str) -> None:
    """Raise ValueError, naming the entry, unless p is a distribution."""
    for i, entry in enumerate(p):
        if entry < 0:
            raise ValueError(f"{name}[{i}] = {entry} is negative")
    if sum(p) != 1:
        raise ValueError(f"{name} sums to {sum(p)}, a distribution must sum to 1")


def scores(P: Matrix, mu: Row) -> Row:
    """S(i) = sum_j mu_j P[i][j], psi being the identity."""
    check_distribution(mu, "mu")
    return tuple(sum((m * p for m, p in zip(mu, row, strict=True)), Fraction(0)) for row in P)


def value(policy: Row, P: Matrix, mu: Row) -> Fraction:
    """V of a prompt-only policy, psi being the identity."""
    check_distribution(policy, "policy")
    return sum((p * s for p, s in zip(policy, scores(P, mu), strict=True)), Fraction(0))


def conditioned_value(policy: Matrix, P: Matrix, mu: Row) -> Fraction:
    """V of a policy that sees the response it is judged against, psi being the identity."""
    k = range(len(mu))
    for j in k:
        check_distribution(tuple(policy[i][j] for i in k), f"policy's column {j}")
    return sum((mu[j] * policy[i][j] * P[i][j] for i in k for j in k), Fraction(0))


def best_value(P: Matrix, mu: Row) -> Fraction:
    """V(pi*), psi being the identity."""
    return sum((m * max(column) for m, column in zip(mu, columns(P), strict=True)), Fraction(0))


def columns(P: Matrix) -> Iterator[Row]:
    """What each response is up against: column j lists P[i][j] over i."""
    return zip(*P, strict=True)


def best_responses(P: Matrix) -> list[set[int]]:
    """The best responses to each response in turn."""
    return [argmax(column) for column in columns(P)]


def argmax(values: Sequence[Fraction]) -> set[int]:
    """The positions of the largest value."""
    return {i for i, v in enumerate(values) if v == max(values)}


def common_best_response(P: Matrix) -> set[int]:
    """The responses that are best against every response."""
    return set.intersection(*best_responses(P))


def odds(p: Fraction) -> Fraction:
    """p / (1 - p).

    Raises:
        ValueError: p = 1, whose odds are infinite.
    """
    if p == 1:
        raise ValueError("p = 1 has no finite odds: keep preferences inside (0, 1)")
    return p / (1 - p)


def odds_products(P: Matrix, mu: Row) -> Row:
    """exp(n S_log(i)) with n the common denominator of mu: ordered as log-odds scores are."""
    n = lcm(*(m.denominator for m in mu))
    powers = [int(m * n) for m in mu]
    return tuple(prod((odds(p) ** power for p, power in zip(row, powers, strict=True)), start=Fraction(1)) for row in P)


# The master witness, written down here alone in theory/: under a uniform reference its best prompt-only response
# depends on psi. With no smaller common denominator are the optima by identity and by log-odds disjoint, and in tenths
# for no others.
W = preferences("3/10 9/10 3/5")

"""Proofs by z3: a theorem holds for all reals if its hypotheses and its denial cannot hold together.

Every proof first asks whether the hypotheses alone can hold, since from impossible ones anything
follows; and from hypotheses that are too strong too much does, so they must allow the example that the
caller gives: an uneven reference, a psi that is not affine. Effort is bounded by z3's own count of steps,
not by time, so that a busy machine proves as much as an idle one.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from typing import Any

import z3

from theory import exact

# About ten seconds on one core; every proof here needs less than a tenth of it.
EFFORT = 40_000_000


def prove(hypotheses: list[Any], conclusion: Any, allowing: list[tuple[Any, Any]] | None = None) -> None:
    """Prove that the hypotheses imply the conclusion.

    Args:
        hypotheses: z3 conditions.
        conclusion: a z3 condition.
        allowing: unknowns, nested as :func:`reals` makes them, each with values that the hypotheses must allow, all
            of them together; what is not given is free.

    Raises:
        AssertionError: the hypotheses cannot hold together, or not with `allowing`; the conclusion does not follow
            (with the counterexample); or z3 gave up.
    """
    assert solve(hypotheses) is not None, "vacuous: the hypotheses cannot hold together"
    example = [equation for unknowns, values in allowing or [] for equation in _equations(unknowns, values)]
    assert solve([*hypotheses, *example]) is not None, f"too strong: the hypotheses exclude {example}"
    counterexample = solve([*hypotheses, z3.Not(conclusion)])
    assert counterexample is None, f"does not follow: {counterexample}"


def typical(k: int) -> tuple[exact.Matrix, exact.Row, exact.Matrix]:
    """P, mu and psi(P) of up to four responses that no hypothesis about all of them may exclude.

    P12, P13, P23 = 7/10, 3/5, 9/10, which is W with y1 and y2 exchanged: y1 is best against y2 and none against all.
    P14, P24, P34 = 1/5, 1/2, 1. mu is proportional to 3, 2, 1, 4, and psi(q) = q^2.
    """
    P = tuple(row[:k] for row in exact.preferences("7/10 3/5 1/5 9/10 1/2 1")[:k])
    weights = (3, 2, 1, 4)[:k]
    return P, tuple(Fraction(w, sum(weights)) for w in weights), tuple(tuple(p * p for p in row) for row in P)


def _equations(unknowns: Any, values: Any) -> list[Any]:
    if not isinstance(unknowns, list):
        return [unknowns == z3.Q(values.numerator, values.denominator)]
    return [e for unknown, value in zip(unknowns, values, strict=True) for e in _equations(unknown, value)]


def solve(conditions: list[Any]) -> z3.ModelRef | None:
    """Values that meet all conditions, or None if there are none.

    Raises:
        AssertionError: z3 gave up.
    """
    solver = z3.Solver()
    solver.set("rlimit", EFFORT)
    solver.add(*conditions)
    answer = solver.check()
    assert answer != z3.unknown, f"z3 gave up: {solver.reason_unknown()}"
    return solver.model() if answer == z3.sat else None


def reals(name: str, *shape: int) -> Any:
    """A nested list of real unknowns, ``name_0_1`` and so on."""
    if not shape:
        return z3.Real(name)
    return [reals(f"{name}_{i}", *shape[1:]) for i in range(shape[0])]


def preference_matrix(k: int, name: str = "P") -> tuple[list[list[Any]], list[Any]]:
    """Unknown preferences of k responses and the conditions that make them valid."""
    P = reals(name, k, k)
    diagonal = [P[i][i] == z3.RealVal("1/2") for i in range(k)]
    pairs = [z3.And(P[i][j] >= 0, P[i][j] <= 1, P[i][j] + P[j][i] == 1) for i, j in combinations(range(k), 2)]
    return P, diagonal + pairs


def distribution(k: int, name: str, *, full_support: bool = False) -> tuple[list[Any], list[Any]]:
    """An unknown distribution over k responses and the conditions that make it one."""
    p = reals(name, k)
    return p, [*(entry > 0 if full_support else entry >= 0 for entry in p), z3.Sum(p) == 1]


def scalarized(P: list[list[Any]], *, strict: bool) -> tuple[list[list[Any]], list[Any]]:
    """An unknown table A = psi(P) of any increasing psi: only the order of P's entries ties it down."""
    k = len(P)
    A = reals("A", k, k)
    entries = [(P[i][j], A[i][j]) for i in range(k) for j in range(k)]
    order = [
        z3.And((p < q) == (a < b), (p == q) == (a == b))
        if strict
        else z3.And(z3.Implies(p < q, a <= b), z3.Implies(q < p, b <= a), z3.Implies(p == q, a == b))
        for (p, a), (q, b) in combinations(entries, 2)
    ]
    return A, order


def largest(values: list[Any]) -> Any:
    """max of real unknowns."""
    best = values[0]
    for candidate in values[1:]:
        best = z3.If(candidate > best, candidate, best)
    return best

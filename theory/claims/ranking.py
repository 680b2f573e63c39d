"""Section 3.1: should, and does, the optimal policy reflect an underlying ranking of responses?

The paper motivates invariance by it: "human preferences are fundamentally ordinal; the optimal policy
should reflect the underlying ranking". pi* answers each comparator with its best response, which need
not be the response that any ranking puts first.
"""

import numpy as np
import z3

from inspo.objectives import best_responses, optimality_gap
from theory import exact, solver, strategies
from theory.evidence import Claim, Role, says
from theory.exact import HALF, Matrix, W
from theory.proved import proof_of
from theory.strategies import Array

CLAIM = Claim(
    id="ranking",
    paper="Sec. 3.1, text",
    statement="The optimal policy should reflect the underlying ranking of responses, not artifacts of psi; pi* does.",
    truth=(
        says(
            "pi* depends on how much more often a response is preferred, not only on which one is.",
            "same_ranking_other_policy",
        ),
        says(
            "Even where one response beats every other, pi* may give another one; so weak stochastic "
            "transitivity is not enough.",
            "a_winner_is_not_always_given",
            "search_finds_a_winner_passed_over",
        ),
        says(
            "Strong stochastic transitivity is enough: then the winner is a best response to all, and pi* "
            "gives it to every comparator.",
            "strong_transitivity_suffices",
            "strong_transitivity_is_enough",
            "strongly_transitive_tables_have_no_gap",
        ),
    ),
    missing="strong stochastic transitivity: P(a > b), P(b > c) >= 1/2 imply P(a > c) >= max of the two",
    witness="W: y2 beats y1 and y3, and y1 beats y3 by more: pi*(. | y3) = y1",
)


def winner(P: Matrix) -> set[int]:
    """The responses that beat or tie every response."""
    return {i for i, row in enumerate(P) if min(row) >= HALF}


@CLAIM.check(Role.REFUTED, "exact")
def a_winner_is_not_always_given() -> str:
    """W is transitive, y2 over y1 over y3, and pi* answers y3 with y1: 9/10 > 3/5."""
    assert winner(W) == {1}
    assert exact.best_responses(W) == [{1}, {1}, {0}]
    return "pi*(. | y1, y2, y3) = y2, y2, y1"


@CLAIM.check(Role.REFUTED, "exact")
def same_ranking_other_policy() -> str:
    """Two preferences with the same winner of every pair and different pi*."""
    other = exact.preferences("3/10 3/5 9/10")
    assert all(
        (p > HALF) == (q > HALF) for row, row2 in zip(W, other, strict=True) for p, q in zip(row, row2, strict=True)
    )
    assert exact.best_responses(other) == [{1}, {1}, {1}]
    return "P13 = 9/10, P23 = 3/5 -> y1; P13 = 3/5, P23 = 9/10 -> y2"


@CLAIM.check(Role.REFUTED, "search")
def search_finds_a_winner_passed_over() -> str:
    """A search over three responses finds a clear ranking whose first is not always what pi* answers."""

    def passed_over(P: Array) -> bool:
        clear = (P[0, 1] > HALF) & (P[0, 2] > HALF) & (P[1, 2] > HALF)
        return bool(clear and not best_responses(P)[0].all())

    strategies.find_one(strategies.preference_matrices(3), passed_over)
    return "found within 5000 tables: y1 over y2 over y3, and y2 the better answer to y3"


@CLAIM.check(Role.REPAIRED, "z3")
def strong_transitivity_is_enough() -> str:
    """K = 3, 4: under strong stochastic transitivity a response that beats all is a best response to all."""
    for k in (3, 4):
        P, valid = solver.preference_matrix(k)
        half, r = z3.Q(1, 2), range(k)
        strong = [
            z3.Implies(z3.And(P[a][b] >= half, P[b][c] >= half), z3.And(P[a][c] >= P[a][b], P[a][c] >= P[b][c]))
            for a in r for b in r for c in r
        ]  # fmt: skip
        beats_all = [P[0][j] >= half for j in r]
        solver.prove([*valid, *strong, *beats_all], z3.And([P[0][j] >= P[i][j] for i in r for j in r]))
    return "proved for K = 3, 4"


@CLAIM.check(Role.REPAIRED, "property")
def strongly_transitive_tables_have_no_gap() -> str:
    """Random tables that pass the test of strong stochastic transitivity have a common best response."""
    met = 0

    def holds(P: Array) -> None:
        nonlocal met
        half = exact.HALF
        k = len(P)
        triples = ((a, b, c) for a in range(k) for b in range(k) for c in range(k))
        if all(P[a, c] >= max(P[a, b], P[b, c]) for a, b, c in triples if P[a, b] >= half and P[b, c] >= half):
            met += 1
            assert best_responses(P).all(axis=1).any()
            assert optimality_gap(P, np.array(exact.uniform(k))) == 0

    tables = strategies.preference_matrices(3) | strategies.preference_matrices(4)
    tried = strategies.for_all(holds, tables, tries=200)
    assert met >= tried / 10
    return f"{tried} tables, a tenth or more strongly transitive; of these none has a gap"


CLAIM.check(Role.REPAIRED, "proof")(proof_of("strong_transitivity_suffices"))

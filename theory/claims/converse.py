"""Section 3.2, after Theorem 3.2: is pi_bar optimal only if Bradley-Terry holds?

The paper goes from "separable preferences leave no gap" to "no gap only for separable preferences". The exact condition
is weaker: one response that is a best response to every other. And Section 3.1: does pi* reflect an underlying ranking?
It answers each comparator with its best response, which need not be the one that any ranking puts first.
"""

from fractions import Fraction
from itertools import combinations, permutations, product

import numpy as np

from inspo.objectives import best_responses, optimality_gap, restricted_optima
from theory import exact, solver, strategies
from theory.evidence import Claim, Role, says
from theory.exact import HALF, Matrix, W
from theory.proved import proof_of
from theory.strategies import Array, Problem, Scalarization

CLAIM = Claim(
    id="converse",
    paper="Sec. 3.2, text; Sec. 3.1, text",
    quote=(
        "pi_bar is optimal only if the BT model (1) is correctly specified ... The optimal policy should reflect the "
        "underlying ranking of responses"
    ),
    reading="Where nothing is to gain, preferences are Bradley-Terry's; and pi* gives what a ranking puts first.",
    truth=(
        says(
            "For strictly increasing psi three things are equivalent: one response is a best response to "
            "every comparator; one pi_bar serves every reference of full support; the gap is zero for one "
            "such reference, hence for all.",
            "three_equivalent_conditions",
        ),
        says(
            "So pi_bar can be optimal without Bradley-Terry scores, and without any separable psi.",
            "best_response_without_bradley_terry",
            "separable_for_no_increasing_psi",
        ),
        says(
            "With two responses there is always such a response.",
            "two_responses_never_gap",
            "two_responses_always_have_one",
        ),
        says(
            "Preferences drawn independently from one law, symmetric about 1/2 and without atoms, have one "
            "with probability 3/8, 5/64, 1195/110592 at K = 3, 4, 5.",
            "how_often_for_any_symmetric_law",
            "how_often_by_chance",
        ),
        says(
            "Under other laws it can be more.",
            "other_laws_have_other_shares",
        ),
        says(
            "As for rankings: pi* depends on how much more often a response is preferred, not only on which one is; "
            "even where one response beats every other, pi* may give another one, so weak stochastic transitivity is "
            "not enough.",
            "same_ranking_other_policy",
            "a_winner_is_not_always_given",
        ),
        says(
            "Strong stochastic transitivity, P(a > b), P(b > c) >= 1/2 imply P(a > c) >= max of the two, is: then the "
            "winner is a best response to all, and pi* gives it to every comparator.",
            "strong_transitivity_suffices",
            "strongly_transitive_tables_have_no_gap",
        ),
    ),
    witness=says(
        "P12 = 4/5, P13 = 3/4, P23 = 7/10: always y1, no gap for any psi and mu, separable for no increasing psi",
        "best_response_without_bradley_terry",
        "separable_for_no_increasing_psi",
    ),
)


P = exact.preferences("4/5 3/4 7/10")


@CLAIM.check(Role.REFUTED, "exact")
def best_response_without_bradley_terry() -> str:
    """y1 is best against all three, while odds 4 * 7/3 differ from 3, so no Bradley-Terry scores exist."""
    assert exact.common_best_response(P) == {0}
    assert exact.odds(P[0][1]) * exact.odds(P[1][2]) == Fraction(28, 3)
    assert exact.odds(P[0][2]) == 3
    for mu in (exact.uniform(3), exact.fractions("1/100 1/100 98/100")):
        assert exact.best_value(P, mu) == max(exact.scores(P, mu))
    return "odds(1,2) odds(2,3) = 28/3, odds(1,3) = 3; gap 0"


@CLAIM.check(Role.REFUTED, "z3")
def separable_for_no_increasing_psi() -> str:
    """No a, b and strictly increasing psi give psi(P[i, j]) = a_i + b_j on the witness."""
    a, b = solver.reals("a", 3), solver.reals("b", 3)
    A = [[a[i] + b[j] for j in range(3)] for i in range(3)]
    cells = [(i, j) for i in range(3) for j in range(3)]
    order = [A[i][j] < A[k][m] for i, j in cells for k, m in cells if P[i][j] < P[k][m]]
    ties = [A[i][j] == A[k][m] for i, j in cells for k, m in cells if P[i][j] == P[k][m]]
    assert solver.solve([*order, *ties]) is None
    # The same conditions can be met by a separable table, so that they are not void.
    Q = exact.bradley_terry([4, 2, 1])
    assert solver.solve([A[i][j] < A[k][m] for i, j in cells for k, m in cells if Q[i][j] < Q[k][m]]) is not None
    return "proved: the order of the entries contradicts a(y) + b(y')"


@CLAIM.check(Role.INSTEAD, "property")
def three_equivalent_conditions() -> str:
    """No gap at one full-support reference <=> common best response <=> one pi_bar for all references."""

    def equivalent(problem: Problem, scalarization: Scalarization) -> None:
        table, mu = problem
        k = len(mu)
        psi = scalarization.psi
        common = best_responses(table).all(axis=1)
        assert common.any() == (optimality_gap(table, mu, psi) == 0)
        # A reference with almost all its mass on y_j decides by column j alone, up to ties.
        near_vertices = [
            np.array([1 - (k - 1) * tiny if i == j else tiny for i in range(k)])
            for j in range(k)
            for tiny in (Fraction(1, 10**60),)
        ]
        always_optimal = np.all([restricted_optima(table, nu, psi) for nu in near_vertices], axis=0)
        assert common.any() == always_optimal.any()

    tried, psi = 0, strategies.scalarizations(strict=True)
    for k in (3, 4, 5):
        problems = strategies.problems(full_support=True, min_k=k, max_k=k)
        covers = strategies.PROBLEMS | strategies.SCALARIZATIONS
        tried += strategies.for_all(equivalent, problems, psi, tries=60, covers=covers)
    return f"{tried} problems, a third each of K = 3, 4, 5"


@CLAIM.check(Role.INSTEAD, "symbolic")
def how_often_by_chance() -> str:
    """P(common best response) for independent uniform preferences is an integral of prod (u_j + u_k).

    y1 must beat everyone, u_j = 2 P1j - 1 > 0, and P_jk must lie between 1 - P1j and P1k, an interval
    of length (u_j + u_k) / 2. Hence K 2^-(K-1) 2^-C(K-1, 2) E prod_{j<k} (u_j + u_k), u uniform.
    """
    import sympy as sp

    found = []
    for k in (3, 4, 5):
        u = sp.symbols(f"u2:{k + 1}")
        product = sp.Mul(*[u[a] + u[b] for a in range(k - 1) for b in range(a)])
        terms = sp.Poly(sp.expand(product), *u).terms()
        mean = sum(c * sp.prod([sp.Rational(1, power + 1) for power in powers]) for powers, c in terms)
        found.append(sp.Rational(k, 2 ** (k - 1 + (k - 1) * (k - 2) // 2)) * mean)
    assert found == [sp.Rational(3, 8), sp.Rational(5, 64), sp.Rational(1195, 110592)]
    return f"K = 3, 4, 5: 3/8, 5/64, 1195/110592 = {float(found[2]):.5f}"


@CLAIM.check(Role.INSTEAD, "exact")
def how_often_for_any_symmetric_law() -> str:
    """K = 3, 4: of all orders of |P - 1/2| and all signs 3/8 and 5/64 have a common best response.

    Whether one is best against all is decided by the signs and the order of the |P_ij - 1/2|, i < j, which are
    uniform and independent where these entries are drawn alike from a law symmetric about 1/2 without atoms.
    """
    found = []
    for k in (3, 4):
        pairs = list(combinations(range(k), 2))
        sizes = np.array(list(permutations(range(1, len(pairs) + 1))))
        signs = np.array(list(product((-1, 1), repeat=len(pairs))))
        entries = (sizes[:, None, :] * signs[None, :, :]).reshape(-1, len(pairs))
        table = np.zeros((len(entries), k, k), dtype=int)
        for column, (i, j) in enumerate(pairs):
            table[:, i, j], table[:, j, i] = entries[:, column], -entries[:, column]
        common = (table == table.max(axis=1, keepdims=True)).all(axis=2).any(axis=1)
        found.append(Fraction(int(common.sum()), len(entries)))
    assert found == [Fraction(3, 8), Fraction(5, 64)]
    return f"{found[0]} and {found[1]}"


@CLAIM.check(Role.INSTEAD, "numeric")
def other_laws_have_other_shares() -> str:
    """Entries above the diagonal from Beta(5, 2), which is not symmetric: about .478, .153, .037 of 20000 draws."""
    rng, shares = np.random.default_rng(0), []
    for k, expected in ((3, 0.478), (4, 0.153), (5, 0.037)):
        above = np.triu(rng.beta(5, 2, size=(20_000, k, k)), 1)
        tables = above + np.tril(1 - above.swapaxes(1, 2), -1) + np.eye(k) / 2
        share = float((tables == tables.max(axis=1, keepdims=True)).all(axis=2).any(axis=1).mean())
        assert abs(share - expected) < 0.015
        shares.append(f"{share:.3f}")
    return f"K = 3, 4, 5: {', '.join(shares)}"


@CLAIM.check(Role.INSTEAD, "property")
def two_responses_always_have_one() -> str:
    """K = 2: there is always a common best response, so never a gap."""

    def no_gap(problem: Problem, scalarization: Scalarization) -> None:
        assert optimality_gap(*problem, scalarization.psi) == 0

    return f"{strategies.for_all(no_gap, strategies.problems(max_k=2), strategies.scalarizations(), tries=60)} problems"


def winner(P: Matrix) -> set[int]:
    """The responses that beat or tie every response."""
    return {i for i, row in enumerate(P) if min(row) >= HALF}


@CLAIM.check(Role.INSTEAD, "exact")
def a_winner_is_not_always_given() -> str:
    """W is transitive, y2 over y1 over y3, and pi* answers y3 with y1: 9/10 > 3/5."""
    assert winner(W) == {1}
    assert exact.best_responses(W) == [{1}, {1}, {0}]
    return "pi*(. | y1, y2, y3) = y2, y2, y1"


@CLAIM.check(Role.INSTEAD, "exact")
def same_ranking_other_policy() -> str:
    """Two preferences with the same winner of every pair and different pi*."""
    other = exact.preferences("3/10 3/5 9/10")
    assert all(
        (p > HALF) == (q > HALF) for row, row2 in zip(W, other, strict=True) for p, q in zip(row, row2, strict=True)
    )
    assert exact.best_responses(other) == [{1}, {1}, {1}]
    return "P13 = 9/10, P23 = 3/5 -> y1; P13 = 3/5, P23 = 9/10 -> y2"


@CLAIM.check(Role.INSTEAD, "property")
def strongly_transitive_tables_have_no_gap() -> str:
    """Random tables that pass the test of strong stochastic transitivity have a common best response."""

    def transitive(P: Array) -> bool:
        triples = ((P[a, b], P[b, c], P[a, c]) for a, b, c in product(range(len(P)), repeat=3))
        return all(whole >= max(first, then) for first, then, whole in triples if min(first, then) >= exact.HALF)

    def holds(P: Array) -> None:
        if transitive(P):
            assert best_responses(P).all(axis=1).any()
            assert optimality_gap(P, np.array(exact.uniform(len(P)))) == 0

    tables = strategies.preference_matrices(3) | strategies.preference_matrices(4)
    tried = strategies.for_all(holds, tables, tries=200, covers={"strong stochastic transitivity": transitive})
    return f"{tried} tables, a tenth or more strongly transitive; of these none has a gap"


CLAIM.check(Role.INSTEAD, "proof")(proof_of("two_responses_never_gap"))
CLAIM.check(Role.INSTEAD, "proof")(proof_of("strong_transitivity_suffices"))

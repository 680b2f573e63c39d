"""Theorem 3.2 (iii): does separability make the prompt-only policy optimal?

The paper's separability is psi(P(y > y')) proportional to c(y) - c(y'). What the argument uses is only
that the comparator's part does not depend on the answer: psi(P(y > y')) = a(y) + b(y').
"""

from fractions import Fraction

import numpy as np
import z3
from hypothesis import strategies as st

from inspo.objectives import apply_psi, best_responses, conditioned_value, optimality_gap, restricted_optima, scores
from inspo.preferences import bradley_terry
from theory import exact, solver, strategies
from theory.evidence import Claim, Role, says
from theory.proved import proof_of
from theory.strategies import Array, Problem, Scalarization

CLAIM = Claim(
    id="thm-3.2-iii",
    paper="Thm 3.2 (iii)",
    quote=(
        "pi* coincides with pi_bar if the transformed preference probability satisfies the condition that Psi(P(y > y' "
        "| x)) ... c(x, y) - c(x, y') for some function c"
    ),
    reading="If psi(P(y > y')) is proportional to c(y) - c(y'), then pi* is pi_bar.",
    truth=(
        says(
            "If psi(P(y > y')) = a(y) + b(y'), the two have the same value, and every optimal prompt-only "
            "policy is an optimal conditioned one.",
            "separable_no_gap",
            "separable_means_no_gap",
            "bradley_terry_has_no_gap",
        ),
        says(
            "The sets coincide only where a has one maximizer: with ties, pi* may mix differently against "
            "each comparator.",
            "separable_means_no_gap",
            "ties_break_equality",
            "search_finds_a_tie",
        ),
        says(
            "The paper's form, c(y) - c(y') times a constant, is met by no P for psi = identity; the form "
            "a(y) + b(y') is.",
            "identity_is_never_of_that_form",
            "identity_can_be_separable",
        ),
        says(
            "If psi(P) only lies within e of a(y) + b(y'), the gap is at most 2e in every column.",
            "nearly_separable_means_small_gap",
        ),
        says(
            "On average it is at most 2e(1 - 1/K), which is attained for K >= 3.",
            "nearly_separable_gap",
            "the_bound_on_random_tables",
            "nearly_separable_gap_attained",
            "the_sharp_bound_is_attained",
        ),
    ),
    missing=says(
        "'coincides' read as 'has the same value', or one best response",
        "separable_means_no_gap",
        "bradley_terry_has_no_gap",
    ),
    witness=says(
        "P = 1/2 everywhere: answering each comparator with itself is optimal, and not prompt-only",
        "ties_break_equality",
    ),
)


@CLAIM.check(Role.REFUTED, "exact")
def ties_break_equality() -> str:
    """K = 2, P = 1/2: the policy that copies its comparator is optimal and depends on it."""
    P, mu = exact.preferences("1/2"), exact.uniform(2)
    copies = (exact.fractions("1 0"), exact.fractions("0 1"))
    assert exact.conditioned_value(copies, P, mu) == exact.best_value(P, mu) == max(exact.scores(P, mu))
    return "pi(y' | y') = 1 is optimal"


@CLAIM.check(Role.REFUTED, "search")
def search_finds_a_tie() -> str:
    """A search over Bradley-Terry tables finds an optimal policy that depends on its comparator."""

    def copies_and_is_optimal(P: Array) -> bool:
        mu = np.array(exact.uniform(len(P)))
        return bool(conditioned_value(np.eye(len(P), dtype=int) * Fraction(1), P, mu) == scores(P, mu).max())

    strengths = st.lists(st.integers(1, 9), min_size=2, max_size=4)
    found = strategies.find_one(strengths.map(lambda s: np.array(exact.bradley_terry(s))), copies_and_is_optimal)
    assert (found == exact.HALF).all()
    return f"found K = {len(found)}, P = 1/2: copying the comparator is as good as pi_bar"


@CLAIM.check(Role.INSTEAD, "z3")
def identity_is_never_of_that_form() -> str:
    """The paper's condition is never met by psi = identity, P's diagonal being 1/2: there (iii) says nothing."""
    P, valid = solver.preference_matrix(2)
    c, scale = z3.Reals("c_0 c_1"), z3.Real("scale")
    difference = z3.And([P[i][j] == scale * (c[i] - c[j]) for i in range(2) for j in range(2)])
    solver.prove(valid, z3.Not(difference))
    return "proved: P is no multiple of c(y) - c(y')"


@CLAIM.check(Role.REPAIRED, "z3")
def separable_means_no_gap() -> str:
    """K = 2, 3, 4: if A[i, j] = a_i + b_j, the row with the largest a is best in every column."""
    for k in (2, 3, 4):
        a, b = solver.reals("a", k), solver.reals("b", k)
        A = [[a[i] + b[j] for j in range(k)] for i in range(k)]
        largest = z3.And([a[0] >= a[i] for i in range(k)])
        solver.prove([largest], z3.And([A[0][j] >= A[i][j] for i in range(k) for j in range(k)]))
        unique = z3.And([a[0] > a[i] for i in range(1, k)])
        solver.prove([unique], z3.And([A[0][j] > A[i][j] for i in range(1, k) for j in range(k)]))
    return "proved for K = 2, 3, 4, unique optima included"


@CLAIM.check(Role.REPAIRED, "property")
def bradley_terry_has_no_gap() -> str:
    """Bradley-Terry preferences have no gap for any psi: the strongest response is best against all."""

    def no_gap(strengths: list[int], scalarization: Scalarization) -> None:
        P = np.array(exact.bradley_terry(strengths))
        mu = np.array(exact.uniform(len(strengths)))
        assert optimality_gap(P, mu, scalarization.psi) == 0
        prompt_only = restricted_optima(P, mu, scalarization.psi)
        if scalarization.strict:
            assert (prompt_only == np.array([s == max(strengths) for s in strengths])).all()
            assert (best_responses(P).T == prompt_only).all()

    strengths = st.lists(st.integers(1, 9), min_size=2, max_size=6)
    tried = strategies.for_all(no_gap, strengths, strategies.scalarizations())
    logits = apply_psi(bradley_terry([0.3, -1.0, 0.7]), "log_odds")
    assert np.allclose(logits, np.subtract.outer([0.3, -1.0, 0.7], [0.3, -1.0, 0.7]))
    return f"{tried} Bradley-Terry problems"


@CLAIM.check(Role.INSTEAD, "exact")
def identity_can_be_separable() -> str:
    """P[i, j] = 1/2 + (c_i - c_j) is separable for identity, in the form a(y) + b(y')."""
    c = exact.fractions("3/10 1/10 0")
    P = exact.preferences([exact.HALF + c[i] - c[j] for i, j in ((0, 1), (0, 2), (1, 2))])
    assert P == exact.preferences("7/10 4/5 3/5")
    for mu in (exact.uniform(3), exact.fractions("1/10 1/10 4/5")):
        assert exact.best_value(P, mu) == max(exact.scores(P, mu))
    return "P12, P13, P23 = 7/10, 4/5, 3/5: no gap"


@CLAIM.check(Role.INSTEAD, "z3")
def nearly_separable_means_small_gap() -> str:
    """K = 2, 3: if psi(P) is within e of a(y) + b(y'), the row of the largest a loses at most 2e."""
    for k in (2, 3):
        a, b, A, e = solver.reals("a", k), solver.reals("b", k), solver.reals("A", k, k), z3.Real("e")
        cells = [(i, j) for i in range(k) for j in range(k)]
        near = [z3.And(A[i][j] - a[i] - b[j] <= e, a[i] + b[j] - A[i][j] <= e) for i, j in cells]
        largest = [a[0] >= a[i] for i in range(k)]
        solver.prove([*near, *largest], z3.And([A[i][j] - A[0][j] <= 2 * e for i, j in cells]))
    return "proved for K = 2, 3 in every column, so also on average"


@CLAIM.check(Role.INSTEAD, "exact")
def the_sharp_bound_is_attained() -> str:
    """K = 3 to 8 in a cycle, psi = 1[q = 1], so within e = 1/2 of a = 0, b = 1/2: the gap is 2e(1 - 1/K)."""
    for k in range(3, 9):
        A = tuple(tuple(Fraction(int((j - i) % k == 1)) for j in range(k)) for i in range(k))
        e, mu = max(abs(entry - exact.HALF) for row in A for entry in row), exact.uniform(k)
        assert exact.best_value(A, mu) - max(exact.scores(A, mu)) == 2 * e * (1 - Fraction(1, k))
    return "gap 1 - 1/K, e = 1/2"


@CLAIM.check(Role.INSTEAD, "property")
def the_bound_on_random_tables() -> str:
    """gap <= 2 (1 - 1/K) max |psi(P) - a - b|, a and b the additive fit by averages, or a = 0 and b midway.

    Of the two fits the closer counts.
    """
    ratios = []

    def bounded(problem: Problem, scalarization: Scalarization) -> None:
        P, mu = problem
        A = apply_psi(P, scalarization.psi)
        k = Fraction(len(mu))
        a, b = A.sum(axis=1) / k, A.sum(axis=0) / k - A.sum() / k**2
        error = min(max(abs(A - a[:, None] - b[None, :]).flat), (A.max() - A.min()) / 2)
        gap, bound = optimality_gap(P, mu, scalarization.psi), 2 * (1 - 1 / k) * error
        assert gap <= bound
        ratios.append(gap / bound if bound else Fraction(0))

    tried = strategies.for_all(bounded, strategies.cycles(), strategies.steps(), tries=60)
    for size in (3, 4, 5):
        drawn = strategies.problems(min_k=size, max_k=size), strategies.scalarizations()
        covers = strategies.PROBLEMS | strategies.SCALARIZATIONS
        tried += strategies.for_all(bounded, *drawn, tries=60, covers=covers)
    return f"{tried} problems, a quarter or more each of K = 3, 4, 5; {strategies.nearest(ratios, 1)}"


CLAIM.check(Role.REPAIRED, "proof")(proof_of("separable_no_gap"))


CLAIM.check(Role.INSTEAD, "proof")(proof_of("nearly_separable_gap"))
CLAIM.check(Role.INSTEAD, "proof")(proof_of("nearly_separable_gap_attained"))

"""Theorem 3.2 (i): is the best conditioned policy invariant to psi and to the reference?

Against a known comparator y_j, the value of answering y_i is psi(P[i, j]), so the best answers are
those with the largest P[i, j]: B(j). A strictly increasing psi keeps that set, whatever it does to
the numbers. The proof in Appendix B asks for "non-decreasing" and speaks of one y_max.
"""

from fractions import Fraction

import numpy as np
import z3
from hypothesis import strategies as st

from inspo.objectives import apply_psi, best_responses, conditioned_value
from theory import exact, solver, strategies
from theory.evidence import Claim, Role, says
from theory.proved import proof_of
from theory.strategies import Array, Problem, Scalarization

CLAIM = Claim(
    id="thm-3.2-i",
    paper="Eq. (5), Thm 3.2 (i)",
    quote="pi* is invariant to Psi and pi_ref ... Psi: [0, 1] -> R can be any non-decreasing function",
    reading="pi* exists, and is the same for all non-decreasing psi and all references.",
    truth=(
        says(
            "For strictly increasing psi, finite on the preferences, a policy is optimal if and only if, for "
            "every comparator y' in the support of mu, it answers only with best responses to y'.",
            "optimal_iff_best_responses",
            "strict_psi_keeps_the_optima",
            "same_best_responses",
            "optimal_if_and_only_if_supported",
        ),
        says(
            "For merely non-decreasing psi such policies are still optimal, but not they alone.",
            "best_responses_optimal_if_nondecreasing",
            "weak_psi_keeps_optimality",
            "a_step_adds_optima",
        ),
        says(
            "Where psi is infinite V says nothing.",
            "log_odds_of_certainty",
        ),
        says(
            "Off the support the policy is arbitrary.",
            "off_the_support_anything_goes",
        ),
        says(
            "Among infinitely many responses no pi* need exist: each may be beaten by the next.",
            "none_is_best_among_infinitely_many",
        ),
        says(
            "So the optima are the same for any two such psi and any two references of one support.",
            "optima_invariant",
        ),
    ),
    missing=says(
        "finitely many responses; psi strictly increasing, and finite, so P in (0, 1) for log-odds; comparators in the "
        "support of mu",
        "none_is_best_among_infinitely_many",
        "strict_psi_keeps_the_optima",
        "optimal_if_and_only_if_supported",
        "log_odds_of_certainty",
        "off_the_support_anything_goes",
    ),
    witness=says(
        "P12 = 3/5, psi = 1[q >= 1/2]: against y2 both responses are optimal, by identity y1 alone",
        "a_step_adds_optima",
    ),
)


@CLAIM.check(Role.REFUTED, "exact")
def a_step_adds_optima() -> str:
    """K = 2, P12 = 3/5: the policy that always answers y2 is optimal for a step and not for identity."""
    P, mu = exact.preferences("3/5"), exact.uniform(2)
    always_y2 = (exact.fractions("0 0"), exact.fractions("1 1"))
    assert exact.conditioned_value(always_y2, P, mu) == exact.fractions("9/20")[0]
    assert exact.best_value(P, mu) == exact.fractions("11/20")[0]
    step = tuple(tuple(1 if p >= exact.HALF else 0 for p in row) for row in P)
    assert [max(column) for column in zip(*step, strict=True)] == [1, 1]
    assert step == ((1, 1), (0, 1)), "so y2 against y2 is as good as y1"
    return "against y2: {y1, y2} by the step, {y1} by identity"


@CLAIM.check(Role.REFUTED, "exact")
def off_the_support_anything_goes() -> str:
    """mu = (1, 0): against y2, which never comes up, the worst answer is as good as the best."""
    P, mu = exact.preferences("3/5"), exact.fractions("1 0")
    for against_y2 in (exact.fractions("1 0"), exact.fractions("0 1")):
        policy = tuple(zip(exact.fractions("1 0"), against_y2, strict=True))
        assert exact.conditioned_value(policy, P, mu) == exact.best_value(P, mu)
    return "two optimal policies that differ against y2"


@CLAIM.check(Role.REFUTED, "exact")
def none_is_best_among_infinitely_many() -> str:
    """P(y_n > y_m) = 1 - 1 / (2 (1 + n - m)), n >= m: of the first K the last is best against all, for K = 2 to 12.

    So of all of them none is, against any: the probability grows with n toward 1, which none attains.
    """
    for k in range(2, 13):
        P = exact.preferences([Fraction(1, 2 * (1 + m - n)) for n in range(k) for m in range(n + 1, k)])
        assert exact.best_responses(P) == [{k - 1}] * k
    against_first = [1 - Fraction(1, 2 * (1 + n)) for n in range(100)]
    assert against_first == sorted(set(against_first))
    assert max(against_first) < 1
    return "the last of the first K, whatever K: no pi* for all of them"


@CLAIM.check(Role.REFUTED, "numeric")
def log_odds_of_certainty() -> str:
    """K = 2, P12 = 1: V is +inf for a policy that errs, inf - inf for others; the library refuses."""
    A = np.array([[0.0, np.inf], [-np.inf, 0.0]])
    errs = np.array([[1.0, 0.01], [0.0, 0.99]])
    used = errs > 0
    assert (errs[used] * A[used]).sum() / 2 == np.inf
    try:
        conditioned_value(errs, [[0.5, 1], [0, 0.5]], [0.5, 0.5], "log_odds")
    except ValueError as error:
        assert "P[0, 1]" in str(error)  # noqa: PT017 - the evidence also runs outside pytest
    else:
        raise AssertionError("an infinite psi was accepted")
    return "V = +inf although y1 is answered to y2 one time in a hundred"


@CLAIM.check(Role.REPAIRED, "z3")
def strict_psi_keeps_the_optima() -> str:
    """K = 2, 3, 4, any strictly increasing psi: optimal against y_j if and only if supported on B(j)."""
    for k in (2, 3, 4):
        P, valid = solver.preference_matrix(k)
        A, increasing = solver.scalarized(P, strict=True)
        policy, distribution = solver.distribution(k, "pi")
        for j in range(k):
            best_psi, best_p = (solver.largest([table[i][j] for i in range(k)]) for table in (A, P))
            loss = z3.Sum([policy[i] * (best_psi - A[i][j]) for i in range(k)])
            supported = z3.And([z3.Implies(policy[i] > 0, P[i][j] == best_p) for i in range(k)])
            example = list(zip((P, policy, A), solver.typical(k), strict=True))
            solver.prove([*valid, *increasing, *distribution], (loss == 0) == supported, example)
    return "proved for K = 2, 3, 4"


@CLAIM.check(Role.REPAIRED, "z3")
def weak_psi_keeps_optimality() -> str:
    """K = 2, 3, 4, any non-decreasing psi: a best response by P is one by psi."""
    for k in (2, 3, 4):
        P, valid = solver.preference_matrix(k)
        A, increasing = solver.scalarized(P, strict=False)
        best = z3.And([P[0][1] >= P[i][1] for i in range(k)])
        typical, _, squares = solver.typical(k)
        conclusion = z3.And([A[0][1] >= A[i][1] for i in range(k)])
        for values in (squares, [[Fraction(int(p > exact.HALF)) for p in row] for row in typical]):
            solver.prove([*valid, *increasing, best], conclusion, [(P, typical), (A, values)])
    return "proved for K = 2, 3, 4"


@CLAIM.check(Role.REPAIRED, "property")
def same_best_responses() -> str:
    """The best responses by psi(P), column by column, are best_responses(P)."""

    def same(problem: Problem, scalarization: Scalarization) -> None:
        A = apply_psi(problem[0], scalarization.psi)
        by_psi = np.asarray(A == A.max(axis=0), dtype=bool)
        assert (by_psi == best_responses(problem[0])).all()

    drawn = strategies.problems(interior=True), strategies.scalarizations(strict=True, log_odds=True)
    covers = strategies.PROBLEMS | strategies.SCALARIZATIONS
    return f"{strategies.for_all(same, *drawn, covers=covers)} problems and scalarizations"


@CLAIM.check(Role.REPAIRED, "property")
def optimal_if_and_only_if_supported() -> str:
    """A random policy has V = V* exactly when it answers within B(j) for every j in the support."""

    @st.composite
    def drawn(draw: st.DrawFn) -> tuple[Array, Array, Array, Scalarization]:
        P, mu = draw(strategies.problems())
        policy = draw(strategies.conditioned_policies(len(mu)))
        if draw(st.booleans()):  # half of the time, move the policy into the best responses
            best = best_responses(P)
            policy = np.array(
                [[Fraction(int(b), int(n)) for b, n in zip(row, best.sum(axis=0), strict=True)] for row in best]
            )
        return P, mu, policy, draw(strategies.scalarizations(strict=True))

    def errs(P: Array, mu: Array, policy: Array) -> bool:
        return bool(((policy > 0) & ~best_responses(P) & (mu > 0)).any())

    def equivalent(case: tuple[Array, Array, Array, Scalarization]) -> None:
        P, mu, policy, scalarization = case
        A = apply_psi(P, scalarization.psi)
        optimal = conditioned_value(policy, P, mu, scalarization.psi) == (mu * A.max(axis=0)).sum()
        assert optimal == (not errs(P, mu, policy))

    covers: strategies.Regions = {
        "an optimal policy": lambda case: not errs(*case[:3]),
        "another policy, which sees the comparator": lambda case: errs(*case[:3]) and (case[2] != case[2][:, :1]).any(),
        "no common best response": lambda case: strategies.no_common_best_response(case[:2]),
    }
    return f"{strategies.for_all(equivalent, drawn(), covers=covers)} policies"


CLAIM.check(Role.REPAIRED, "proof")(proof_of("optimal_iff_best_responses"))
CLAIM.check(Role.REPAIRED, "proof")(proof_of("optima_invariant"))
CLAIM.check(Role.REPAIRED, "proof")(proof_of("best_responses_optimal_if_nondecreasing"))

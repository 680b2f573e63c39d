"""Theorem 3.2 (ii): is the conditioned optimum worth at least the prompt-only one?

V(pi*) = sum_j mu_j max_i A[i, j] and V(pi_bar) = max_i sum_j mu_j A[i, j] with A = psi(P): the mean of
the maxima against the maximum of the means. How large the gap can be the
paper leaves open: pi_bar does at least as well as the reference itself, and as answering uniformly at random.
"""

from fractions import Fraction
from math import log

import numpy as np
import z3

from inspo.objectives import apply_psi, best_responses, optimality_gap
from theory import exact, solver, strategies
from theory.evidence import Claim, Role, says
from theory.exact import W
from theory.proved import proof_of
from theory.strategies import Problem, Scalarization

CLAIM = Claim(
    id="thm-3.2-ii",
    paper="Thm 3.2 (ii)",
    quote="The following inequality holds, which implies pi* is superior to pi_bar",
    reading="V(pi*) >= V(pi_bar): the policy that sees its comparator is worth at least as much.",
    truth=(
        says(
            "True for every psi: [0, 1] -> R, as the paper has it, even a decreasing one.",
            "prompt_only_at_most_optimal",
            "never_negative",
        ),
        says(
            "For strictly increasing psi the two are equal exactly when one response is a best response to every "
            "comparator in the support of mu.",
            "never_negative",
            "no_gap_iff_common_best_response",
            "equality_is_a_common_best_response",
        ),
        says(
            "On W the gap is 1/10 by identity and .565 by log-odds.",
            "values_of_the_witness",
            "log_odds_of_the_witness",
        ),
        says(
            "By identity it is at most 1/2, for K >= 3 attained by rock-paper-scissors with certain outcomes; for K = "
            "2 it is 0.",
            "bounds_hold",
            "bound_proved",
            "one_half_is_attained",
        ),
        says(
            "By any psi it is at most (1 - 1/K)(max psi - min psi), tight for K >= 3 with psi a step; by log-odds, "
            "logit p for rock-paper-scissors, it is without bound.",
            "bounds_hold",
            "general_bound_is_attained",
            "log_odds_are_unbounded",
        ),
        says("Preferences drawn at random have a mean gap that grows with K.", "by_chance"),
    ),
    witness=says(
        "W: 7/10 against 3/5 by identity; P12 = P23 = P31 = 1, mu uniform: V* = 1, V(pi_bar) = 1/2",
        "values_of_the_witness",
        "one_half_is_attained",
    ),
)


@CLAIM.check(Role.STATED, "exact")
def values_of_the_witness() -> str:
    """W, uniform: V* = (7/10 + 1/2 + 9/10) / 3 and V(pi_bar) = 18/30."""
    mu = exact.uniform(3)
    assert exact.best_value(W, mu) == exact.fractions("7/10")[0]
    assert max(exact.scores(W, mu)) == exact.fractions("3/5")[0]
    return "7/10 - 3/5 = 1/10"


@CLAIM.check(Role.STATED, "property")
def never_negative() -> str:
    """The gap is never negative, and zero exactly at a common best response, over random problems."""

    def holds(problem: Problem, scalarization: Scalarization) -> None:
        P, mu = problem
        gap = optimality_gap(P, mu, scalarization.psi)
        assert gap >= 0
        common = best_responses(P)[:, mu > 0].all(axis=1).any()
        if scalarization.strict:
            assert (gap == 0) == common
        elif common:
            assert gap == 0

    drawn = strategies.problems(), strategies.scalarizations()
    covers = strategies.PROBLEMS | strategies.SCALARIZATIONS
    return f"{strategies.for_all(holds, *drawn, tries=200, covers=covers)} problems"


@CLAIM.check(Role.STATED, "numeric")
def log_odds_of_the_witness() -> str:
    """W, log-odds: (ln(7/3) + 0 + ln 9) / 3 less ln(27/7) / 3 is ln(49/9) / 3 = .564865."""
    V_star = (log(7 / 3) + 0 + log(9)) / 3
    gap = optimality_gap(np.array(W), np.full(3, 1 / 3), "log_odds")
    assert abs(gap - (V_star - log(27 / 7) / 3)) < 1e-12
    assert abs(gap - log(49 / 9) / 3) < 1e-12
    return f"{V_star:.6f} - {V_star - gap:.6f} = {gap:.6f}"


@CLAIM.check(Role.STATED, "z3")
def equality_is_a_common_best_response() -> str:
    """K = 2, 3, any table A and any mu of full support: gap = 0 if and only if some row is best everywhere."""
    for k in (2, 3):
        A = solver.reals("A", k, k)
        mu, distribution = solver.distribution(k, "mu", full_support=True)
        best = [solver.largest([A[i][j] for i in range(k)]) for j in range(k)]
        regret = [z3.Sum([mu[j] * (best[j] - A[i][j]) for j in range(k)]) for i in range(k)]
        common = z3.Or([z3.And([A[i][j] == best[j] for j in range(k)]) for i in range(k)])
        _, uneven, table = solver.typical(k)
        for conclusion in (z3.Or([r == 0 for r in regret]) == common, z3.And([r >= 0 for r in regret])):
            solver.prove(distribution, conclusion, [(mu, uneven), (A, table)])
    return "proved for K = 2, 3"


def rock_paper_scissors(p: Fraction) -> exact.Matrix:
    """Each of three beats the next with probability p."""
    return exact.preferences([p, 1 - p, p])


@CLAIM.check(Role.INSTEAD, "exact")
def one_half_is_attained() -> str:
    """Rock-paper-scissors with certain outcomes: every best response wins, every fixed answer wins half."""
    P, mu = rock_paper_scissors(Fraction(1)), exact.uniform(3)
    assert exact.best_value(P, mu) == 1
    assert set(exact.scores(P, mu)) == {Fraction(1, 2)}
    return "1 - 1/2 = 1/2"


@CLAIM.check(Role.INSTEAD, "exact")
def general_bound_is_attained() -> str:
    """K = 3 to 8 in a cycle, psi = 1[q = 1]: one certain winner per comparator, so 1 - 1/K."""
    for k in range(3, 9):
        P = exact.preferences(
            [
                Fraction(int(j - i == 1)) if j - i in (1, k - 1) else exact.HALF
                for i in range(k)
                for j in range(i + 1, k)
            ]
        )
        A = tuple(tuple(Fraction(int(p == 1)) for p in row) for row in P)
        mu = exact.uniform(k)
        assert exact.best_value(A, mu) - max(exact.scores(A, mu)) == 1 - Fraction(1, k)
    return "gap 1 - 1/K for K = 3 to 8"


@CLAIM.check(Role.INSTEAD, "exact")
def log_odds_are_unbounded() -> str:
    """Rock-paper-scissors, log-odds: exp(3 V*) = odds^3 and exp(3 V(pi_bar)) = 1, so the gap is logit p."""
    for p in exact.fractions("3/5 9/10 999/1000"):
        P = rock_paper_scissors(p)
        assert set(exact.odds_products(P, exact.uniform(3))) == {Fraction(1)}
        assert [max(exact.odds(entry) for entry in column) for column in exact.columns(P)] == [exact.odds(p)] * 3
    return "p = 999/1000: gap = ln 999"


@CLAIM.check(Role.INSTEAD, "property")
def bounds_hold() -> str:
    """gap <= 1/2 by identity and <= (1 - 1/K)(max - min) for any psi, over random problems."""
    by_identity, by_any = [], []

    def bounded(problem: Problem, scalarization: Scalarization) -> None:
        P, mu = problem
        gap, half = optimality_gap(P, mu), Fraction(1, 2)
        assert gap <= half
        by_identity.append(gap / half)
        A = apply_psi(P, scalarization.psi)
        gap, bound = optimality_gap(P, mu, scalarization.psi), (1 - Fraction(1, len(mu))) * (A.max() - A.min())
        assert gap <= bound
        by_any.append(gap / bound if bound else Fraction(0))

    drawn = strategies.problems(), strategies.scalarizations()
    tried = strategies.for_all(bounded, *drawn, tries=200, covers=strategies.PROBLEMS | strategies.SCALARIZATIONS)
    tried += strategies.for_all(bounded, strategies.cycles(), strategies.steps(), tries=60)
    near = f"1/2: {strategies.nearest(by_identity, 1)}; the other bound: {strategies.nearest(by_any, 1)}"
    return f"{tried} problems; {near}"


@CLAIM.check(Role.INSTEAD, "z3")
def bound_proved() -> str:
    """K = 2, 3: gap <= 1/2, for all P and mu; K = 2: gap = 0."""
    for k in (2, 3):
        P, valid = solver.preference_matrix(k)
        mu, distribution = solver.distribution(k, "mu")
        best = z3.Sum([mu[j] * solver.largest([P[i][j] for i in range(k)]) for j in range(k)])
        scores = [z3.Sum([mu[j] * P[i][j] for j in range(k)]) for i in range(k)]
        typical, uneven, _ = solver.typical(k)
        example = [(P, typical), (mu, uneven)]
        solver.prove([*valid, *distribution], z3.Or([best - score <= z3.Q(1, 2) for score in scores]), example)
        if k == 2:
            solver.prove([*valid, *distribution], z3.Or([best == score for score in scores]), example)
    return "proved for K = 2, 3"


@CLAIM.check(Role.INSTEAD, "numeric")
def by_chance() -> str:
    """Independent uniform preferences, uniform reference: mean gap about .062, .155, .230 at K = 3, 5, 8."""
    rng, means = np.random.default_rng(0), []
    for k, expected in ((3, 0.062), (5, 0.155), (8, 0.230)):
        above = np.triu(rng.uniform(size=(4000, k, k)), 1)
        P = above + np.tril(1 - above.swapaxes(1, 2), -1) + np.eye(k) / 2
        gaps = optimality_gap(P, np.full(k, 1 / k))
        assert abs(gaps.mean() - expected) < 0.0005 + 4 * gaps.std() / np.sqrt(len(gaps))
        means.append(f"{gaps.mean():.3f}")
    return f"K = 3, 5, 8: {', '.join(means)}"


CLAIM.check(Role.STATED, "proof")(proof_of("prompt_only_at_most_optimal"))
CLAIM.check(Role.STATED, "proof")(proof_of("no_gap_iff_common_best_response"))

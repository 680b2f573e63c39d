"""Theorem 3.2 (ii): is the conditioned optimum worth at least the prompt-only one?

V(pi*) = sum_j mu_j max_i A[i, j] and V(pi_bar) = max_i sum_j mu_j A[i, j] with A = psi(P): the mean of
the maxima against the maximum of the means.
"""

from math import log

import numpy as np
import z3

from inspo.objectives import best_responses, optimality_gap
from theory import exact, solver, strategies
from theory.evidence import Claim, Role, says
from theory.exact import W
from theory.proved import proof_of
from theory.strategies import Problem, Scalarization

CLAIM = Claim(
    id="thm-3.2-ii",
    paper="Thm 3.2 (ii)",
    statement="V(pi*) >= V(pi_bar): the policy that sees its comparator is worth at least as much.",
    truth=(
        says(
            "True for every psi: [0, 1] -> R, as the paper has it, even a decreasing one.",
            "prompt_only_at_most_optimal",
            "proved_through_products",
            "never_negative",
        ),
        says(
            "For strictly increasing psi the two are equal exactly when one response is a best response to "
            "every comparator in the support of mu.",
            "never_negative",
            "no_gap_iff_common_best_response",
            "equality_is_a_common_best_response",
        ),
        says(
            "On W the gap is 1/10 by identity and .565 by log-odds.",
            "values_of_the_witness",
            "log_odds_of_the_witness",
        ),
    ),
    missing="",
    witness="W: 7/10 against 3/5 by identity; equality for P12 = 4/5, P13 = 3/4, P23 = 7/10",
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

    return f"{strategies.for_all(holds, strategies.problems(), strategies.scalarizations(), tries=200)} problems"


@CLAIM.check(Role.STATED, "numeric")
def log_odds_of_the_witness() -> str:
    """W, log-odds: (ln(7/3) + 0 + ln 9) / 3 less ln(27/7) / 3 is ln(49/9) / 3 = .564865."""
    V_star = (log(7 / 3) + 0 + log(9)) / 3
    gap = optimality_gap(np.array(W), np.full(3, 1 / 3), "log_odds")
    assert abs(gap - (V_star - log(27 / 7) / 3)) < 1e-12
    assert abs(gap - log(49 / 9) / 3) < 1e-12
    return f"{V_star:.6f} - {V_star - gap:.6f} = {gap:.6f}"


@CLAIM.check(Role.STATED, "z3")
def proved_through_products() -> str:
    """K = 2 to 6, any table A, any mu: one product x (max - a) >= 0 at a time, products as fresh reals."""
    x, a, best = z3.Reals("x a best")
    solver.prove([x >= 0, best >= a], x * (best - a) >= 0)
    for k in range(2, 7):
        earned, best_earned = solver.reals("product", k, k), solver.reals("best", k)
        lemma = [best_earned[j] >= earned[i][j] for i in range(k) for j in range(k)]
        conclusion = z3.And([z3.Sum(best_earned) >= z3.Sum(earned[i]) for i in range(k)])
        solver.prove(lemma, conclusion)
    return "proved for K = 2 to 6"


@CLAIM.check(Role.STATED, "z3")
def equality_is_a_common_best_response() -> str:
    """K = 2, 3, any table A and any mu of full support: gap = 0 if and only if some row is best everywhere."""
    for k in (2, 3):
        A = solver.reals("A", k, k)
        mu, distribution = solver.distribution(k, "mu", full_support=True)
        best = [solver.largest([A[i][j] for i in range(k)]) for j in range(k)]
        regret = [z3.Sum([mu[j] * (best[j] - A[i][j]) for j in range(k)]) for i in range(k)]
        common = z3.Or([z3.And([A[i][j] == best[j] for j in range(k)]) for i in range(k)])
        solver.prove(distribution, z3.Or([r == 0 for r in regret]) == common)
        solver.prove(distribution, z3.And([r >= 0 for r in regret]))
    return "proved for K = 2, 3"


CLAIM.check(Role.STATED, "proof")(proof_of("prompt_only_at_most_optimal"))
CLAIM.check(Role.STATED, "proof")(proof_of("no_gap_iff_common_best_response"))

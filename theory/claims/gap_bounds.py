"""How large can V(pi*) - V(pi_bar) be? A question that the paper leaves open.

pi_bar does at least as well as the reference itself, and as answering uniformly at random: that bounds
the gap from above.
"""

from fractions import Fraction

import numpy as np
import z3

from inspo.objectives import apply_psi, optimality_gap
from theory import exact, solver, strategies
from theory.evidence import Claim, Role, says
from theory.proved import proof_of
from theory.strategies import Problem, Scalarization

CLAIM = Claim(
    id="gap-bounds",
    paper="Sec. 3.2, not in the paper",
    statement=(
        "The advantage of pi* over pi_bar is at most 1/2 by identity, at most (1 - 1/K)(max psi - min psi) by any "
        "bounded psi, and without limit by log-odds."
    ),
    truth=(
        says(
            "psi = identity: the gap is at most 1/2, for K >= 3 attained by rock-paper-scissors with certain "
            "outcomes; for K = 2 it is 0.",
            "bounds_hold",
            "bound_proved",
            "one_half_is_attained",
        ),
        says(
            "Any psi: at most (1 - 1/K)(max psi - min psi), tight for K >= 3 with psi a step.",
            "bounds_hold",
            "general_bound_is_attained",
        ),
        says(
            "Log-odds: logit p for rock-paper-scissors, without bound.",
            "log_odds_are_unbounded",
        ),
        says(
            "Preferences drawn at random have a mean gap that grows with K.",
            "by_chance",
        ),
        says(
            "Over all references the most that seeing the comparator gains is the least regret, against the "
            "worst comparator, of a policy that sees the prompt alone and knows no reference.",
            "second_mover_value_is_minimax_regret",
        ),
    ),
    missing="",
    witness="P12 = P23 = P31 = 1, mu uniform: V* = 1, V(pi_bar) = 1/2",
)


def rock_paper_scissors(p: Fraction) -> exact.Matrix:
    """Each of three beats the next with probability p."""
    return exact.preferences([p, 1 - p, p])


@CLAIM.check(Role.STATED, "exact")
def one_half_is_attained() -> str:
    """Rock-paper-scissors with certain outcomes: every best response wins, every fixed answer wins half."""
    P, mu = rock_paper_scissors(Fraction(1)), exact.uniform(3)
    assert exact.best_value(P, mu) == 1
    assert set(exact.scores(P, mu)) == {Fraction(1, 2)}
    return "1 - 1/2 = 1/2"


@CLAIM.check(Role.STATED, "exact")
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


@CLAIM.check(Role.STATED, "exact")
def log_odds_are_unbounded() -> str:
    """Rock-paper-scissors, log-odds: exp(3 V*) = odds^3 and exp(3 V(pi_bar)) = 1, so the gap is logit p."""
    for p in exact.fractions("3/5 9/10 999/1000"):
        P = rock_paper_scissors(p)
        assert set(exact.odds_products(P, exact.uniform(3))) == {Fraction(1)}
        assert [max(exact.odds(entry) for entry in column) for column in exact.columns(P)] == [exact.odds(p)] * 3
    return "p = 999/1000: gap = ln 999"


@CLAIM.check(Role.STATED, "property")
def bounds_hold() -> str:
    """gap <= 1/2 by identity and <= (1 - 1/K)(max - min) for any psi, over random problems."""

    def bounded(problem: Problem, scalarization: Scalarization) -> None:
        P, mu = problem
        assert optimality_gap(P, mu) <= Fraction(1, 2)
        A = apply_psi(P, scalarization.psi)
        assert optimality_gap(P, mu, scalarization.psi) <= (1 - Fraction(1, len(mu))) * (A.max() - A.min())

    return f"{strategies.for_all(bounded, strategies.problems(), strategies.scalarizations(), tries=200)} problems"


@CLAIM.check(Role.STATED, "z3")
def bound_proved() -> str:
    """K = 2, 3: gap <= 1/2, for all P and mu; K = 2: gap = 0."""
    for k in (2, 3):
        P, valid = solver.preference_matrix(k)
        mu, distribution = solver.distribution(k, "mu")
        best = z3.Sum([mu[j] * solver.largest([P[i][j] for i in range(k)]) for j in range(k)])
        scores = [z3.Sum([mu[j] * P[i][j] for j in range(k)]) for i in range(k)]
        solver.prove([*valid, *distribution], z3.Or([best - score <= z3.Q(1, 2) for score in scores]))
        if k == 2:
            solver.prove([*valid, *distribution], z3.Or([best == score for score in scores]))
    return "proved for K = 2, 3"


@CLAIM.check(Role.INSTEAD, "numeric")
def by_chance() -> str:
    """Independent uniform preferences, uniform reference: mean gap .062, .155, .230 at K = 3, 5, 8."""
    rng, means = np.random.default_rng(0), []
    for k, expected in ((3, 0.062), (5, 0.155), (8, 0.230)):
        above = np.triu(rng.uniform(size=(4000, k, k)), 1)
        P = above + np.tril(1 - above.swapaxes(1, 2), -1) + np.eye(k) / 2
        gaps = optimality_gap(P, np.full(k, 1 / k))
        assert abs(gaps.mean() - expected) < 0.0005 + 4 * gaps.std() / np.sqrt(len(gaps))
        means.append(f"{gaps.mean():.3f}")
    return f"K = 3, 5, 8: {', '.join(means)}"


CLAIM.check(Role.INSTEAD, "proof")(proof_of("second_mover_value_is_minimax_regret"))

"""Proposition 3.1: does the best prompt-only policy depend on psi and on the reference?

A prompt-only policy is worth an average of its responses' scores S(i) = sum_j mu_j psi(P[i, j]), so
pi_bar answers with the response of the largest score. Averages of psi are not ordered like averages
of P, and both move with mu.

"Not invariant" denies "the same for all psi and mu": one example decides it. That prompts with two responses are
immune bounds how often it matters, and refutes nothing.
"""

import math
from fractions import Fraction
from itertools import product

import numpy as np
from hypothesis import strategies as st

from inspo.objectives import restricted_optima, scores
from theory import exact, solver, strategies
from theory.evidence import Claim, Role, says
from theory.exact import W
from theory.strategies import Array, Problem, Scalarization

CLAIM = Claim(
    id="prop-3.1",
    paper="Prop. 3.1",
    quote="The form of pi_bar is not invariant to Psi and pi_ref",
    reading="",
    truth=(
        says(
            "It says that pi_bar can change, not that it always does, and so it can: for every K >= 3 there "
            "are preferences, with a uniform reference of full support, for which identity and log-odds "
            "choose different responses, and others for which two references do.",
            "witness_at_every_size",
            "witness_with_full_support",
            "witness_for_the_reference",
            "search_finds_a_witness",
        ),
        says(
            "W has the smallest common denominator for which the two choose disjoint sets.",
            "witness_is_the_smallest",
        ),
        says(
            "For K = 2 the preferred response is best for every strictly increasing psi and every reference.",
            "two_responses_are_immune",
            "two_responses_never_flip",
        ),
    ),
    witness=says(
        "W: P12 = 3/10, P13 = 9/10, P23 = 3/5, mu uniform: identity says y2, log-odds says y1",
        "witness_with_full_support",
    ),
)


@CLAIM.check(Role.INSTEAD, "z3")
def two_responses_are_immune() -> str:
    """K = 2: for any increasing psi and any reference, the preferred response has the larger score."""
    P, valid = solver.preference_matrix(2)
    A, increasing = solver.scalarized(P, strict=True)
    mu, distribution = solver.distribution(2, "mu")
    gain = mu[0] * (A[0][0] - A[1][0]) + mu[1] * (A[0][1] - A[1][1])
    example = list(zip((P, mu, A), solver.typical(2), strict=True))
    solver.prove([*valid, *increasing, *distribution, P[0][1] > P[1][0]], gain > 0, example)
    return "proved for K = 2"


@CLAIM.check(Role.INSTEAD, "property")
def two_responses_never_flip() -> str:
    """K = 2: two scalarizations and two references agree on the best response."""

    def agree(problem: Problem, mu: Array, first: Scalarization, second: Scalarization) -> None:
        P, nu = problem
        chosen = restricted_optima(P, nu, first.psi, atol=1e-12)
        assert (chosen == restricted_optima(P, mu, second.psi, atol=1e-12)).all()

    psi = strategies.scalarizations(strict=True, log_odds=True)
    tried = strategies.for_all(
        agree, strategies.problems(interior=True, max_k=2), strategies.references(2), psi, psi, tries=60
    )
    return f"{tried} problems with two responses, no flip"


@CLAIM.check(Role.STATED, "exact")
def witness_with_full_support() -> str:
    """W: scores 17/30, 18/30, 10/30 by identity; odds 27/7 > 7/2 > 2/27 by log-odds."""
    mu = exact.uniform(3)
    assert exact.scores(W, mu) == exact.fractions("17/30 18/30 10/30")
    assert exact.odds_products(W, mu) == exact.fractions("27/7 7/2 2/27")
    return "identity: 17/30 < 18/30; log-odds: odds 27/7 > 7/2"


@CLAIM.check(Role.STATED, "exact")
def witness_for_the_reference() -> str:
    """W, mu = ((1-m)/2, (1-m)/2, m): identity changes its choice at m = 2/5, log-odds at ln(7/3) / ln 14.

    Log-odds: y1 leads y2 by (1-m) ln(3/7) + m ln 6, which is zero at m = ln(7/3) / ln 14 = .321061.
    """
    references = {m: ((1 - m) / 2, (1 - m) / 2, m) for m in exact.fractions("39/100 2/5 41/100 321/1000 3211/10000")}
    by_identity = [exact.argmax(exact.scores(W, mu)) for mu in list(references.values())[:3]]
    assert by_identity == [{1}, {0, 1}, {0}]
    by_log_odds = [exact.argmax(exact.odds_products(W, mu)) for mu in list(references.values())[3:]]
    assert by_log_odds == [{1}, {0}]
    assert 0.321 < math.log(7 / 3) / math.log(14) < 0.3211
    return f"identity flips at mu3 = 2/5, log-odds at ln(7/3) / ln 14 = {math.log(7 / 3) / math.log(14):.6f}"


@CLAIM.check(Role.STATED, "property")
def witness_at_every_size() -> str:
    """W with further responses that lose to all three by 1 : 9 still flips, for any K >= 3."""

    def flips(k: int) -> None:
        P = np.array(exact.preferences("1/2 " * (k * (k - 1) // 2 - 1) + "1/2"))
        P[:3, :3] = np.array(W)
        P[:3, 3:], P[3:, :3] = Fraction(9, 10), Fraction(1, 10)
        mu = np.array(exact.uniform(k))
        assert restricted_optima(P, mu).nonzero()[0].tolist() == [1]
        assert restricted_optima(P, mu, "log_odds").nonzero()[0].tolist() == [0]

    tried = strategies.for_all(flips, st.integers(3, 24), tries=25)
    return f"{tried} sizes from 3 to 24"


@CLAIM.check(Role.STATED, "search")
def search_finds_a_witness() -> str:
    """A random search over three responses finds preferences whose best response depends on psi."""
    mu = np.array(exact.uniform(3))

    def flips(P: Array) -> bool:
        by_identity, by_log_odds = scores(P, mu), scores(P, mu, "log_odds").round(12)
        unique = (by_identity == by_identity.max()).sum() == 1
        return bool(unique and by_identity.argmax() != by_log_odds.argmax())

    strategies.find_one(strategies.preference_matrices(3, interior=True), flips)
    return "found within 5000 tables"


@CLAIM.check(Role.INSTEAD, "exact")
def witness_is_the_smallest() -> str:
    """Uniform reference: no common denominator below ten makes the two psi's optima disjoint, and ten W's alone.

    With ties fifths make the sets differ: P12, P13, P23 = 1/5, 2/5, 2/5 have {y2, y3} by identity, {y2} by log-odds.
    """
    mu = exact.uniform(3)

    def witnesses(d: int) -> list[tuple[int, ...]]:
        tables = {upper: exact.preferences([Fraction(n, d) for n in upper]) for upper in product(range(1, d), repeat=3)}
        return [
            upper
            for upper, P in tables.items()
            if not exact.argmax(exact.scores(P, mu)) & exact.argmax(exact.odds_products(P, mu))
        ]

    assert not any(witnesses(d) for d in range(2, 10))
    tenths = witnesses(10)
    assert (3, 9, 6) in tenths
    assert len(tenths) == 6, "one matrix, its responses in six orders"
    fifths = exact.preferences("1/5 2/5 2/5")
    assert exact.argmax(exact.scores(fifths, mu)) == {1, 2}
    assert exact.argmax(exact.odds_products(fifths, mu)) == {1}
    small = exact.preferences("1/6 1/3 2/5")
    assert exact.argmax(exact.scores(small, mu)) == {2}
    assert exact.argmax(exact.odds_products(small, mu)) == {1}
    return "unique among tenths up to the order of the responses; with unequal denominators 1/6, 1/3, 2/5 does"

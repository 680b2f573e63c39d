"""The counterexample in the proof of Proposition 3.1, as Appendix B prints it.

Two candidates, y1 and y2, are judged against a and b, the only two responses that the reference ever
gives. The paper lists how the candidates fare against a and b, but neither P(a > b) nor that a and b
are responses too: pi_bar may choose them, and has to if they score better.
"""

from fractions import Fraction

import numpy as np
import z3

from inspo.objectives import scores
from theory import exact, solver
from theory.evidence import Claim, Role, says
from theory.exact import HALF, Matrix, Row

CLAIM = Claim(
    id="prop-3.1-proof",
    paper="App. B, proof of Prop. 3.1",
    quote=(
        "Candidate y_1: P(y_1 > y_a') = 0.9 and P(y_1 > y_b') = 0.2 ... Candidate y_2: P(y_2 > y_a') = 0.56 and "
        "P(y_2 > y_b') = 0.56 ... Thus, pi_bar depends on Psi. ... Thus, pi_bar also depends on pi_ref"
    ),
    reading=(
        "The best prompt-only response is y2 by identity and y1 by log-odds (mu = 1/2, 1/2 on a, b), and y1 by "
        "identity at mu = .9, .1."
    ),
    truth=(
        says(
            "With p = P(a > b), which the paper leaves out, the identity claim needs 19/50 < p < 31/50, the "
            "log-odds claim 4/13 < p < 9/13, the skewed-reference claim p > 2/15.",
            "the_range_of_p",
            "the_identity_range_is_exact",
            "outside_the_range_a_or_b_wins",
            "a_response_of_the_reference_wins",
        ),
        says(
            "P(y1 > y2) is free.",
            "the_identity_range_is_exact",
        ),
        says(
            "At p = 1/2 the printed scores are right.",
            "the_printed_scores",
        ),
        says(
            "References of full support that give y1 and y2 rarely serve as well: less than one time in six each.",
            "with_full_support",
        ),
    ),
    missing=says("P(a > b), which the paper leaves out, near 1/2", "the_range_of_p", "the_identity_range_is_exact"),
    witness=says(
        "p = 1/4: b has .625 > .56 by identity. Full support: p = P(y1 > y2) = 1/2, mu = (1, 1, 9, 9) / 20",
        "a_response_of_the_reference_wins",
        "with_full_support",
    ),
)

Y1, Y2, A, B = range(4)


def table(p: Fraction, q: Fraction = HALF) -> Matrix:
    """The paper's preferences of y1, y2, a, b with P(a > b) = p and P(y1 > y2) = q."""
    return exact.preferences((q, *exact.fractions("9/10 1/5 14/25 14/25"), p))


def on_a_and_b(weight_of_a: str) -> Row:
    """The paper's reference, which never gives y1 or y2."""
    a = Fraction(weight_of_a)
    return (Fraction(0), Fraction(0), a, 1 - a)


def claims_at(p: Fraction) -> tuple[bool, bool, bool]:
    """Whether the identity, the log-odds and the skewed-reference claim hold at P(a > b) = p."""
    P, even = table(p), on_a_and_b("1/2")
    return (
        exact.argmax(exact.scores(P, even)) == {Y2},
        exact.argmax(exact.odds_products(P, even)) == {Y1},
        exact.argmax(exact.scores(P, on_a_and_b("9/10"))) == {Y1},
    )


@CLAIM.check(Role.REFUTED, "exact")
def a_response_of_the_reference_wins() -> str:
    """p = 1/4: b itself scores 5/8, more than either candidate."""
    P = table(Fraction(1, 4))
    assert exact.scores(P, on_a_and_b("1/2")) == exact.fractions("11/20 14/25 3/8 5/8")
    assert claims_at(Fraction(1, 4)) == (False, False, True)
    return "p = 1/4: scores .55, .56, .375, .625 -> b"


@CLAIM.check(Role.REFUTED, "z3")
def outside_the_range_a_or_b_wins() -> str:
    """For every p < 19/50 b scores more than either candidate, for every p > 31/50 a does, whatever P(y1 > y2)."""
    P, valid = solver.preference_matrix(4)
    printed = [P[Y1][A] == z3.Q(9, 10), P[Y1][B] == z3.Q(1, 5), P[Y2][A] == z3.Q(14, 25), P[Y2][B] == z3.Q(14, 25)]
    S = [(P[y][A] + P[y][B]) / 2 for y in range(4)]
    for wins, outside in ((B, P[A][B] < z3.Q(19, 50)), (A, P[A][B] > z3.Q(31, 50))):
        solver.prove([*valid, *printed, outside], z3.And(S[wins] > S[Y1], S[wins] > S[Y2]))
    return "proved for all p outside [19/50, 31/50]"


@CLAIM.check(Role.REPAIRED, "exact")
def the_range_of_p() -> str:
    """Each claim holds strictly inside its range of p and fails at its ends."""
    tiny = Fraction(1, 10**6)
    ranges = [exact.fractions("19/50 31/50"), exact.fractions("4/13 9/13"), exact.fractions("2/15 1")]
    for number, (low, high) in enumerate(ranges):
        holds = [claims_at(p)[number] for p in (low - tiny, low, low + tiny, high - tiny)]
        assert holds == [False, False, True, True]
        if high < 1:
            assert [claims_at(p)[number] for p in (high, high + tiny)] == [False, False]
    return "identity (19/50, 31/50), log-odds (4/13, 9/13), skewed reference (2/15, 1)"


@CLAIM.check(Role.REPAIRED, "z3")
def the_identity_range_is_exact() -> str:
    """For every p and every P(y1 > y2): y2 is the only best response if and only if 19/50 < p < 31/50."""
    p = z3.Real("p")
    y1, y2, a, b = z3.Q(55, 100), z3.Q(56, 100), z3.Q(1, 4) + p / 2, z3.Q(1, 4) + (1 - p) / 2
    y2_wins = z3.And(y2 > y1, y2 > a, y2 > b)
    solver.prove([p >= 0, p <= 1], y2_wins == z3.And(p > z3.Q(19, 50), p < z3.Q(31, 50)))
    return "proved for all p"


@CLAIM.check(Role.REPAIRED, "numeric")
def the_printed_scores() -> str:
    """The library's scores at p = 1/2: (.55, .56, 1/2, 1/2) and (ln 1.5, ln(14/11), 0, 0)."""
    P, mu = np.array(table(HALF)), np.array(on_a_and_b("1/2"))
    assert scores(P, mu).tolist() == list(exact.fractions("11/20 14/25 1/2 1/2"))
    assert np.allclose(scores(P, mu, "log_odds"), [np.log(1.5), np.log(14 / 11), 0, 0], atol=1e-12)
    return "log-odds .405, .241: the paper's .41 and .24"


@CLAIM.check(Role.REPAIRED, "exact")
def with_full_support() -> str:
    """p = P(y1 > y2) = 1/2, mu = (e, e, 1/2 - e, 1/2 - e): both claims hold exactly for e < 1/6.

    Identity: y2 has 14/25 - 3e/25, b has 1/2 + 6e/25: equal at e = 1/6. Log-odds last longer.
    """
    P, tiny = table(HALF), Fraction(1, 1000)
    for e in (Fraction(0), Fraction(1, 20), Fraction(1, 6) - tiny, Fraction(1, 6), Fraction(1, 6) + tiny):
        mu = (e, e, HALF - e, HALF - e)
        identity = {Y2} if e < Fraction(1, 6) else {Y2, B} if e == Fraction(1, 6) else {B}
        assert exact.argmax(exact.scores(P, mu)) == identity
        assert exact.argmax(exact.odds_products(P, mu)) == {Y1}
    some_mass = exact.fractions("1/20 1/20 9/20 9/20")
    assert exact.scores(P, some_mass) == exact.fractions("109/200 277/500 477/1000 64/125")
    return "e = 1/20: scores 109/200, 277/500, 477/1000, 64/125; y2 yields to b at e = 1/6"

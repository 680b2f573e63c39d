"""Ours: for which preferences does the choice of psi matter to a policy that sees the prompt alone?

Answering y_i wins with probability P_iJ, J ~ mu, a random variable; its score is the mean of psi of it. One is the
best for every increasing psi if and only if it stochastically dominates the others. Prop. 3.1 has an example of the
contrary; this is where the line runs, for a fixed reference. (For all references at once: a best response to all.)
"""

from fractions import Fraction
from itertools import combinations, permutations, product

import numpy as np

from inspo.objectives import best_responses, optimality_gap, restricted_optima, scores
from theory import exact, strategies
from theory.evidence import Claim, Role, says
from theory.exact import HALF, W
from theory.flow import Floats
from theory.proved import proof_of
from theory.strategies import Array, Problem, Scalarization

CLAIM = Claim(
    id="psi-matters",
    paper="our own, to Prop. 3.1",
    quote="",
    reading=(
        "For a fixed reference, one prompt-only policy is optimal for all strictly increasing psi if and only if one "
        "response's win probability P_iJ, J ~ mu, stochastically dominates every other's: at each level it is at "
        "least as likely to be reached."
    ),
    truth=(
        says(
            "A response that dominates is optimal for every non-decreasing psi.",
            "dominating_is_optimal_for_all",
            "dominance_orders_all_scores",
        ),
        says(
            "Where none does, each response is beaten for some strictly increasing psi: a step at a level that it "
            "reaches less often, plus a little of the identity.",
            "without_dominance_each_is_beaten",
            "the_witness_by_hand",
            "failing_dominance_has_a_psi",
        ),
        says(
            "Dominance asks less than a best response to all: rock-paper-scissors has it, and a gap.",
            "dominance_is_weaker_than_a_best_response_to_all",
        ),
        says(
            "Under a uniform reference, of preferences drawn independently from one law, symmetric about 1/2 and "
            "without atoms, psi matters to 3/8 and 319/480 at K = 3, 4.",
            "how_often_for_any_symmetric_law",
            "how_often_in_draws",
        ),
        says(
            "Comparing identity with log-odds misses most of it: where psi matters to .38, .66, .83, .97 of uniform "
            "draws at K = 3, 4, 5, 8, these two differ in .06, .11, .15, .21.",
            "how_often_in_draws",
        ),
        says(
            "With two responses it never matters.",
            "two_responses_never",
        ),
    ),
    witness=says(
        "W, uniform: y1 reaches 9/10 most often, y2 reaches 1/2 most often, so 1[q >= t] + q / 4 chooses either",
        "the_witness_by_hand",
    ),
)


def reaches(P: Array, mu: Array) -> Array:
    """Entry [i, t]: probability that P_iJ, J ~ mu, is at least the t-th of the values in P; exact."""
    levels = sorted(set(P.ravel().tolist()))
    return np.array(
        [[sum((m for m, p in zip(mu, row, strict=True) if p >= t), Fraction(0)) for t in levels] for row in P]
    )


def dominating(P: Array, mu: Array) -> list[int]:
    """The responses whose P_iJ stochastically dominates every other's."""
    reached = reaches(P, mu)
    return [i for i, row in enumerate(reached) if all((row >= other).all() for other in reached)]


def step(level: Fraction, share: Fraction) -> Scalarization:
    """1[q >= level] + share q: strictly increasing, exact."""
    return Scalarization(
        f"1[q >= {level}] + {share} q",
        np.frompyfunc(lambda q: Fraction(int(q >= level)) + share * q, 1, 1),
        strict=True,
    )


def psi_against(i: int, P: Array, mu: Array) -> Scalarization:
    """A strictly increasing psi for which some other response scores more than i, if i does not dominate.

    At a level that another reaches more often, by d, a step is worth d more; half of d of the identity cannot make
    up for it, since identity's scores differ by at most 1.
    """
    reached, levels = reaches(P, mu), sorted(set(P.ravel().tolist()))
    short = (reached - reached[i]).max(axis=0)
    return step(levels[int(short.argmax())], short.max() / 2)


@CLAIM.check(Role.STATED, "exact")
def the_witness_by_hand() -> str:
    """W, uniform: y1 wins .3, .5, .9; y2 .5, .6, .7; y3 .1, .4, .5. Steps at 9/10, 1/2, plus q / 4, choose y1, y2."""
    k, found = range(3), []
    for level in exact.fractions("9/10 1/2"):
        table = [[int(p >= level) + p / 4 for p in row] for row in W]
        score = [sum(row, Fraction(0)) / 3 for row in table]
        found.append(exact.argmax(score))
    assert found == [{0}, {1}]
    ordered = [sorted(row) for row in W]
    assert not any(all(ordered[i][n] >= ordered[j][n] for j in k for n in k) for i in k)
    return "y1, then y2"


@CLAIM.check(Role.STATED, "property")
def dominating_is_optimal_for_all() -> str:
    """Random problems: a response that dominates is among the optima for every random non-decreasing psi."""
    met = {True: 0, False: 0}

    def optimal(problem: Problem, scalarization: Scalarization) -> None:
        P, mu = problem
        optima = restricted_optima(P, mu, scalarization.psi)
        found = dominating(P, mu)
        met[bool(found)] += 1
        assert all(optima[i] for i in found)

    tried = strategies.for_all(optimal, strategies.problems(min_k=3), strategies.scalarizations(), tries=120)
    assert min(met.values()) >= tried / 10, met
    return f"{tried} problems, with and without such a response at least a tenth each"


@CLAIM.check(Role.STATED, "property")
def without_dominance_each_is_beaten() -> str:
    """Random problems: whoever does not dominate is beaten for the strictly increasing psi built against it."""
    met = 0

    def beaten(problem: Problem) -> None:
        nonlocal met
        P, mu = problem
        for i in set(range(len(mu))) - set(dominating(P, mu)):
            met += 1
            score = scores(P, mu, psi_against(i, P, mu).psi)
            assert score[i] < score.max()

    tried = strategies.for_all(beaten, strategies.problems(max_k=4), tries=120)
    assert met >= tried
    return f"{tried} problems, more such responses than problems"


@CLAIM.check(Role.INSTEAD, "search")
def dominance_is_weaker_than_a_best_response_to_all() -> str:
    """Found: a dominating response, no other as good by identity, and yet a gap. Rock-paper-scissors: all dominate."""

    def gap_in_spite(P: Array) -> bool:
        mu = np.array(exact.uniform(3))
        found = dominating(P, mu)
        return bool(len(found) == 1 and restricted_optima(P, mu).sum() == 1 and optimality_gap(P, mu) > 0)

    found = strategies.find_one(strategies.preference_matrices(3), gap_in_spite)
    assert not best_responses(found).all(axis=1).any()
    certain, mu = np.array(exact.preferences("1 0 1")), np.array(exact.uniform(3))
    assert dominating(certain, mu) == [0, 1, 2]
    assert optimality_gap(certain, mu) == HALF
    return "found within 5000 tables; rock-paper-scissors' gap is 1/2"


@CLAIM.check(Role.INSTEAD, "property")
def two_responses_never() -> str:
    """K = 2, any reference: one of the two dominates."""

    def one_dominates(problem: Problem) -> None:
        assert dominating(*problem)

    return f"{strategies.for_all(one_dominates, strategies.problems(max_k=2), tries=60)} problems"


def random_tables(k: int, size: int, rng: np.random.Generator) -> Floats:
    """Independent uniform preferences, (size, k, k)."""
    above = np.triu(rng.uniform(size=(size, k, k)), 1)
    tables: Floats = above + np.tril(1 - above.swapaxes(1, 2), -1) + np.eye(k) / 2
    return tables


@CLAIM.check(Role.INSTEAD, "exact")
def how_often_for_any_symmetric_law() -> str:
    """K = 3, 4, uniform mu: of all orders of |P - 1/2| and all signs 3/8 and 319/480 leave no response dominating.

    Under a uniform reference one dominates another if its sorted row is nowhere smaller.
    """
    found = []
    for k in (3, 4):
        pairs = list(combinations(range(k), 2))
        sizes = np.array(list(permutations(range(1, len(pairs) + 1))))
        signs = np.array(list(product((-1, 1), repeat=len(pairs))))
        entries = (sizes[:, None, :] * signs).reshape(-1, len(pairs))
        tables = np.zeros((len(entries), k, k), dtype=int)
        for column, (i, j) in enumerate(pairs):
            tables[:, i, j], tables[:, j, i] = entries[:, column], -entries[:, column]
        found.append(Fraction(int(no_sorted_row_is_largest(tables).sum()), len(tables)))
    assert found == [Fraction(3, 8), Fraction(319, 480)]
    return f"{found[0]} and {found[1]}"


def no_sorted_row_is_largest(tables: Array) -> Array:
    """(n, k, k) tables: whether no row, sorted, is as large as every other everywhere; (n,) bool."""
    rows = np.sort(tables, axis=2)
    none: Array = ~(rows == rows.max(axis=1, keepdims=True)).all(axis=2).any(axis=1)
    return none


@CLAIM.check(Role.INSTEAD, "numeric")
def how_often_in_draws() -> str:
    """20000 tables of independent uniform entries, uniform mu: psi matters; identity and log-odds differ."""
    rng, found, n = np.random.default_rng(0), [], 20_000
    expected = {2: (0, 0), 3: (3 / 8, 0.056), 4: (319 / 480, 0.109), 5: (0.826, 0.148), 8: (0.971, 0.213)}
    for k, shares in expected.items():
        P = random_tables(k, n, rng)
        moved = no_sorted_row_is_largest(P)
        differ = np.log(P / (1 - P)).mean(axis=2).argmax(axis=1) != P.mean(axis=2).argmax(axis=1)
        assert not (differ & ~moved).any()
        for measured, share in zip((moved, differ), shares, strict=True):
            assert abs(measured.mean() - share) <= 0.001 + 4 * np.sqrt(share * (1 - share) / n)
        found.append(f"{moved.mean():.3f}, {differ.mean():.3f} at K = {k}")
    return "; ".join(found)


CLAIM.check(Role.STATED, "proof")(proof_of("dominance_orders_all_scores"))
CLAIM.check(Role.STATED, "proof")(proof_of("failing_dominance_has_a_psi"))

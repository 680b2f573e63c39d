"""Theorem 4.1, second part, Eq. (9): does solving (9) give pi_r?

The loss of (9) sees a policy only through the K (K - 1) / 2 margins beta (g_ij - g_ji), with
g_ij = log pi(y_i | y_j) / mu_i. It is least when each margin is the log-odds L_ij, and says nothing
about the sums g_ij + g_ji. With g_ij = L_ij / (2 beta) + s_ij, every symmetric s that leaves some
probability in each column for the comparator itself is a minimizer: pi(y_j | y_j) takes up the slack.
"""

import math
from fractions import Fraction

import numpy as np
import z3
from hypothesis import strategies as st

from inspo.conditioning import Conditioning
from inspo.losses import dpo
from inspo.objectives import conditioned_value, gibbs_policy, population_loss
from theory import exact, solver, strategies
from theory.evidence import Claim, Role, says
from theory.exact import HALF, Matrix, W
from theory.proved import proof_of
from theory.strategies import Array, Problem

CLAIM = Claim(
    id="thm-4.1-eq-9",
    paper="Thm 4.1, Eq. (9); App. B, proof of Thm 4.1",
    quote=(
        "Furthermore, pi_r can be obtained by solving ... log sigma(beta(log pi(y_w | x, y_l) / pi_ref(y_w | x) - log "
        "pi(y_l | x, y_w) / pi_ref(y_l | x)))"
    ),
    reading="The solution of (9) is pi_r, that of (7).",
    truth=(
        says(
            "For preferences in (0, 1) a whole open set of dimension K (K - 1) / 2, convex as a set of "
            "tables, solves (9), and all of it reaches the Bayes loss.",
            "dimension_of_the_set",
            "the_set_is_convex",
            "minimizers_of_9",
            "equal_loss_unequal_value",
            "two_responses",
        ),
        says(
            "Unless P = 1/2 throughout, V takes every value from 1/2 (excluded) to the optimum of a linear program.",
            "range_of_the_value",
            "two_responses_in_closed_form",
            "three_responses",
            "indifference_and_certainty_are_exceptions",
        ),
        says(
            "At the lower edge the policy copies its comparator.",
            "valley_of_9",
            "copying_is_the_edge",
        ),
        says(
            "For certain preferences (9) has no minimizer.",
            "indifference_and_certainty_are_exceptions",
        ),
        says(
            "Where P(w > l) = sigma(h(w, l) - h(l, w)), h = r - beta log Z, for some r, its pi_r is a minimizer.",
            "any_reward_gives_the_formula",
        ),
        says(
            "What identifies its policy is the anchored loss (see anchored).",
            "anchored_identifies",
        ),
    ),
    witness=says(
        "P12 = 3/4, beta = 1, mu = 1/2: pi(y1 | y2) = b, pi(y2 | y1) = b / 3 for any b in (0, 1); V = 1/2 + b / 12",
        "two_responses",
    ),
)


def ratios(policy: Matrix, mu: exact.Row) -> dict[tuple[int, int], Fraction]:
    """exp(g_ij - g_ji): all that the loss can see."""
    k = range(len(mu))
    return {(i, j): policy[i][j] / mu[i] / (policy[j][i] / mu[j]) for i in k for j in k if i < j}


def minimizer(P: Matrix, u: Fraction) -> Matrix:
    """beta = 1/2, uniform mu: pi(y_i | y_j) = u / K odds_ij for i != j, the rest for y_j itself."""
    k = len(P)
    table = [[u / k * exact.odds(P[i][j]) if i != j else Fraction(0) for j in range(k)] for i in range(k)]
    for j in range(k):
        table[j][j] = 1 - sum((table[i][j] for i in range(k)), Fraction(0))
    assert all(table[j][j] > 0 for j in range(k)), f"u = {u} leaves nothing for the comparator"
    return tuple(map(tuple, table))


@CLAIM.check(Role.REFUTED, "exact")
def two_responses() -> str:
    """P12 = 3/4, beta = 1: the loss sees b : b/3 = odds 3 for every b, while V = 1/2 + b / 12."""
    P, mu = exact.preferences("3/4"), exact.uniform(2)
    for b in exact.fractions("1/1000 1/10 1/2 3/4 999/1000"):
        policy = ((1 - b / 3, b), (b / 3, 1 - b))
        assert ratios(policy, mu) == {(0, 1): exact.odds(P[0][1])}
        assert exact.conditioned_value(policy, P, mu) == HALF + b / 12
    assert max(exact.scores(P, mu)) == Fraction(5, 8)
    return "V from 1/2 to 7/12 at one loss; V(pi_bar) = 5/8"


@CLAIM.check(Role.REFUTED, "exact")
def three_responses() -> str:
    """beta = 1/2: rock-paper-scissors has V = 61/120, 4/7, 7/12; Bradley-Terry 4:2:1 3613/7200 and on."""
    cyclic, strengths = exact.preferences("2/3 1/3 2/3"), exact.bradley_terry([4, 2, 1])
    expected = {
        cyclic: {"1/10": "61/120", "6/7": "4/7", "1": "7/12"},
        strengths: {"1/100": "3613/7200", "1/10": "373/720", "1/4": "157/288"},
    }
    mu = exact.uniform(3)
    for P, values in expected.items():
        for u, V in values.items():
            policy = minimizer(P, Fraction(u))
            assert all(ratio == exact.odds(P[i][j]) ** 2 for (i, j), ratio in ratios(policy, mu).items())
            assert exact.conditioned_value(policy, P, mu) == Fraction(V)
    assert exact.best_value(cyclic, mu) == Fraction(2, 3)
    assert exact.best_value(strengths, mu) == Fraction(59, 90)
    return "V* = 2/3 and 59/90; V differs from minimizer to minimizer"


@CLAIM.check(Role.REFUTED, "property")
def equal_loss_unequal_value() -> str:
    """Random interior problems: shrinking a minimizer toward its comparator keeps the loss and changes V."""

    def shrink(problem: Problem, beta: float, factor: float) -> None:
        P, mu = (np.asarray(table, dtype=float) for table in problem)
        g = np.log(P / (1 - P)) / (2 * beta)
        joint = mu[:, None] * np.exp(g - np.abs(g).max())
        policies = []
        for size in (0.9, 0.9 * factor):
            policy = size * joint * (1 - np.eye(len(mu)))
            policies.append(policy + np.diag(1 - policy.sum(axis=0)))
        losses = [population_loss(P, mu, lambda pairs: dpo(pairs, beta=beta), comparator_policy=p) for p in policies]
        bayes = -(np.outer(mu, mu) * P * np.log(P) * (1 - np.eye(len(mu)))).sum()
        assert np.allclose(losses, bayes, rtol=1e-9)
        V = [float(conditioned_value(p, P, mu)) for p in policies]
        if not (P == 0.5).all():
            assert V[0] > V[1] > 0.5

    problems = strategies.problems(interior=True, full_support=True, max_k=4).filter(
        lambda problem: min(map(float, problem[0].flat)) > 0.04
    )
    betas, factors = st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.1, 0.5, 0.9])
    return f"{strategies.for_all(shrink, problems, betas, factors, tries=60)} problems at their Bayes loss"


@CLAIM.check(Role.REFUTED, "z3")
def dimension_of_the_set() -> str:
    """K = 2, 3: around any minimizer each of the K (K - 1) / 2 pairs can be moved on its own."""
    for k in (2, 3):
        weight, odds = solver.reals("w", k, k), solver.reals("odds", k, k)
        pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
        positive = [z3.And(weight[i][j] > 0, odds[i][j] > 0) for i, j in pairs]
        # w is the joint probability of the pair (j given i), w * odds that of (i given j).
        joint = {(j, i): weight[i][j] for i, j in pairs} | {(i, j): weight[i][j] * odds[i][j] for i, j in pairs}
        mu, distribution = solver.distribution(k, "mu", full_support=True)
        room = [z3.Sum([joint[i, j] for i in range(k) if i != j]) < mu[j] for j in range(k)]
        smaller = z3.Real("smaller")
        for i, j in pairs:
            less = dict(joint) | {(a, b): smaller * joint[a, b] for a, b in ((i, j), (j, i))}
            fits = z3.And([z3.Sum([less[a, b] for a in range(k) if a != b]) < mu[b] for b in range(k)])
            hypotheses = [*positive, *distribution, *room, smaller > 0, smaller < 1]
            solver.prove(hypotheses, fits, [(mu, solver.typical(k)[1])])
    return "proved: dimension 1 and 3"


@CLAIM.check(Role.INSTEAD, "exact")
def indifference_and_certainty_are_exceptions() -> str:
    """P = 1/2: V = 1/2 at every policy. P12 = 1: odds 10, 1000, 10^6 are each better than the last, none is best."""
    even, mu = exact.preferences("1/2 1/2 1/2"), exact.uniform(3)
    for u in exact.fractions("1/10 1/2 9/10"):
        assert exact.conditioned_value(minimizer(even, u), even, mu) == HALF
    certain = [Fraction(1) / (1 + odds) for odds in (10, 1000, 10**6)]  # the loss is -log(1 - this)
    assert certain[0] > certain[1] > certain[2] > 0
    return "P = 1/2: V = 1/2; P12 = 1: no minimizer"


@CLAIM.check(Role.INSTEAD, "exact")
def the_set_is_convex() -> str:
    """Mixing two minimizers gives a minimizer: pi(i | j) / mu_i = ratio pi(j | i) / mu_j is linear in pi; so is V."""
    P, mu = exact.preferences("2/3 1/3 2/3"), exact.uniform(3)
    one, other = minimizer(P, Fraction(1, 10)), minimizer(P, Fraction(1))
    for share in exact.fractions("1/4 1/2 9/10"):
        mixed = tuple(
            tuple(share * a + (1 - share) * b for a, b in zip(row, row2, strict=True))
            for row, row2 in zip(one, other, strict=True)
        )
        assert ratios(mixed, mu) == ratios(one, mu) == ratios(other, mu)
        ends = [exact.conditioned_value(policy, P, mu) for policy in (one, other)]
        assert exact.conditioned_value(mixed, P, mu) == share * ends[0] + (1 - share) * ends[1]
    return "V is linear along the way"


@CLAIM.check(Role.INSTEAD, "linear program")
def range_of_the_value() -> str:
    """W: sup V over the minimizers .652381, .685437, .699986 at beta = 1, 1/2, 1/10; minimized, it gives 1/2."""
    found = []
    for beta, expected in ((1.0, 0.652381), (0.5, 0.685437), (0.1, 0.699986)):
        low, high = value_range(np.array(W, dtype=float), np.full(3, 1 / 3), beta)
        assert abs(low - 0.5) < 1e-9
        assert abs(high - expected) < 1e-6
        found.append(f"{high:.6f}")
    return f"sup V = {', '.join(found)}; V* = .7"


def value_range(P: Array, mu: Array, beta: float) -> tuple[float, float]:
    """Infimum and supremum of V over the minimizers of (9): a linear program in the joint probabilities.

    Unknown is x_ij = mu_j pi(y_i | y_j) of the preferred response i of each pair; the other direction is
    then exp(-|L_ij| / beta) x_ij. Column j may spend up to mu_j. V - 1/2 = sum x_ij (1 - exp) (P_ij - 1/2).
    Kept independent of the toy's on purpose; tests/test_twins.py holds them together.
    """
    from scipy.optimize import linprog

    k = len(mu)
    wins = [(i, j) for i in range(k) for j in range(k) if P[i, j] > 0.5]
    back = np.array([((1 - P[i, j]) / P[i, j]) ** (1 / beta) for i, j in wins])
    gain = np.array([P[i, j] - 0.5 for i, j in wins]) * (1 - back)
    spent = np.zeros((k, len(wins)))
    for column, (i, j) in enumerate(wins):
        spent[j, column], spent[i, column] = 1, back[column]
    worst, best = (linprog(sign * gain, A_ub=spent, b_ub=mu, method="highs") for sign in (1, -1))
    assert worst.success, worst.message
    assert best.success, best.message
    return 0.5 + float(worst.fun or 0), 0.5 - float(best.fun or 0)


@CLAIM.check(Role.INSTEAD, "symbolic")
def two_responses_in_closed_form() -> str:
    """K = 2, P12 > 1/2: V = 1/2 + mu_2 b (P - 1/2)(1 - odds^(-1/beta)), b < min(1, odds^(1/beta) mu_1 / mu_2)."""
    import sympy as sp

    b, mu1, p, beta = sp.symbols("b mu1 p beta", positive=True)
    mu2, shrink = 1 - mu1, ((1 - p) / p) ** (1 / beta)
    a = b * mu2 / mu1 * shrink  # pi(y2 | y1), from the margin
    V = mu2 * (b * p + (1 - b) / 2) + mu1 * (a * (1 - p) + (1 - a) / 2)
    assert sp.simplify(V - (sp.Rational(1, 2) + mu2 * b * (p - sp.Rational(1, 2)) * (1 - shrink))) == 0
    return "sup V -> V* = 1/2 + mu_2 (P - 1/2) as beta -> 0"


@CLAIM.check(Role.INSTEAD, "numeric")
def copying_is_the_edge() -> str:
    """s -> -inf: pi(y' | y') -> 1, the loss stays at its minimum and V -> 1/2, the reference's own value."""
    P = exact.preferences("2/3 1/3 2/3")
    values, losses = [], []
    for u in exact.fractions("1 1/10 1/1000 1/1000000"):
        policy = np.array(minimizer(P, u), dtype=float)
        losses.append(
            population_loss(
                np.array(P),
                np.full(3, 1 / 3),
                lambda q: dpo(q, beta=0.5),
                Conditioning.SYMMETRIC,
                comparator_policy=policy,
            )
        )
        values.append(float(conditioned_value(policy, np.array(P), np.full(3, 1 / 3))))
    bayes = -(math.log(2 / 3) * 2 / 3 + math.log(1 / 3) / 3) / 3
    assert np.allclose(losses, bayes, atol=1e-9)
    assert abs(bayes - 0.212171389) < 1e-9
    return f"loss {bayes:.9f} throughout, V = {', '.join(f'{V:.6f}' for V in values)}"


@CLAIM.check(Role.INSTEAD, "property")
def any_reward_gives_the_formula() -> str:
    """Any r: pi_r is at the Bayes loss of the preferences sigma(h(w, l) - h(l, w)), so it minimizes (9)."""

    def holds(seed: int, k: int, beta: float) -> None:
        rng = np.random.default_rng(seed)
        reward, mu = rng.normal(size=(k, k)), rng.dirichlet(np.ones(k)) * 0.9 + 0.1 / k
        pi_r = gibbs_policy(reward, mu, beta)
        h = reward - beta * np.log((mu[:, None] * np.exp(reward / beta)).sum(axis=0))
        P = 1 / (1 + np.exp(h.T - h))
        loss = population_loss(P, mu, lambda q: dpo(q, beta=beta), Conditioning.SYMMETRIC, comparator_policy=pi_r)
        bayes = -(np.outer(mu, mu) * P * np.log(P) * (1 - np.eye(k))).sum()
        assert abs(loss - bayes) < 1e-10

    betas = st.sampled_from([0.3, 1.0, 2.0])
    return f"{strategies.for_all(holds, st.integers(0, 10**6), st.integers(2, 5), betas, tries=60)} rewards"


CLAIM.check(Role.REFUTED, "proof")(proof_of("minimizers_of_9"))
CLAIM.check(Role.REFUTED, "proof")(proof_of("valley_of_9"))
CLAIM.check(Role.INSTEAD, "proof")(proof_of("anchored_identifies"))

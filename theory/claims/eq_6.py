"""Equation (6): is the choice model mild, the reward being generic?

Eq. (6) is P(w > l) = sigma(2 h(w, l)) with h(y, y') = r(y, y') - beta log Z(y'). Z(y') is the number that
makes mu exp(h(., y') / beta) a distribution, the Gibbs policy pi_r(. | y'). So (6) says that
pi_r(y_i | y_j) = mu_i w_ij with w_ij = exp(L_ij / (2 beta)), L the log-odds of P, hence w_ij w_ji = 1. What
the others leave is pi_r(y_j | y_j) = 1 - sum_{i != j} mu_i w_ij; averaged over j ~ mu, for every K, beta, mu,

    E_j pi_r(y_j | y_j) = sum_j mu_j^2 - E_{i, j ~ mu}[cosh(L_ij / (2 beta)) - 1].

Two readings differ in the diagonal alone:

- all pairs: (6) is asked of y = y' as well, where P = 1/2 and so h(y, y) = 0. Then pi_r(y_j | y_j) = mu_j,
  the cosh terms vanish and P = 1/2. This is the paper's use of (6): it puts (6) into V of Eq. (5), whose
  sum over y contains y'.
- different responses: h(y, y) is free, and (6) has a reward if and only if every pi_r(y_j | y_j) is
  positive. Then E[cosh - 1] < sum_j mu_j^2, the chance that two draws of the reference coincide.

mu has full support; comparators that the reference never gives are not restricted by anything.
"""

from fractions import Fraction

import numpy as np
import z3
from hypothesis import strategies as st

from inspo.objectives import apply_psi, gibbs_policy
from theory import exact, solver, strategies
from theory.evidence import Claim, Role, says
from theory.exact import Matrix, Row, W
from theory.proved import proof_of
from theory.strategies import Array, Problem

CLAIM = Claim(
    id="eq-6",
    paper="Eq. (6); Sec. 4, from Eq. (5) to argmax E[r]",
    quote="model assumption in (6) is mild as r is unspecified and can be generic",
    reading="Every P has a reward r that obeys (6), and every r gives a P.",
    truth=(
        says(
            "Asked of all y, y' in the support of mu, as where the paper puts (6) into (5), it has a reward "
            "if and only if P = 1/2 there, whatever K, beta and mu: even Bradley-Terry has none.",
            "certificate",
            "choice_model_of_all_pairs_forces_half",
            "only_indifference_at_all_pairs",
            "generic_rewards_break_it",
            "two_responses",
            "columns_of_the_witness",
        ),
        says(
            "Asked of different responses only, it has one if and only if sum_{i != j} mu_i exp(L_ij / (2 "
            "beta)) < 1 for every j: some P at every beta, every P in (0, 1) for beta large enough.",
            "choice_model_of_different_responses",
            "a_reward_leaves_little_room",
            "different_responses_leave_some_room",
            "wide_enough_at_large_beta",
        ),
        says(
            "At a given beta E_{mu x mu}[cosh(L / (2 beta)) - 1] < sum_j mu_j^2, so that P - 1/2 is on "
            "average (root mean square over mu x mu) below beta sqrt(sum_j mu_j^2 / 2).",
            "choice_model_collision_bound",
            "certificate",
            "a_reward_leaves_little_room",
            "the_bounds_are_nearly_reached",
        ),
        says(
            "So where two draws of the reference hardly ever coincide, such as long answers of a language "
            "model, P is 1/2 on average over mu x mu on this reading too.",
            "certificate",
            "a_reward_leaves_little_room",
        ),
        says(
            "On it the best answer to y' by r can be y' itself where that by P is not: the paper's step from (5) to "
            "argmax E[r] needs the first reading.",
            "its_best_answer_may_be_the_comparator",
        ),
        says(
            "Nor does a generic r give probabilities by (6): P12 + P21 != 1.",
            "eq_6_is_no_probability",
            "generic_rewards_give_no_probabilities",
        ),
        says(
            "In place of (6) P(w > l) = sigma(h(w, l) - h(l, w)), h = r - beta log Z, asks for nothing: every P in "
            "(0, 1) has such an r, for every beta and every mu of full support.",
            "any_preference_is_fitted",
            "every_preference_has_a_reward",
        ),
    ),
    witness=says(
        "P12 = 4/5, mu = 1/2, beta = 1/2: mu1 exp(L_12 / (2 beta)) = 1/2 * 4 is no probability, on either reading",
        "two_responses",
    ),
)


def given(P: Matrix, mu: Row) -> Matrix:
    """pi_r(y_i | y_j) = mu_i odds_ij for i != j: what Eq. (6) says at beta = 1/2, where w is the odds."""
    k = range(len(mu))
    return tuple(tuple(mu[i] * exact.odds(P[i][j]) if i != j else Fraction(0) for j in k) for i in k)


@CLAIM.check(Role.REFUTED, "exact")
def two_responses() -> str:
    """P12 = 4/5, mu = 1/2, beta = 1/2: pi_r(y1 | y2) = 1/2 * 4 = 2 on either reading; with the diagonal 5/2."""
    P, mu = exact.preferences("4/5"), exact.uniform(2)
    assert given(P, mu)[0][1] == 2
    at_all_pairs = [sum(column) + m for column, m in zip(exact.columns(given(P, mu)), mu, strict=True)]
    assert at_all_pairs == list(exact.fractions("5/8 5/2"))
    return "pi_r(y1 | y2) = 2; columns 5/8 and 5/2 instead of 1"


@CLAIM.check(Role.REFUTED, "exact")
def columns_of_the_witness() -> str:
    """W, beta = 1/2, uniform: the others alone take 7/2 of column 3; with the diagonal 31/27, 44/63, 23/6."""
    others = [sum(column) for column in exact.columns(given(W, exact.uniform(3)))]
    assert max(others) == others[2] == Fraction(7, 2)
    sums = [other + Fraction(1, 3) for other in others]
    assert sums == list(exact.fractions("31/27 44/63 23/6"))
    mean = sum(sums, Fraction(0)) / 3
    assert mean == Fraction(2147, 1134)
    return f"7/2 > 1; with the diagonal 31/27, 44/63, 23/6, so E cosh = 2147/1134 = {float(mean):.6f}"


@CLAIM.check(Role.REFUTED, "symbolic")
def certificate() -> str:
    """E_j pi_r(y_j | y_j) = sum_j mu_j^2 - sum_{i<j} mu_i mu_j (sqrt w_ij - 1 / sqrt w_ij)^2, K = 2 to 5.

    All pairs: the left side is sum_j mu_j^2, so every square is zero. Different responses: the left side
    is positive. (sqrt w - 1 / sqrt w)^2 = 2 (cosh(L / (2 beta)) - 1).
    """
    import sympy as sp

    for k in (2, 3, 4, 5):
        mu = [*sp.symbols(f"mu1:{k}", positive=True)]
        mu.append(1 - sum(mu))
        root = {(i, j): sp.Symbol(f"s{i}{j}", positive=True) for i in range(k) for j in range(i + 1, k)}
        w = {p: s**2 for p, s in root.items()} | {(j, i): s**-2 for (i, j), s in root.items()}
        copies = [1 - sum(mu[i] * w[i, j] for i in range(k) if i != j) for j in range(k)]
        mean = sum(m * copy for m, copy in zip(mu, copies, strict=True))
        squares = sum(mu[i] * mu[j] * (s - 1 / s) ** 2 for (i, j), s in root.items())
        assert sp.expand(mean - sum(m**2 for m in mu) + squares) == 0
    L, beta = sp.symbols("L beta", positive=True)
    square = sp.exp(L / (2 * beta)) + sp.exp(-L / (2 * beta)) - 2
    assert sp.expand((2 * sp.cosh(L / (2 * beta)) - 2).rewrite(sp.exp) - square) == 0
    return "verified for K = 2 to 5: no square on the first reading, all of them below sum mu_j^2 on the second"


@CLAIM.check(Role.REFUTED, "z3")
def only_indifference_at_all_pairs() -> str:
    """All pairs, K = 2, 3: w positive, w_ij w_ji = 1 and mu-averages of columns 1 imply w = 1."""
    for k in (2, 3):
        w = solver.reals("w", k, k)
        mu, distribution = solver.distribution(k, "mu", full_support=True)
        cells = [(i, j) for i in range(k) for j in range(k)]
        antisymmetric = [z3.And(w[i][j] > 0, w[i][j] * w[j][i] == 1) for i, j in cells]
        normalized = [z3.Sum([mu[i] * w[i][j] for i in range(k)]) == 1 for j in range(k)]
        conclusion = z3.And([w[i][j] == 1 for i, j in cells])
        solver.prove([*distribution, *antisymmetric, *normalized], conclusion, [(mu, solver.typical(k)[1])])
    return "proved for K = 2, 3"


@CLAIM.check(Role.REFUTED, "property")
def generic_rewards_break_it() -> str:
    """All pairs: a reward with 2 h = logit P needs a Gibbs policy equal to mu exp(h / beta): never, unless P = 1/2."""

    def never(problem: strategies.Problem) -> None:
        P, mu = problem
        beta = 0.5
        h = apply_psi(P, "log_odds") / 2
        unnormalized = mu.astype(float)[:, None] * np.exp(h / beta)
        realizable = np.allclose(gibbs_policy(h, mu, beta), unnormalized, rtol=1e-9, atol=0)
        assert realizable == (P == exact.HALF).all()

    return f"{strategies.for_all(never, strategies.problems(interior=True, full_support=True))} problems"


@CLAIM.check(Role.REFUTED, "property")
def a_reward_leaves_little_room() -> str:
    """Different responses: where a reward obeys (6), P is within both bounds of the truth above.

    The reward is L / 2 with the diagonal that makes pi_r a distribution: at a beta for which there is one, from the
    least on.
    """
    by_cosh, by_square = [], []

    def bounded(problem: strategies.Problem, above: float) -> None:
        P, mu = problem[0].astype(float), problem[1].astype(float)
        h, k = apply_psi(P, "log_odds") / 2, len(mu)

        def spent(beta: float) -> Array:
            with np.errstate(over="ignore"):
                return np.asarray((mu[:, None] * np.where(np.eye(k), 0, np.exp(h / beta))).sum(axis=0))

        # pi_r(y_j | y_j) = 1 - spent: below `least` that is no probability for any h(y_j, y_j).
        low, least = 1e-3, 1e6
        for _ in range(100):
            middle = (low * least) ** 0.5
            low, least = (low, middle) if (spent(middle) < 1).all() else (middle, least)
        beta = above * least
        reward = h + beta * np.diag(np.log((1 - spent(beta)) / mu))
        policy = gibbs_policy(reward, mu, beta)
        fitted = np.exp(-np.logaddexp(0, -2 * beta * np.log(policy / mu[:, None])))
        assert np.allclose(np.where(np.eye(k), P, fitted), P, atol=1e-9)
        pairs, collision = np.outer(mu, mu), (mu**2).sum()
        by_cosh.append((pairs * (np.cosh(h / beta) - 1)).sum() / collision)
        by_square.append((pairs * (P - 0.5) ** 2).sum() / (beta**2 * collision / 2))
        assert by_cosh[-1] < 1
        assert by_square[-1] < 1

    problems = strategies.problems(interior=True, full_support=True)
    above = st.sampled_from([1.001, 1.1, 2.0])
    tried = strategies.for_all(bounded, problems, above, tries=200, covers=strategies.PROBLEMS)
    tried += strategies.for_all(bounded, strategies.cycles(interior=True), above, tries=60)
    near = f"cosh bound: {strategies.nearest(by_cosh, 0.95)}; mean square's: {strategies.nearest(by_square, 0.9)}"
    return f"{tried} problems; {near}"


@CLAIM.check(Role.INSTEAD, "exact")
def different_responses_leave_some_room() -> str:
    """Different responses, mu = 1/2, beta = 1/2: P12 = 3/5 has a reward, pi_r = (2/3, 1/3) and (3/4, 1/4)."""
    P, mu = exact.preferences("3/5"), exact.uniform(2)
    policy = (exact.fractions("2/3 3/4"), exact.fractions("1/3 1/4"))  # policy[i][j] = pi_r(y_i | y_j)
    assert [sum(column) for column in exact.columns(policy)] == [1, 1]
    for i, j in ((0, 1), (1, 0)):
        # sigma(2 h) with h = beta log(pi_r / mu), beta = 1/2: its odds are pi_r / mu.
        assert policy[i][j] / mu[i] == exact.odds(P[i][j])
    return "(6) gives 3/5 and 2/5; P12 < 2/3 is the condition"


@CLAIM.check(Role.INSTEAD, "exact")
def the_bounds_are_nearly_reached() -> str:
    """Different responses, rock-paper-scissors with odds 13/5, beta = 1/2, uniform: a reward, and 98 % of the bound.

    The others take (13/5 + 5/13) / 3 < 1 of each column; 1 would be reached at odds (3 + sqrt 5) / 2 = 2.618.
    """
    odds, collision = Fraction(13, 5), Fraction(1, 3)
    assert (odds + 1 / odds) / 3 < 1 < (Fraction(262, 100) + 1 / Fraction(262, 100)) / 3
    excess = Fraction(6, 9) * ((odds + 1 / odds) / 2 - 1)  # E[cosh(L / (2 beta)) - 1]; P = 1/2 where i = j
    square = Fraction(6, 9) * (odds / (1 + odds) - exact.HALF) ** 2  # E[(P - 1/2)^2], to be below collision / 8
    assert Fraction(98, 100) < excess / collision < 1
    assert Fraction(78, 100) < square / (collision / 8) < 1
    return (
        f"{float(excess / collision):.1%} of the cosh bound, {float(square / (collision / 8)):.0%} of the mean square's"
    )


@CLAIM.check(Role.INSTEAD, "exact")
def wide_enough_at_large_beta() -> str:
    """Different responses, W, uniform: no reward at beta = 17/10, one at 7/4; exp(L / (2 beta)) -> 1 as beta grows.

    Column 3 must have 9^(1 / (2 beta)) + (3/2)^(1 / (2 beta)) < 3, column 2 and 1 less.
    """

    def root_is_below(odds: Fraction, one: int, over: int, bound: Fraction) -> bool:
        """odds^(one / over) < bound."""
        return odds**one < bound**over

    odds = [sorted(exact.odds(p) for i, p in enumerate(column) if i != j) for j, column in enumerate(exact.columns(W))]
    assert odds == [list(exact.fractions(pair)) for pair in ("1/9 7/3", "3/7 2/3", "3/2 9")]
    # beta = 7/4: exponent 2/7. beta = 17/10: exponent 5/17.
    for column, bounds in zip(odds, ("1 1.3", "1 1", "1.123 1.874"), strict=True):
        assert all(root_is_below(o, 2, 7, bound) for o, bound in zip(column, exact.fractions(bounds), strict=True))
        assert sum(exact.fractions(bounds)) < 3
    assert not any(root_is_below(o, 5, 17, b) for o, b in zip(odds[2], exact.fractions("1.12 1.9"), strict=True))
    assert sum(exact.fractions("1.12 1.9")) > 3
    return "W has a reward at beta = 7/4 and none at 17/10"


@CLAIM.check(Role.INSTEAD, "exact")
def its_best_answer_may_be_the_comparator() -> str:
    """Different responses: P12, P13, P23 = 9/20, 2/3, 9/20, uniform, beta = 1/2: r answers y1 with y1, P with y2.

    So the paper's step from (5) to argmax E r does not hold on this reading: h(y', y') is not logit 1/2 / 2.
    """
    P, mu = exact.preferences("9/20 2/3 9/20"), exact.uniform(3)
    others = list(exact.columns(given(P, mu)))
    assert all(sum(column) < 1 for column in others), "(6) has a reward"
    against_y1 = (1 - sum(others[0]), *others[0][1:])  # pi_r(. | y1)
    gains = [p / m for p, m in zip(against_y1, mu, strict=True)]  # exp(h / beta)
    assert exact.argmax(gains) == {0}
    assert exact.best_responses(P)[0] == {1}
    return f"exp(h / beta) against y1: {', '.join(map(str, gains))}; P: 1/2, 11/20, 1/3"


@CLAIM.check(Role.REFUTED, "exact")
def eq_6_is_no_probability() -> str:
    """r(y1, y1) = ln 2, otherwise 0; beta = 1, mu = 1/2: (6) gives P12 = 1/2 and P21 = 4/13, the formula 3/5.

    Z(y1) = (2 + 1) / 2 = 3/2 and Z(y2) = 1. Odds by (6): (1 / Z(y2))^2 = 1 and (1 / Z(y1))^2 = 4/9. Gibbs:
    pi_r(y1 | y2) = 1/2, pi_r(y2 | y1) = 1/3.
    """
    Z1, Z2 = Fraction(3, 2), Fraction(1)
    by_eq_6 = [odds / (1 + odds) for odds in (Z2**-2, Z1**-2)]
    assert by_eq_6 == list(exact.fractions("1/2 4/13"))
    assert sum(by_eq_6) != 1
    odds = Fraction(1, 2) / Fraction(1, 3)
    assert odds / (1 + odds) == Fraction(3, 5)
    return "P12 + P21 = 1/2 + 4/13 = 21/26 by (6); P12 = 3/5 by the formula"


@CLAIM.check(Role.REFUTED, "property")
def generic_rewards_give_no_probabilities() -> str:
    """Random r: (6) gives P(w > l) + P(l > w) != 1 and another P than the formula's, through the library's pi_r."""

    def differ(seed: int, k: int, beta: float) -> None:
        rng = np.random.default_rng(seed)
        reward, mu = rng.normal(size=(k, k)), rng.dirichlet(np.ones(k)) * 0.9 + 0.1 / k
        h = beta * np.log(gibbs_policy(reward, mu, beta) / mu[:, None])
        pairs = np.triu_indices(k, 1)
        by_eq_6, by_formula = 1 / (1 + np.exp(-2 * h)), 1 / (1 + np.exp(h.T - h))
        assert (np.abs(by_eq_6 + by_eq_6.T - 1)[pairs] > 1e-6).any()
        assert (np.abs(by_eq_6 - by_formula)[pairs] > 1e-6).any()

    betas = st.sampled_from([0.3, 1.0, 2.0])
    return f"{strategies.for_all(differ, st.integers(0, 10**6), st.integers(2, 5), betas, tries=60)} rewards"


@CLAIM.check(Role.INSTEAD, "exact")
def every_preference_has_a_reward() -> str:
    """W, beta = 1/2: pi(y_i | y_j) = u / 3 odds_ij reproduces every P; the columns leave room up to u = 2/7."""
    room = []
    for j, column in enumerate(exact.columns(W)):
        others = sum(exact.odds(p) for i, p in enumerate(column) if i != j)
        room.append(Fraction(3) / others)
    assert min(room) == Fraction(6, 21)
    u = Fraction(1, 5)
    for i in range(3):
        for j in range(3):
            if i != j:
                forward, back = u / 3 * exact.odds(W[i][j]), u / 3 * exact.odds(W[j][i])
                # sigma(beta log(forward / back)) with beta = 1/2: its odds squared are forward / back.
                assert exact.odds(W[i][j]) ** 2 == forward / back
    return f"u up to {min(room)}"


@CLAIM.check(Role.INSTEAD, "property")
def any_preference_is_fitted() -> str:
    """r = (beta log of a minimizer over mu): h of that r returns log-odds L for random interior P."""

    def fitted(problem: Problem, beta: float) -> None:
        L = apply_psi(problem[0], "log_odds")
        mu = np.asarray(problem[1], dtype=float)
        g = L / (2 * beta)
        policy = mu[:, None] * np.exp(g - np.abs(g).max() - 0.1)
        np.fill_diagonal(policy, 0)
        policy += np.diag(1 - policy.sum(axis=0))
        reward = beta * np.log(policy / mu[:, None])
        pi_r = gibbs_policy(reward, mu, beta)
        h = beta * np.log(pi_r / mu[:, None])
        assert np.allclose(h - h.T, L, atol=1e-8)

    problems = strategies.problems(interior=True, full_support=True)
    return f"{strategies.for_all(fitted, problems, st.sampled_from([0.5, 1.0, 2.0]), tries=60)} preferences"


CLAIM.check(Role.REFUTED, "proof")(proof_of("choice_model_of_all_pairs_forces_half"))
CLAIM.check(Role.REFUTED, "proof")(proof_of("choice_model_collision_bound"))
CLAIM.check(Role.INSTEAD, "proof")(proof_of("choice_model_of_different_responses"))

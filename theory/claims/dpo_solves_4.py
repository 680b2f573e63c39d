"""Section 2, after Azar et al.: does DPO solve (4) with psi = log-odds?

At the minimum of DPO's population loss, pairs drawn from nu, every response's fitted wins equal its real
ones: sum_j nu_j sigma(c_i - c_j) = sum_j nu_j P[i, j] = S(i), c = beta log(pi / mu). The left side rises
with c_i, so DPO orders c by S(i), the mean preference. That is psi = identity: Borda's count.

IPO's population loss is a square, so its minimum is linear in P: log(pi / mu) = S / tau + constant. With nu = mu that
is the solution of (4) with psi = identity and a KL penalty tau.
"""

from fractions import Fraction

import numpy as np
import z3
from hypothesis import strategies as st

from inspo.conditioning import Conditioning
from inspo.losses import dpo, ipo
from inspo.objectives import gibbs_policy, population_loss, scores, value
from theory import exact, flow, solver, strategies
from theory.evidence import Claim, Role, says
from theory.exact import W
from theory.strategies import Array, Problem

CLAIM = Claim(
    id="dpo-solves-4",
    paper="Sec. 2, Eq. (1), Eq. (2), Eq. (3), Eq. (4); Table 1 (IPO), Sec. 5.3 (i)",
    quote=(
        "DPO shows that solving (2) is equivalent to modeling ... both methods unify under a general preference "
        "optimization framework with the scalarization function Psi(q) = log(q / (1 - q))"
    ),
    reading="RLHF, (1) and (2), and DPO, (3), have one solution, and it solves (4) for that psi.",
    truth=(
        says(
            "Eq. (4) as the paper prints it has no KL term, and no policy of full support, as DPO's is, "
            "solves it even under Bradley-Terry.",
            "as_printed_it_has_no_kl",
        ),
        says(
            "With a KL penalty in (4), and under Bradley-Terry, RLHF and DPO solve it with log-odds.",
            "bradley_terry_makes_it_true",
            "bradley_terry_by_hand",
            "rlhf_is_where_dpo_is",
        ),
        says(
            "For other preferences too both arrive at one policy, as the paper says of (1) and (2), and (3).",
            "rlhf_is_where_dpo_is",
        ),
        says(
            "It orders log(pi / pi_ref) by the mean preference under the distribution that pairs are drawn "
            "from: Borda's order, that of psi = identity.",
            "dpo_orders_by_borda",
            "stationary_points_are_in_bordas_order",
            "borda_against_log_odds",
            "fitted_policy_of_the_witness",
        ),
        says(
            "IPO does for all preferences what DPO does under Bradley-Terry: its minimizer is pi proportional to mu "
            "exp(S / tau), the one solution of (4) with psi = identity and penalty tau.",
            "normal_equations",
            "no_policy_has_a_smaller_loss",
        ),
        says(
            "So IPO traces the best V for each KL: no prompt-only policy, however trained, lies above it.",
            "frontier_of_value_and_divergence",
        ),
    ),
    missing=says(
        "Bradley-Terry preferences, and a penalty beta KL(pi, pi_ref) in (4), which the paper prints without one",
        "bradley_terry_makes_it_true",
        "bradley_terry_by_hand",
        "as_printed_it_has_no_kl",
    ),
    witness=says(
        "W: DPO raises y2 most (mean preference 18/30 > 17/30), log-odds would choose y1 (odds 27/7 > 7/2)",
        "borda_against_log_odds",
        "fitted_policy_of_the_witness",
    ),
)


@CLAIM.check(Role.REFUTED, "exact")
def borda_against_log_odds() -> str:
    """W, uniform: Borda scores 17/30 < 18/30 order DPO's policy; log-odds order y1 first."""
    mu = exact.uniform(3)
    assert exact.argmax(exact.scores(W, mu)) == {1}
    assert exact.argmax(exact.odds_products(W, mu)) == {0}
    skewed = exact.fractions("1/10 1/10 8/10")
    assert exact.argmax(exact.scores(W, skewed)) == {0}
    return "Borda y2, log-odds y1; pairs drawn from (.1, .1, .8) make it y1"


@CLAIM.check(Role.REFUTED, "z3")
def stationary_points_are_in_bordas_order() -> str:
    """K = 3, any increasing sigma with sigma(-z) = 1 - sigma(z): c_1 > c_2 if and only if S(1) > S(2)."""
    k, r = 3, range(3)
    c, s = solver.reals("c", k), solver.reals("s", k, k)  # s[i][j] = sigma(c_i - c_j)
    nu, distribution = solver.distribution(k, "nu", full_support=True)
    P, valid = solver.preference_matrix(k)
    symmetric = [s[i][j] + s[j][i] == 1 for i in r for j in r]
    cells = [(i, j) for i in r for j in r]
    increasing = [
        z3.And((c[i] - c[j] < c[a] - c[b]) == (s[i][j] < s[a][b]), (c[i] - c[j] == c[a] - c[b]) == (s[i][j] == s[a][b]))
        for i, j in cells for a, b in cells
    ]  # fmt: skip
    S = [z3.Sum([nu[j] * P[i][j] for j in r]) for i in r]
    stationary = [z3.Sum([nu[j] * s[i][j] for j in r]) == S[i] for i in r]
    hypotheses = [*distribution, *valid, *symmetric, *increasing, *stationary]
    typical, uneven, _ = solver.typical(k)
    solver.prove(hypotheses, (c[0] > c[1]) == (S[0] > S[1]), [(P, typical), (nu, uneven)])
    return "proved for K = 3"


@CLAIM.check(Role.REFUTED, "numeric")
def fitted_policy_of_the_witness() -> str:
    """W, beta = 1: DPO's policy is (.397636, .459993, .142371), and no neighbor has a smaller library loss."""
    mu = np.full(3, 1 / 3)
    policy = flow.dpo_limit(W, mu, 1.0)
    assert np.allclose(policy, [0.397636, 0.459993, 0.142371], atol=1e-6)

    def loss(candidate: Array) -> float:
        return float(
            population_loss(np.array(W), mu, lambda q: dpo(q, beta=1.0), Conditioning.NONE, prompt_policy=candidate)
        )

    least, rng = loss(policy), np.random.default_rng(0)
    for other in rng.dirichlet(np.ones(3), size=50):
        assert loss(0.95 * policy + 0.05 * other) > least
    return "pi = (.397636, .459993, .142371)"


@CLAIM.check(Role.REFUTED, "property")
def dpo_orders_by_borda() -> str:
    """Random problems, pairs drawn from nu, here mu backward: log(pi / mu) is in the order of the scores under nu."""

    def same_order(problem: Problem) -> None:
        P, mu = problem
        nu = mu[::-1]
        logits = np.log(flow.dpo_limit(P, mu, 1.0, nu) / np.asarray(mu, dtype=float))
        borda = scores(P, nu)
        for i in range(len(mu)):
            for j in range(len(mu)):
                if borda[i] > borda[j] + Fraction(1, 10**6):
                    assert logits[i] > logits[j]

    problems = strategies.problems(interior=True, full_support=True)
    return f"{strategies.for_all(same_order, problems, tries=60, covers=strategies.PROBLEMS)} problems"


@CLAIM.check(Role.INSTEAD, "numeric")
def rlhf_is_where_dpo_is() -> str:
    """RLHF's two stages, a Bradley-Terry reward by maximum likelihood and its KL-regularized optimum: DPO's policy.

    Zermelo's iteration for the reward, on pairs from mu; W, three references, two betas.
    """
    P = np.array(W, dtype=float)
    for mu in np.array([[1, 1, 1], [5, 3, 2], [1, 1, 8]]) / np.array([[3], [10], [10]]):
        pairs = np.outer(mu, mu) * (1 - np.eye(3))
        strengths = np.ones(3)
        for _ in range(2000):
            strengths = (pairs * P).sum(axis=1) / (pairs / np.add.outer(strengths, strengths)).sum(axis=1)
            strengths /= strengths.sum()
        for beta in (1.0, 0.3):
            policy = gibbs_policy(np.log(strengths), mu, beta)
            assert np.allclose(policy, flow.dpo_limit(P, mu, beta), atol=1e-9)
    return "the same policy to 1e-9"


@CLAIM.check(Role.REFUTED, "exact")
def as_printed_it_has_no_kl() -> str:
    """Bradley-Terry 4:2:1: (4) as printed is linear in pi and has y1 alone as its solution; DPO's is (4, 2, 1) / 7."""
    P, mu = exact.bradley_terry([4, 2, 1]), exact.uniform(3)
    products = exact.odds_products(P, mu)
    assert products == exact.fractions("8 1 1/8"), "S_log = ln 2, 0, -ln 2"
    for power in (1, 2, 10):  # DPO at beta = 1 / power: log(pi / mu) = power S_log + constant
        weights = [exact.fractions("4 2 1")[i] ** power for i in range(3)]
        policy = tuple(w / sum(weights) for w in weights)
        assert policy[0] - policy[2] < 1, "V = (pi_1 - pi_3) ln 2 is below ln 2, that of y1 alone"
    return "V of y1 alone ln 2 = .693, of (4, 2, 1) / 7 3/7 ln 2 = .297"


@CLAIM.check(Role.REPAIRED, "property")
def bradley_terry_makes_it_true() -> str:
    """P = s_i / (s_i + s_j): DPO's policy is mu exp(S_log / beta) / Z, the solution of KL-regularized (4)."""

    def equal(strengths: list[int], beta: float) -> None:
        k = len(strengths)
        P, mu = np.array(exact.bradley_terry(strengths)), np.full(k, 1 / k)
        solution = flow.softmax(np.log(mu) + scores(P, mu, "log_odds") / beta)
        assert np.allclose(flow.dpo_limit(P, mu, beta), solution, atol=1e-9)

    strengths = st.lists(st.integers(1, 9), min_size=2, max_size=5)
    return f"{strategies.for_all(equal, strengths, st.sampled_from([0.3, 1.0]), tries=60)} Bradley-Terry problems"


@CLAIM.check(Role.REPAIRED, "exact")
def bradley_terry_by_hand() -> str:
    """Strengths 4:2:1, beta = 1, uniform: pi = (4, 2, 1) / 7 fits every odds, and odds products order alike."""
    P = exact.bradley_terry([4, 2, 1])
    policy = exact.fractions("4/7 2/7 1/7")
    assert all(policy[i] / policy[j] == exact.odds(P[i][j]) for i in range(3) for j in range(3))
    products = exact.odds_products(P, exact.uniform(3))
    assert [products[0] / products[1], products[1] / products[2]] == [2**3, 2**3]
    return "pi = (4, 2, 1) / 7"


@CLAIM.check(Role.INSTEAD, "exact")
def normal_equations() -> str:
    """The gradient of the squared loss vanishes at c = S / tau: sum_j nu_j (c_i - c_j - (2 P_ij - 1) / (2 tau)) = 0."""
    for P, nu in (
        (W, exact.uniform(3)),
        (W, exact.fractions("1/10 1/5 7/10")),
        (exact.preferences("1 0 1"), exact.uniform(3)),
    ):
        for tau in exact.fractions("1 1/10"):
            c = [score / tau for score in exact.scores(P, nu)]
            for i in range(3):
                assert sum(nu[j] * (c[i] - c[j] - (2 * P[i][j] - 1) / (2 * tau)) for j in range(3)) == 0
    return "exact for W under two references and for a certain cycle"


def closed_form(P: Array, mu: Array, tau: float) -> Array:
    """mu exp(S / tau), normalized.

    Kept independent of the toy's on purpose; tests/test_twins.py holds them together.
    """
    return flow.softmax(np.log(np.asarray(mu, dtype=float)) + np.asarray(scores(P, mu), dtype=float) / tau)


@CLAIM.check(Role.INSTEAD, "property")
def no_policy_has_a_smaller_loss() -> str:
    """The library's population loss is least at the closed form, against random neighbors."""

    def least(problem: Problem, tau: float, seed: int) -> None:
        P, mu = problem
        policy = closed_form(P, mu, tau)

        def loss(candidate: Array) -> float:
            return float(population_loss(P, mu, lambda q: ipo(q, tau=tau), Conditioning.NONE, prompt_policy=candidate))

        best = loss(policy)
        for other in np.random.default_rng(seed).dirichlet(np.ones(len(mu)), size=5):
            assert loss(0.9 * policy + 0.1 * other) >= best - 1e-12 * abs(best)

    problems = strategies.problems(full_support=True, max_k=4)
    taus = st.sampled_from([0.5, 1.0])
    return f"{strategies.for_all(least, problems, taus, st.integers(0, 99), tries=60)} problems"


@CLAIM.check(Role.INSTEAD, "property")
def frontier_of_value_and_divergence() -> str:
    """V - tau KL of any prompt-only policy is at most IPO's: none has more V at no more KL."""

    def frontier(problem: Problem, tau: float, seed: int) -> None:
        P, mu = problem
        reference = np.asarray(mu, dtype=float)

        def kl(policy: Array) -> float:
            return float((policy * np.log(np.maximum(policy, 1e-300) / reference)).sum())

        best = closed_form(P, mu, tau)
        V, divergence = float(value(best, P, mu)), kl(best)
        for other in np.random.default_rng(seed).dirichlet(np.full(len(mu), 0.5), size=20):
            assert float(value(other, P, mu)) - tau * kl(other) <= V - tau * divergence + 1e-12
            assert not (float(value(other, P, mu)) > V + 1e-9 and kl(other) < divergence - 1e-9)

    problems = strategies.problems(full_support=True)
    taus = st.sampled_from([0.05, 0.3, 1.0])
    return f"{strategies.for_all(frontier, problems, taus, st.integers(0, 99), tries=60)} problems"

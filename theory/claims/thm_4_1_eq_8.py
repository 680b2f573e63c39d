"""Theorem 4.1, first part, Eq. (7), (8), (11): is the regularized optimum the Gibbs policy?

For each comparator, E_pi[r] - beta KL(pi || mu) = beta log Z - beta KL(pi || pi_r) with pi_r proportional
to mu exp(r / beta): the maximum is at pi_r, and Eq. (8) is its logarithm.
"""

from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from inspo.objectives import best_responses, conditioned_value, gibbs_policy
from theory import exact, flow, strategies
from theory.evidence import Claim, Role, says
from theory.proved import proof_of
from theory.strategies import Array, Problem

CLAIM = Claim(
    id="thm-4.1-eq-8",
    paper="Thm 4.1, Eq. (7), (8), (11), (*)",
    quote=(
        "Solving the optimization problem (7) gives ... an optimal solution is given by the Gibbs distribution because "
        "of minimizing the KL divergence"
    ),
    reading="For responses and comparators that pi_ref gives: the solution is (11), which is (8) solved for r.",
    truth=(
        says(
            "For every finite r the Gibbs policy is the only solution and (8) holds.",
            "gibbs_solves_7",
            "reward_from_gibbs",
            "no_policy_does_better",
            "gradient_ascent_arrives_there",
            "by_hand",
        ),
        says(
            "The identity E_pi r - beta KL(pi, mu) = beta log Z - beta KL(pi, pi_r) shows it at once.",
            "identity_behind_it",
        ),
        says(
            "The support does matter: against a comparator that the reference never gives, any policy solves (7), "
            "and (8) fails for it.",
            "a_comparator_that_never_comes",
            "two_solutions_off_the_support",
        ),
        says(
            "Under a reference of full support pi_r has full support too, so that it is optimal only where "
            "all responses are best responses to all, as for P = 1/2.",
            "optimal_only_where_all_responses_are_best",
        ),
    ),
    witness=says("r = ((ln 2, 0), (0, 0)), beta = 1, mu = 1/2: pi_r(. | y1) = (2/3, 1/3), Z = 3/2", "by_hand"),
)


@CLAIM.check(Role.INSTEAD, "exact")
def a_comparator_that_never_comes() -> str:
    """r = 0, mu = (1/2, 1/2, 0): answering y3 with y1 always is a solution, and (8) asks for pi_r / mu = 1, not 2.

    (7) is -beta sum_j mu_j KL(pi(. | y_j), mu) <= 0 here, and 0 for this policy: its one column that
    is not mu has the weight mu_3 = 0 and a finite KL, log 2.
    """
    mu = exact.fractions("1/2 1/2 0")
    policy = (mu, mu, exact.fractions("1 0 0"))  # by comparator
    assert all(m == 0 for m, column in zip(mu, policy, strict=True) if column != mu)
    assert all(p == 0 for column in policy for p, m in zip(column, mu, strict=True) if m == 0), "KL is finite"
    ratios = [p / m for p, m in zip(policy[2], mu, strict=True) if m]
    assert ratios == [2, 0]
    return "pi_r / mu = 2 and 0 against y3, where r = 0 asks for 1"


@CLAIM.check(Role.INSTEAD, "property")
def two_solutions_off_the_support() -> str:
    """Random r, a comparator without mass: the library's pi_r and one that differs there have one value of (7)."""

    def tie(seed: int, k: int, beta: float) -> None:
        rng = np.random.default_rng(seed)
        reward, mu = rng.normal(size=(k, k)), np.append(rng.dirichlet(np.ones(k - 1)), 0.0)
        pi_r = gibbs_policy(reward, mu, beta)
        other = pi_r.copy()
        other[:, -1] = np.append(np.roll(pi_r[:-1, -1], 1), 0.0)
        assert objective(other, reward, mu, beta) == objective(pi_r, reward, mu, beta)
        implied = [beta * np.log(policy[:-1, -1] / mu[:-1]) for policy in (pi_r, other)]
        assert np.ptp(implied[0] - reward[:-1, -1]) < 1e-9  # (8): r up to log Z
        assert np.ptp(implied[1] - reward[:-1, -1]) > 1e-6

    betas = st.sampled_from([0.5, 1.0, 3.0])
    return f"{strategies.for_all(tie, st.integers(0, 10**6), st.integers(3, 5), betas, tries=40)} rewards"


@CLAIM.check(Role.INSTEAD, "property")
def optimal_only_where_all_responses_are_best() -> str:
    """Random problems and references of full support: pi_r, of full support too, has V = V* only if B(j) is everything.

    Over exact policies of full support; for the Gibbs policy with K = 2, r = P it is so exactly at P = 1/2.
    """

    def only_there(problem: Problem, weights: list[int]) -> None:
        P, mu = problem
        k = len(mu)
        policy = np.array([[Fraction(w, sum(weights[:k])) for _ in range(k)] for w in weights[:k]])
        assert (conditioned_value(policy, P, mu) == (P.max(axis=0) * mu).sum()) == best_responses(P).all()

    weights = st.lists(st.integers(1, 9), min_size=5, max_size=5)
    tried = strategies.for_all(only_there, strategies.problems(full_support=True), weights, tries=80)
    even = np.full((2, 2), 0.5)
    mu = np.array([0.3, 0.7])
    assert abs(conditioned_value(gibbs_policy(even, mu, 0.1), even, mu) - 0.5) < 1e-15
    return f"{tried} policies; at P = 1/2 pi_r = mu is optimal"


@CLAIM.check(Role.STATED, "symbolic")
def identity_behind_it() -> str:
    """E_pi r - KL(pi, mu) = log Z - KL(pi, pi_r), symbolically for K = 2 to 5 (beta = 1 by scaling r)."""
    import sympy as sp

    for k in range(2, 6):
        pi, mu = sp.symbols(f"p1:{k + 1}", positive=True), sp.symbols(f"m1:{k + 1}", positive=True)
        r, log_z = sp.symbols(f"r1:{k + 1}", real=True), sp.Symbol("logZ", real=True)
        log_gibbs = [sp.log(mu[i]) + r[i] - log_z for i in range(k)]
        objective = sum(pi[i] * r[i] - pi[i] * (sp.log(pi[i]) - sp.log(mu[i])) for i in range(k))
        other = log_z * sum(pi) - sum(pi[i] * (sp.log(pi[i]) - log_gibbs[i]) for i in range(k))
        assert sp.expand(objective - other) == 0
    return "verified for K = 2 to 5"


def objective(policy: Array, reward: Array, mu: Array, beta: float) -> float:
    """The value of (7)."""
    given = np.where(mu > 0, mu, 1)[:, None]
    kl = policy * np.log(np.where(policy > 0, policy / given, 1))
    return float(((policy * reward - beta * kl) * mu).sum())


@CLAIM.check(Role.STATED, "property")
def no_policy_does_better() -> str:
    """gibbs_policy beats random policies, and Eq. (8) returns its reward."""

    def best(seed: int, k: int, beta: float) -> None:
        rng = np.random.default_rng(seed)
        reward, mu = rng.normal(size=(k, k)), rng.dirichlet(np.ones(k))
        pi_r = gibbs_policy(reward, mu, beta)
        Z = (mu[:, None] * np.exp(reward / beta)).sum(axis=0)
        assert np.allclose(beta * (np.log(pi_r / mu[:, None]) + np.log(Z)), reward, atol=1e-9)
        for other in rng.dirichlet(np.ones(k), size=(20, k)).swapaxes(1, 2):
            assert objective(other, reward, mu, beta) < objective(pi_r, reward, mu, beta)
            mixed = 0.99 * pi_r + 0.01 * other
            assert objective(mixed, reward, mu, beta) < objective(pi_r, reward, mu, beta)

    betas = st.sampled_from([0.1, 0.5, 1.0, 3.0])
    return f"{strategies.for_all(best, st.integers(0, 10**6), st.integers(2, 5), betas, tries=40)} rewards"


@CLAIM.check(Role.STATED, "ODE")
def gradient_ascent_arrives_there() -> str:
    """Gradient flow on (7), from mu, ends at mu exp(r / beta) / Z."""
    rng = np.random.default_rng(1)
    k, beta = 3, 0.7
    reward, mu = rng.normal(size=k), np.array([0.5, 0.3, 0.2])

    def ascent(logits: Array) -> Array:
        policy = flow.softmax(logits)
        gain = reward - beta * np.log(policy / mu)
        return np.asarray(policy * (gain - policy @ gain))

    logits = flow.integrate(ascent, np.log(mu), lambda logits: float(np.abs(ascent(logits)).max()))
    expected = mu * np.exp(reward / beta)
    error = float(np.abs(flow.softmax(logits) - expected / expected.sum()).max())
    assert error < 1e-8
    return f"largest error {error:.0e}" if error > 1e-9 else "error below 1e-9"


@CLAIM.check(Role.STATED, "exact")
def by_hand() -> str:
    """r = (ln 2, 0), beta = 1, mu = 1/2: weights 1 and 1/2, so Z = 3/2 and pi_r = (2/3, 1/3)."""
    weights = [Fraction(1, 2) * 2, Fraction(1, 2) * 1]
    Z = sum(weights)
    assert Z == Fraction(3, 2)
    assert [w / Z for w in weights] == [Fraction(2, 3), Fraction(1, 3)]
    return "pi_r = (2/3, 1/3), Z = 3/2"


CLAIM.check(Role.STATED, "proof")(proof_of("gibbs_solves_7"))
CLAIM.check(Role.STATED, "proof")(proof_of("reward_from_gibbs"))

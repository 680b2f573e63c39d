"""Theorem 4.1, first part, Eq. (7), (8), (11): is the regularised optimum the Gibbs policy?

For each comparator, E_pi[r] - beta KL(pi || mu) = beta log Z - beta KL(pi || pi_r) with pi_r proportional
to mu exp(r / beta): the maximum is at pi_r, and Eq. (8) is its logarithm.
"""

import numpy as np
from hypothesis import strategies as st

from inspo.objectives import gibbs_policy
from theory import flow, strategies
from theory.claims import Claim, Role
from theory.strategies import Array

CLAIM = Claim(
    id="thm-4.1-eq-8",
    paper="Thm 4.1, Eq. (7), (8), (11), (*)",
    statement="Solving (7) gives r = beta [log(pi_r / pi_ref) + log Z], the Gibbs policy (11).",
    truth=(
        "True for every finite r, and the Gibbs policy is the only solution, where comparators and responses are in "
        "the support of mu. The identity E_pi r - beta KL(pi, mu) = beta log Z - beta KL(pi, pi_r) shows it at once. "
        "pi_r has the support of mu, so it is never pi* itself."
    ),
    missing="",
    witness="r = ((ln 2, 0), (0, 0)), beta = 1, mu = 1/2: pi_r(. | y1) = (2/3, 1/3), Z = 3/2",
)


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
    kl = policy * np.log(np.where(policy > 0, policy, 1) / mu[:, None])
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

    limit = flow.integrate(ascent, np.log(mu), lambda logits: float(np.abs(ascent(logits)).max()))
    expected = mu * np.exp(reward / beta)
    error = float(np.abs(flow.softmax(limit.logits) - expected / expected.sum()).max())
    assert error < 1e-8
    return f"largest error {error:.0e}" if error > 1e-9 else "error below 1e-9"


@CLAIM.check(Role.STATED, "exact")
def by_hand() -> str:
    """r = (ln 2, 0), beta = 1, mu = 1/2: weights 1 and 1/2, so Z = 3/2 and pi_r = (2/3, 1/3)."""
    from fractions import Fraction

    weights = [Fraction(1, 2) * 2, Fraction(1, 2) * 1]
    Z = sum(weights)
    assert Z == Fraction(3, 2)
    assert [w / Z for w in weights] == [Fraction(2, 3), Fraction(1, 3)]
    return "pi_r = (2/3, 1/3), Z = 3/2"

"""The choice model under which Eq. (9) is right, where Eq. (6) is not.

P(w > l) = sigma(h(w, l) - h(l, w)) with h = r - beta log Z, of any r whatever: not the antisymmetric h
that Eq. (6) forces on two different responses. Since h(y, y') = beta log pi_r(y | y') / pi_ref(y), this is
Eq. (9)'s own margin, with no factor 2 and nothing to derive.
"""

from fractions import Fraction

import numpy as np
import z3
from hypothesis import strategies as st

from inspo.conditioning import Conditioning
from inspo.losses import dpo
from inspo.objectives import apply_psi, gibbs_policy, population_loss
from theory import exact, solver, strategies
from theory.evidence import Claim, Role, says
from theory.exact import W
from theory.strategies import Problem

CLAIM = Claim(
    id="choice-model",
    paper="App. B, proof of Thm 4.1",
    statement=(
        "For a generic r, the choice model gives P(w > l) = sigma(beta [log pi_r(w | l) / pi_ref(w) - log pi_r(l | w) "
        "/ pi_ref(l)])."
    ),
    truth=(
        says(
            "With P(w > l) = sigma(h(w, l) - h(l, w)), h = r - beta log Z, the formula holds for every r.",
            "any_reward_gives_the_formula",
        ),
        says(
            "Every P in (0, 1) has such an r, for every beta and every mu of full support; not one r, but "
            "those of all the minimizers of (9).",
            "any_preference_is_fitted",
            "every_preference_has_a_reward",
        ),
        says(
            "Under Eq. (6) the proof's algebra is right, but for a generic r Eq. (6) gives no probabilities, "
            "P12 + P21 != 1 (see eq-6).",
            "under_eq_6_the_two_agree",
            "eq_6_is_no_probability",
            "generic_rewards_give_no_probabilities",
        ),
    ),
    missing="P(w > l) = sigma(h(w, l) - h(l, w)) in place of Eq. (6)",
    witness="W, beta = 1/2, mu uniform: pi_r(y_i | y_j) = u / 3 odds_ij, r = beta log(pi_r / mu), for any 0 < u < 2/7",
)


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


@CLAIM.check(Role.REPAIRED, "exact")
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


@CLAIM.check(Role.REPAIRED, "property")
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


@CLAIM.check(Role.REPAIRED, "property")
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


@CLAIM.check(Role.INSTEAD, "identity")
def under_eq_6_the_two_agree() -> str:
    """2 h(w, l) = h(w, l) - h(l, w) if and only if h(w, l) = -h(l, w): the proof's last step is right."""
    forward, back = z3.Reals("forward back")
    solver.prove([], (2 * forward == forward - back) == (forward == -back))
    return "proved"

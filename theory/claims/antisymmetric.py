"""Ours: which of Eq. (9)'s minimizers comes from an antisymmetric reward, r(y, y') = -r(y', y)?

pi_r minimizes (9) if r_ij - beta log Z_j - (r_ji - beta log Z_i) = L_ij. If r is antisymmetric that is
r_ij = L_ij / 2 + beta / 2 (log Z_j - log Z_i), so with q = Z^(-1/2)

    pi_r(i | j) = mu_i exp(L_ij / 2 beta) q_i q_j,    q_j sum_i mu_i exp(L_ij / 2 beta) q_i = 1.

q -> 1 / sum_i mu_i exp(L_ij / 2 beta) q_i contracts Hilbert's metric on positive q (Birkhoff), and scales inversely:
there is one q. Two of them would have a largest ratio M and a smallest m with M m = 1, and then M = m on the diagonal.
"""

from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from inspo.losses import dpo
from inspo.objectives import gibbs_policy, population_loss
from theory import exact, flow, strategies
from theory.evidence import Claim, Role, says
from theory.flow import Floats
from theory.proved import proof_of
from theory.strategies import Array, Problem

CLAIM = Claim(
    id="antisymmetric",
    paper="our own, to Thm 4.1, Eq. (7), (9)",
    quote="",
    reading=(
        "For every P in (0, 1), beta and reference of full support there is exactly one antisymmetric reward, "
        "r_ij = -r_ji, whose solution of (7) minimizes (9)."
    ),
    truth=(
        says(
            "It is r_ij = L_ij / 2 + beta / 2 (log Z_j - log Z_i), and its policy mu_i exp(L_ij / 2 beta) q_i q_j, "
            "with q the one positive vector that makes the columns sum to one.",
            "one_vector_from_every_start",
            "strengths_and_cycles_by_hand",
            "scaling_is_unique",
        ),
        says(
            "So it is the generality of r that breaks Theorem 4.1.",
            "one_vector_from_every_start",
            "scaling_is_unique",
        ),
        says(
            "r = L / 2 itself is it if and only if its Z is the same for every comparator, as in balanced cycles "
            "under a uniform reference.",
            "half_the_log_odds_if_z_is_constant",
            "strengths_and_cycles_by_hand",
        ),
        says(
            "Under Bradley-Terry preferences it is r = L, and its policy sees no comparator: it is DPO's.",
            "strengths_and_cycles_by_hand",
            "dpo_under_bradley_terry",
        ),
        says(
            "It need not tend to pi* as beta -> 0: where y3 beats y1 most, y2 beats y1 too and y2 beats y3, all "
            "comparators come to be answered with y2.",
            "not_the_best_response_in_the_limit",
            "how_often_not_in_the_limit",
        ),
    ),
    witness=says(
        "Bradley-Terry 4:2:1, beta = 1, uniform mu: r = L and pi_r = (4, 2, 1) / 7 against every comparator",
        "strengths_and_cycles_by_hand",
    ),
)


def fixed_point(L: Floats, mu: Floats, beta: float, log_q: Floats) -> Floats:
    """log q of the module, by iteration from `log_q`; each step is the geometric mean of q and its image."""
    table = L / (2 * beta) + np.log(mu)[:, None]
    for _ in range(10_000):
        moved = -(log_q + np.logaddexp.reduce(table + log_q[:, None], axis=0)) / 2
        log_q = log_q + moved
        if np.abs(moved).max() < 1e-14 * max(1.0, np.abs(table).max()):
            return log_q
    raise AssertionError("the iteration has not converged")


def policy_of(L: Floats, mu: Floats, beta: float, log_q: Floats) -> Floats:
    """mu_i exp(L_ij / 2 beta) q_i q_j."""
    table: Floats = np.exp(L / (2 * beta) + np.log(mu)[:, None] + log_q[:, None] + log_q)
    return table


@CLAIM.check(Role.STATED, "property")
def one_vector_from_every_start() -> str:
    """Random problems, three starts: one q; its r is antisymmetric; its pi_r has the least loss, another r's more."""

    def one(problem: Problem, beta: float, seed: int) -> None:
        P, mu = (np.asarray(table, dtype=float) for table in problem)
        L, rng = np.log(P / (1 - P)), np.random.default_rng(seed)
        found = np.array([fixed_point(L, mu, beta, rng.normal(scale=5, size=len(mu))) for _ in range(3)])
        assert np.abs(found - found[0]).max() < 1e-9
        policy = policy_of(L, mu, beta, found[0])
        assert np.abs(policy.sum(axis=0) - 1).max() < 1e-9
        r = L / 2 + beta * (found[0][:, None] - found[0])  # log Z = -2 log q
        assert np.abs(r + r.T).max() < 1e-12
        assert np.abs(gibbs_policy(r, mu, beta) - policy).max() < 1e-9
        bump = np.triu(rng.normal(size=P.shape), 1)
        losses = [
            float(population_loss(P, mu, lambda q: dpo(q, beta=beta), comparator_policy=gibbs_policy(reward, mu, beta)))
            for reward in (r, r + bump - bump.T)
        ]
        bayes = -(np.outer(mu, mu) * P * np.log(P) * (1 - np.eye(len(mu)))).sum()
        assert abs(losses[0] - bayes) < 1e-9
        assert losses[1] > losses[0]

    problems = strategies.problems(interior=True, full_support=True).filter(
        lambda problem: min(map(float, problem[0].flat)) > 0.04
    )
    count = strategies.for_all(one, problems, st.sampled_from([0.3, 1.0, 2.0]), st.integers(0, 99), tries=40)
    return f"{count} problems"


@CLAIM.check(Role.STATED, "exact")
def strengths_and_cycles_by_hand() -> str:
    """Strengths s, uniform mu: q_i = s_i^(1 / beta) / norm gives s^(1 / beta) in every column. Cycles: q constant.

    With exp(L_ij / 2 beta) = t_ij the columns are mu_i t_ij q_i q_j. Strengths 4:2:1 and 9:4:1 with beta = 1, 1/2: for
    beta = 1 t_ij is sqrt(s_i / s_j) and q_i sqrt(s_i) up to scale, so that mu_i t_ij q_i q_j = mu_i s_i / norm.
    A cycle of odds w: t_ij is u, 1/u with u = w^(1 / 2 beta), the columns sum to q^2 (1 + u + 1/u) / 3.
    """
    mu = exact.uniform(3)
    for strengths in ((16, 4, 1), (81, 16, 1)):
        P, roots = exact.bradley_terry(strengths), [Fraction(round(s**0.5)) for s in strengths]
        for power in (1, 2):  # beta = 1 / power
            t = [[(a / b) ** power for b in roots] for a in roots]
            norm = sum((m * a ** (2 * power) for m, a in zip(mu, roots, strict=True)), Fraction(0))
            columns = [[mu[i] * t[i][j] * (roots[i] * roots[j]) ** power / norm for i in range(3)] for j in range(3)]
            weights = [Fraction(s) ** power for s in strengths]
            assert all(t[i][j] ** 2 == exact.odds(P[i][j]) ** power for i in range(3) for j in range(3))
            assert all(column == [w / sum(weights) for w in weights] for column in columns)
    for u in exact.fractions("2 3 10"):
        P = exact.preferences([u**2 / (1 + u**2), 1 / (1 + u**2), u**2 / (1 + u**2)])
        t = [[{1: u, 2: 1 / u}.get((j - i) % 3, Fraction(1)) for j in range(3)] for i in range(3)]
        assert all(t[i][j] ** 2 == exact.odds(P[i][j]) for i in range(3) for j in range(3))
        assert {sum(column) for column in zip(*t, strict=True)} == {1 + u + 1 / u}
    return "(4, 2, 1)-like columns alike; in cycles Z = (1 + u + 1/u) / 3 for all"


@CLAIM.check(Role.INSTEAD, "property")
def half_the_log_odds_if_z_is_constant() -> str:
    """Random problems, half of them cycles: pi_r for r = L / 2 has the margins L if and only if its Z is constant."""
    met = {True: 0, False: 0}

    def same(P: Array, beta: float) -> None:
        mu = np.full(len(P), 1 / len(P))
        table = P.astype(float)
        L = np.log(table / (1 - table))
        Z = mu @ np.exp(L / (2 * beta))
        g = np.log(gibbs_policy(L / 2, mu, beta) / mu[:, None])
        constant = bool(np.ptp(np.log(Z)) < 1e-9)
        met[constant] += 1
        assert bool(np.abs(beta * (g - g.T) - L).max() < 1e-8) == constant

    tables = st.one_of(*[strategies.preference_matrices(k, interior=True) for k in (2, 3, 5)])
    cycles = st.fractions(Fraction(1, 20), Fraction(19, 20), max_denominator=20).map(
        lambda p: np.array(exact.preferences([p, 1 - p, p]))
    )
    count = strategies.for_all(same, st.one_of(tables, cycles), st.sampled_from([0.5, 1.0]), tries=80)
    assert min(met.values()) >= count / 10
    return f"{count} problems, each side at least a tenth"


@CLAIM.check(Role.INSTEAD, "numeric")
def dpo_under_bradley_terry() -> str:
    """Strengths 4:2:1 and 9:5:2:1, references of both kinds, beta = 1, .3: DPO's policy in every column; r = L."""
    rng = np.random.default_rng(0)
    for strengths in ([4, 2, 1], [9, 5, 2, 1]):
        P = np.array(exact.bradley_terry(strengths), dtype=float)
        L = np.log(P / (1 - P))
        for mu in (np.full(len(P), 1 / len(P)), rng.dirichlet(np.full(len(P), 5.0))):
            for beta in (1.0, 0.3):
                log_q = fixed_point(L, mu, beta, np.zeros(len(P)))
                fitted = flow.dpo_limit(P, mu, beta)
                assert np.abs(policy_of(L, mu, beta, log_q) - fitted[:, None]).max() < 1e-9
                assert np.abs(L / 2 + beta * (log_q[:, None] - log_q) - L).max() < 1e-9
    return "eight problems agree to 1e-9"


@CLAIM.check(Role.INSTEAD, "numeric")
def not_the_best_response_in_the_limit() -> str:
    """Odds y2:y1, y3:y1, y2:y3 = 2, 4, 4: pi(y3 | y1) <= 1 / (t - 1/t - t^-3), t = 2^(1 / 2 beta), so all answer y2.

    Since pi(2 | 1) pi(2 | 3) <= 1, pi(3 | 1) <= 1 / (t pi(2 | 2)); and pi(1 | 2), pi(3 | 2) <= t^-2, t^-4, by their
    margins. y3 is the best response to y1.
    """
    P, mu = exact.preferences("1/3 1/5 4/5"), exact.uniform(3)
    assert exact.best_responses(P) == [{2}, {1}, {1}]
    assert exact.best_value(P, mu) == Fraction(7, 10)
    assert max(exact.scores(P, mu)) == Fraction(59, 90)
    table = np.array(P, dtype=float)
    L, shares, values = np.log(table / (1 - table)), [], []
    for beta in (0.2, 0.1, 0.05, 0.02):
        policy = policy_of(L, np.full(3, 1 / 3), beta, fixed_point(L, np.full(3, 1 / 3), beta, np.zeros(3)))
        t = 2 ** (1 / (2 * beta))
        assert policy[2, 0] <= 1 / (t - 1 / t - t**-3)
        shares.append(float(policy[2, 0]))
        values.append(flow.conditioned_value(policy, table, np.full(3, 1 / 3)))
    assert shares[-1] < 1e-6
    assert abs(values[-1] - 59 / 90) < 1e-6
    return f"pi(y3 | y1) = {', '.join(f'{s:.1e}' for s in shares)}; V -> V(pi_bar) = 59/90 < V* = 7/10"


@CLAIM.check(Role.INSTEAD, "numeric")
def how_often_not_in_the_limit() -> str:
    """200 tables of independent uniform entries, uniform mu, beta = .01: V is below V* by more than .001."""
    rng, found = np.random.default_rng(0), []
    for k in (3, 4, 5):
        missed = 0
        for _ in range(200):
            above = np.triu(rng.uniform(size=(k, k)), 1)
            P = above + np.tril(1 - above.T, -1) + np.eye(k) / 2
            L, mu = np.log(P / (1 - P)), np.full(k, 1 / k)
            policy = policy_of(L, mu, 0.01, fixed_point(L, mu, 0.01, np.zeros(k)))
            missed += bool((P.max(axis=0) - (policy * P).sum(axis=0)).mean() > 1e-3)
        found.append(missed / 200)
    assert 0.2 < found[0] < found[1] < found[2] < 1
    return f"{', '.join(f'{share:.2f}' for share in found)} of the tables at K = 3, 4, 5"


CLAIM.check(Role.STATED, "proof")(proof_of("scaling_is_unique"))

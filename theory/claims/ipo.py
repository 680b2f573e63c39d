"""IPO (Table 1): which policy minimizes it?

The population loss is a square, so its minimum is linear in P: log(pi / mu) = S / tau + constant, with
S(i) = sum_j nu_j P[i, j] under the distribution nu of pairs. With nu = mu that is the solution of (4) with
psi = identity and a KL penalty tau.
"""

import numpy as np
from hypothesis import strategies as st

from inspo.conditioning import Conditioning
from inspo.losses import ipo
from inspo.objectives import population_loss, scores, value
from theory import exact, flow, strategies
from theory.evidence import Claim, Role, says
from theory.exact import W
from theory.strategies import Array, Problem

CLAIM = Claim(
    id="ipo",
    paper="Sec. 2, Table 1 (IPO)",
    statement="IPO fits the framework of (4): it solves it for a psi, with a KL penalty.",
    truth=(
        says(
            "For all preferences IPO's minimizer is pi proportional to mu exp(S / tau), the one solution of "
            "(4) with psi = identity and penalty tau.",
            "normal_equations",
            "normal_equations_in_general",
            "no_policy_has_a_smaller_loss",
        ),
        says(
            "So IPO traces the best V for each KL: no prompt-only policy, however trained, lies above it.",
            "frontier_of_value_and_divergence",
        ),
        says(
            "INS-IPO fixes g_ij - g_ji = (2 P_ij - 1) / (2 tau) and, like INS-DPO, nothing else.",
            "ins_ipo_is_as_free_as_ins_dpo",
        ),
    ),
    missing="",
    witness="W, mu uniform, tau = 1: log(pi / mu) = (17, 18, 10) / 30 + constant",
)


@CLAIM.check(Role.STATED, "exact")
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


@CLAIM.check(Role.STATED, "symbolic")
def normal_equations_in_general() -> str:
    """K = 2 to 4, any P and nu: the gradient of IPO's population loss is zero at c = S / tau."""
    import sympy as sp

    for k in (2, 3, 4):
        tau = sp.Symbol("tau", positive=True)
        nu = [*sp.symbols(f"n1:{k}", positive=True)]
        nu.append(1 - sum(nu))
        p = {(i, j): sp.Symbol(f"p{i}{j}") for i in range(k) for j in range(i + 1, k)}
        P = {(i, i): sp.Rational(1, 2) for i in range(k)} | p | {(j, i): 1 - q for (i, j), q in p.items()}
        c = sp.symbols(f"c1:{k + 1}")
        loss = sum(nu[i] * nu[j] * q * (c[i] - c[j] - 1 / (2 * tau)) ** 2 for (i, j), q in P.items())
        S = [sum(nu[j] * P[i, j] for j in range(k)) for i in range(k)]
        at = {c[i]: S[i] / tau for i in range(k)}
        assert all(sp.simplify(sp.diff(loss, c[i]).subs(at)) == 0 for i in range(k))
    return "verified for K = 2, 3, 4"


def closed_form(P: Array, mu: Array, tau: float) -> Array:
    """mu exp(S / tau), normalized.

    Kept independent of the toy's on purpose; tests/test_twins.py holds them together.
    """
    return flow.softmax(np.log(np.asarray(mu, dtype=float)) + np.asarray(scores(P, mu), dtype=float) / tau)


@CLAIM.check(Role.STATED, "property")
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


@CLAIM.check(Role.INSTEAD, "exact")
def ins_ipo_is_as_free_as_ins_dpo() -> str:
    """INS-IPO, per pair: p (d - a)^2 + (1 - p) (d + a)^2 with d = g_ij - g_ji, a = 1 / (2 tau): d = (2p - 1) a."""
    for p in exact.fractions("3/10 9/10 3/5"):
        a = exact.fractions("5/2")[0]
        d = (2 * p - 1) * a
        assert p * (d - a) + (1 - p) * (d + a) == 0
    return "one condition per pair: K (K - 1) / 2 free directions remain"

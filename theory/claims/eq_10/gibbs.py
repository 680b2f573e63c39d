"""The solution of (7), beside which what (9) trains is held: it depends on the reference, on beta and on psi.

Theorem 3.2 (i) is about pi*, the optimum without regularization; (7) and (9) contain pi_ref and beta.
"""

import math
from fractions import Fraction

import numpy as np

from inspo.objectives import apply_psi, best_responses, gibbs_policy
from theory import strategies
from theory.claims.eq_10.claim import CLAIM
from theory.evidence import Role
from theory.strategies import Problem


@CLAIM.check(Role.INSTEAD, "exact")
def the_reference_overrules() -> str:
    """pi_r(y1 | y2) > pi_r(y2 | y2) if and only if (3/2)^(1 / (2 beta)) > 9: no at beta = 1/10, yes at 1/11.

    The threshold is beta = ln 1.5 / (2 ln 9) = .0922676.
    """
    preferred_at_tenth = Fraction(3, 2) ** 5 > 9
    preferred_at_eleventh = Fraction(3, 2) ** 11 > 9**2
    assert (preferred_at_tenth, preferred_at_eleventh) == (False, True)
    assert abs(math.log(1.5) / (2 * math.log(9)) - 0.0922676) < 1e-7
    return "243/32 < 9 at beta = 1/10; (3/2)^11 > 81 at beta = 1/11"


@CLAIM.check(Role.INSTEAD, "numeric")
def through_the_library() -> str:
    """gibbs_policy at r = L / 2 flips at beta = .0922676; two psi give two policies."""
    P, mu = np.array([[0.5, 0.6], [0.4, 0.5]]), np.array([0.1, 0.9])
    reward = apply_psi(P, "log_odds") / 2
    threshold = math.log(1.5) / (2 * math.log(9))
    sides = [gibbs_policy(reward, mu, threshold * side)[:, 1].argmax() for side in (0.999, 1.001)]
    assert sides == [0, 1]
    by_identity = gibbs_policy(P, mu, 0.1)[:, 1]
    by_log_odds = gibbs_policy(apply_psi(P, "log_odds"), mu, 0.1)[:, 1]
    assert by_identity.argmax() != by_log_odds.argmax()
    return f"r = P: pi(y1 | y2) = {by_identity[0]:.3f}; r = L: {by_log_odds[0]:.3f}"


@CLAIM.check(Role.INSTEAD, "property")
def small_beta_recovers_the_best_responses() -> str:
    """pi_r of r = psi(P) puts all but mu-weighted exp(-margin / beta) on best responses."""

    def concentrates(problem: Problem) -> None:
        P, mu = problem
        best = best_responses(P)
        A = np.asarray(P, dtype=float)
        margin = min(
            (float(A[:, j].max() - A[i, j]) for j in range(len(mu)) for i in range(len(mu)) if not best[i, j]),
            default=1.0,
        )
        beta = margin / 60
        policy = gibbs_policy(A, np.asarray(mu, dtype=float), beta)
        assert (policy * ~best).sum(axis=0).max() < 1e-12 / float(min(mu))

    problems = strategies.problems(full_support=True)
    return f"{strategies.for_all(concentrates, problems, tries=80)} problems at beta = margin / 60"


@CLAIM.check(Role.INSTEAD, "symbolic")
def the_limit() -> str:
    """K = 2: pi_r(y1 | y2) = 1 / (1 + (mu2 / mu1) exp(-d / beta)) tends to 1 for any advantage d > 0."""
    import sympy as sp

    beta, d, odds = sp.symbols("beta d odds", positive=True)
    assert sp.limit(1 / (1 + odds * sp.exp(-d / beta)), beta, 0, "+") == 1
    assert sp.limit(1 / (1 + odds * sp.exp(-d / beta)), beta, sp.oo) == 1 / (1 + odds)
    return "1 as beta -> 0; the reference as beta -> infinity"

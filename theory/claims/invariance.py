"""Abstract and Section 4: is the trained policy invariant to the reference and to psi?

Theorem 3.2 (i) is about pi*, the optimum without regularization. What is trained is the optimum of (7)
or (9), and both contain pi_ref and beta.
"""

import math
from fractions import Fraction

import numpy as np

from inspo.objectives import apply_psi, best_responses, gibbs_policy
from theory import flow, strategies
from theory.evidence import Claim, Role, says
from theory.exact import W
from theory.strategies import Problem

CLAIM = Claim(
    id="invariance",
    paper="Sec. 4, abstract",
    statement="The policy that InSPO trains is invariant to psi and to the reference policy.",
    truth=(
        says(
            "What gradient flow finds for (9), which contains no psi, depends on the reference.",
            "gradient_flow_moves_with_the_reference",
        ),
        says(
            "The solution of (7) depends on the reference, on beta and, through r = psi(P), on psi.",
            "the_reference_overrules",
            "through_the_library",
        ),
        says(
            "At a given beta a reference that is confident enough overrules any preference.",
            "the_reference_overrules",
        ),
        says(
            "The solution of (7) tends to pi* on the support of mu as beta -> 0, and there alone is "
            "invariance regained; what gradient flow finds for (9) need not (see eq-10).",
            "small_beta_recovers_the_best_responses",
            "the_limit",
        ),
    ),
    missing="",
    witness="P12 = 3/5, mu = (1/10, 9/10), beta = 1/10: 9^(2 beta) > 3/2, so pi_r(. | y2) prefers y2, the worse",
)


@CLAIM.check(Role.REFUTED, "exact")
def the_reference_overrules() -> str:
    """pi_r(y1 | y2) > pi_r(y2 | y2) if and only if (3/2)^(1 / (2 beta)) > 9: no at beta = 1/10, yes at 1/11.

    The threshold is beta = ln 1.5 / (2 ln 9) = .0922676.
    """
    preferred_at_tenth = Fraction(3, 2) ** 5 > 9
    preferred_at_eleventh = Fraction(3, 2) ** 11 > 9**2
    assert (preferred_at_tenth, preferred_at_eleventh) == (False, True)
    assert abs(math.log(1.5) / (2 * math.log(9)) - 0.0922676) < 1e-7
    return "243/32 < 9 at beta = 1/10; (3/2)^11 > 81 at beta = 1/11"


@CLAIM.check(Role.REFUTED, "numeric")
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


@CLAIM.check(Role.REFUTED, "ODE")
def gradient_flow_moves_with_the_reference() -> str:
    """W, beta = 1, references (.5, .3, .2) and reversed: the trained policies are .15 to .24 apart.

    Total variation for each comparator; pairs are drawn from the reference, as in (9). DPO's are .217 apart.
    """
    references = [np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])]
    conditioned = [flow.conditioned_limit(W, mu, 1.0) for mu in references]
    plain = [flow.dpo_limit(W, mu, 1.0) for mu in references]
    distance = np.abs(conditioned[0] - conditioned[1]).sum(axis=0) / 2
    assert np.allclose(distance, [0.191557, 0.238032, 0.147113], atol=1e-5)
    assert abs(np.abs(plain[0] - plain[1]).sum() / 2 - 0.217141) < 1e-5
    return "total variation .192, .238, .147 by comparator; DPO .217"


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

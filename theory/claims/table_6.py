"""Appendix A, Table 6: is beta an inverse temperature?

A Gibbs policy mu exp(r / beta) / Z is the more even the larger beta.
"""

import numpy as np

from inspo.objectives import gibbs_policy
from theory import flow
from theory.evidence import Claim, Role, says

CLAIM = Claim(
    id="table-6",
    paper="App. A, Table 6",
    quote="beta > 0: Inverse temperature",
    reading="beta of (2), (7), (9) and (10) is an inverse temperature: the larger, the greedier the policy.",
    truth=(
        says(
            "It is a temperature. By (11) log pi_r / pi_ref is r / beta up to a constant: the larger beta, the nearer "
            "the policy to the reference; the smaller, the greedier.",
            "the_tilt_falls_with_beta",
            "cold_and_hot",
        ),
    ),
    witness=says(
        "r = (1, 0), mu = 1/2: pi_r(y1) = e^(1/beta) / (e^(1/beta) + 1), 1 at beta -> 0, 1/2 at beta -> infinity",
        "cold_and_hot",
        "the_tilt_falls_with_beta",
    ),
)


@CLAIM.check(Role.REFUTED, "symbolic")
def the_tilt_falls_with_beta() -> str:
    """Gibbs policy of r1 - r2 = d > 0: d/dbeta of log odds(y1) is -d / beta^2 < 0; limits infinity and those of mu."""
    import sympy as sp

    beta, d, m = sp.symbols("beta d m", positive=True)
    log_odds = sp.log(m) + d / beta
    assert sp.simplify(sp.diff(log_odds, beta) + d / beta**2) == 0
    assert sp.limit(log_odds, beta, 0, "+") == sp.oo
    assert sp.limit(log_odds, beta, sp.oo) == sp.log(m)
    return "falls from infinity to the reference's"


@CLAIM.check(Role.REFUTED, "numeric")
def cold_and_hot() -> str:
    """The library's Gibbs policy of r = (1, 0), mu = 1/2, at beta = .1, 1, 10, and DPO's of P12 = 3/4."""
    rewards, mu = np.array([1.0, 0.0]), np.array([0.5, 0.5])
    gibbs = [float(gibbs_policy(rewards, mu, beta)[0]) for beta in (0.1, 1.0, 10.0)]
    assert np.allclose(gibbs, [1 / (1 + np.exp(-1 / beta)) for beta in (0.1, 1.0, 10.0)])
    dpo = [float(flow.dpo_limit([[0.5, 0.75], [0.25, 0.5]], mu, beta)[0]) for beta in (0.1, 1.0, 10.0)]
    assert gibbs[0] > gibbs[1] > gibbs[2] > 0.5
    assert dpo[0] > dpo[1] > dpo[2] > 0.5
    return (
        f"pi_r(y1) = {', '.join(f'{share:.3f}' for share in gibbs)}; DPO's {', '.join(f'{share:.3f}' for share in dpo)}"
    )

"""Section 5.3 (ii), one-sided conditioning: does it learn what the comparator teaches?

Both responses are scored given the rejected one: log pi(w | l) against log pi(l | l). Whatever people
prefer, the loss falls to zero by never copying the comparator: pi(y' | y') -> 0.
"""

import numpy as np

from inspo.conditioning import Conditioning
from inspo.losses import dpo
from inspo.objectives import population_loss
from theory import exact, flow, strategies
from theory.evidence import Claim, Role
from theory.exact import W
from theory.flow import Floats
from theory.strategies import Problem

CLAIM = Claim(
    id="one-sided",
    paper="Sec. 5.3 (ii)",
    statement="One-sided conditioning confirms that seeing the other response provides value regardless of symmetry.",
    truth=(
        "The one-sided loss has infimum 0 for every P, reversed or constant, and no minimizer: any policy that never "
        "copies its comparator will do. Gradient flow tends to pi(i | j) proportional to mu_i (mu_i P_ij)^(1/beta), i "
        "!= j, which depends on P but is no best response; with two responses it is the other one, whoever is "
        "preferred."
    ),
    missing="",
    witness="P12 = 3/4, mu = (9/10, 1/10): the loss goes to 0 and V to 3/10, below the reference's 1/2",
)


@CLAIM.check(Role.REFUTED, "exact")
def the_other_response_wins() -> str:
    """K = 2: never copying means always the other one: V = mu2 P12 + mu1 P21 = 3/40 + 9/40 = 3/10."""
    P, mu = exact.preferences("3/4"), exact.fractions("9/10 1/10")
    other = (exact.fractions("0 1"), exact.fractions("1 0"))
    assert exact.conditioned_value(other, P, mu) == exact.fractions("3/10")[0]
    assert exact.value(mu, P, mu) == exact.HALF
    return "V = 3/10 < 1/2 = V(pi_ref)"


@CLAIM.check(Role.REFUTED, "property")
def loss_falls_to_zero_for_any_preferences() -> str:
    """Random problems: pi(y' | y') = 1e-60 brings the loss below 1e-9, whatever P."""

    def falls(problem: Problem) -> None:
        P, mu = (np.asarray(table, dtype=float) for table in problem)
        losses = []
        for left in (1e-2, 1e-20, 1e-60):
            policy = mu[:, None] * (1 - np.eye(len(mu)))
            policy = (1 - left) * policy / policy.sum(axis=0) + left * np.eye(len(mu))
            losses.append(
                float(
                    population_loss(P, mu, lambda q: dpo(q, beta=1.0), Conditioning.ONE_SIDED, comparator_policy=policy)
                )
            )
        assert losses[0] > losses[1] >= losses[2]
        assert losses[2] < 1e-9

    problems = strategies.problems(full_support=True)
    return f"{strategies.for_all(falls, problems, tries=30)} problems"


def limit(P: Floats, mu: Floats, beta: float) -> Floats:
    """mu_i (mu_i P_ij)^(1/beta) for i != j, each column normalized.

    Kept independent of the toy's on purpose; tests/test_twins.py holds them together.
    """
    policy = mu[:, None] * (mu[:, None] * P) ** (1 / beta) * (1 - np.eye(len(mu)))
    normalized: Floats = policy / policy.sum(axis=0)
    return normalized


@CLAIM.check(Role.INSTEAD, "ODE")
def where_gradient_flow_tends() -> str:
    """W: the flow's margins over the comparator tend to log(mu_i P_ij) + constant, so pi to the formula.

    With m_i the margin of response i against comparator j and w_i = mu_i mu_j P_ij,
    m_i' = beta^2 (w_i sigma(-m_i) + sum_k w_k sigma(-m_k)). Integrated in log t to t = e^40.
    """
    from scipy.integrate import solve_ivp
    from scipy.special import expit

    P = np.array(W, dtype=float)
    mu = np.full(3, 1 / 3)
    worst = 0.0
    for beta in (1.0, 0.5):
        expected = limit(P, mu, beta)
        for j in range(3):
            others = [i for i in range(3) if i != j]
            w = mu[others] * mu[j] * P[others, j]

            def velocity(tau: float, m: Floats, w: Floats = w, beta: float = beta) -> Floats:
                pushes = w * expit(-m)
                return np.asarray(beta**2 * np.exp(tau) * (pushes + pushes.sum()))

            end = solve_ivp(velocity, (-5, 40), np.zeros(2), method="LSODA", rtol=1e-10, atol=1e-12).y[:, -1]
            reached = mu[others] * np.exp((end - end.max()) / beta)
            worst = max(worst, float(np.abs(reached / reached.sum() - expected[others, j]).max()))
    assert worst < 1e-4
    return "columns (0, .875, .125), (.4286, 0, .5714), (.6, .4, 0) at beta = 1, to 1e-4"


@CLAIM.check(Role.INSTEAD, "exact")
def limit_of_the_witness() -> str:
    """W, beta = 1, uniform: columns proportional to P itself without the diagonal: 7/8, 1/8; 3/7, 4/7; 3/5, 2/5."""
    others = [[W[i][j] for i in range(3) if i != j] for j in range(3)]
    columns = [tuple(p / sum(column) for p in column) for column in others]
    assert columns == [exact.fractions("7/8 1/8"), exact.fractions("3/7 4/7"), exact.fractions("3/5 2/5")]
    library = limit(np.array(W, dtype=float), np.full(3, 1 / 3), 1.0)
    assert np.allclose(library[[0, 2], 1], [3 / 7, 4 / 7])
    assert np.isclose(flow.conditioned_value(library, W, exact.uniform(3)), (0.625 + (0.9 + 1.6) / 7 + 0.78) / 3)
    return f"V = {flow.conditioned_value(library, W, exact.uniform(3)):.4f}; V* = .7"

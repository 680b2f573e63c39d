"""Section 5.3 (ii), one-sided conditioning: does it learn what the comparator teaches?

Both responses are scored given the rejected one: log pi(w | l) against log pi(l | l). Whatever people
prefer, the loss falls to zero by never copying the comparator: pi(y' | y') -> 0.
"""

from fractions import Fraction

import numpy as np

from inspo.conditioning import Conditioning
from inspo.losses import dpo
from inspo.objectives import population_loss
from theory import exact, flow, strategies
from theory.evidence import Claim, Role, says
from theory.exact import W
from theory.flow import Floats
from theory.strategies import Problem

CLAIM = Claim(
    id="one-sided",
    paper="Sec. 5.3 (ii)",
    statement=(
        "One-sided conditioning confirms that seeing the other response provides value regardless of symmetry. "
        "(Read as: what it trains beats every prompt-only policy when the comparator is in view. The paper measures "
        "policies without it, of which these tables say nothing.)"
    ),
    truth=(
        says(
            "The one-sided loss has infimum 0 for every P, reversed or constant, and no minimizer: any policy "
            "that never copies its comparator will do.",
            "loss_falls_to_zero_for_any_preferences",
        ),
        says(
            "With two responses it ends in the other one, whoever is preferred.",
            "the_other_response_wins",
        ),
        says(
            "Gradient flow tends to pi(i | j) proportional to mu_i (mu_i P_ij)^(1/beta), i != j.",
            "where_gradient_flow_tends",
            "limit_of_the_witness",
        ),
        says(
            "As beta -> 0 that is the other response with the largest mu_i P_ij: under a uniform reference "
            "the best other one, and better than every prompt-only policy on W and on random tables.",
            "the_limit_at_small_beta",
            "the_limit_by_beta",
            "even_references_do_well",
        ),
        says(
            "Under an uneven reference it gives common responses rather than good ones, and is worse than the "
            "best prompt-only policy on random tables of five and eight.",
            "uneven_references_do_harm",
        ),
    ),
    missing="more than two responses, none of them much likelier than others under the reference, small beta",
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


@CLAIM.check(Role.REFUTED, "numeric")
def uneven_references_do_harm() -> str:
    """400 random P (log-odds N(0, 1)), references from Dirichlet(1), beta = .1: V less V(pi_bar), by K."""
    found = []
    for k, expected in ((5, -0.048), (8, -0.023)):
        (gain, error), _ = gains(k, uneven=True)
        assert gain < -3 * error
        assert abs(gain - expected) < 0.001
        found.append(f"{k}: {gain:+.3f} +- {error:.3f}")
    (gain, error), _ = gains(16, uneven=True)
    assert gain > 3 * error
    return f"K = {'; '.join(found)}; but K = 16: {gain:+.3f} +- {error:.3f}"


@CLAIM.check(Role.INSTEAD, "property")
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


def gains(k: int, *, uneven: bool) -> list[tuple[float, float]]:
    """Mean and standard error over 400 random problems of V - V(pi_bar) and of V* - V(pi_bar), at beta = .1."""
    rng, differences = np.random.default_rng(0), []
    for _ in range(400):
        L = np.triu(rng.normal(size=(k, k)), 1)
        P = 1 / (1 + np.exp(L.T - L))
        mu = rng.dirichlet(np.ones(k)) if uneven else np.full(k, 1 / k)
        V, prompt_only = (limit(P, mu, 0.1) * P * mu).sum(), (P @ mu).max()
        differences.append((V - prompt_only, (P.max(axis=0) * mu).sum() - prompt_only))
    errors = np.std(differences, axis=0, ddof=1) / 20
    return [(float(mean), float(error)) for mean, error in zip(np.mean(differences, axis=0), errors, strict=True)]


@CLAIM.check(Role.REPAIRED, "exact")
def the_limit_at_small_beta() -> str:
    """W, uniform, beta -> 0: the best other response to each, V = 2/3 > V(pi_bar) = 3/5; V* = 7/10."""
    mu = exact.uniform(3)
    best_other = [max((W[i][j], i) for i in range(3) if i != j)[1] for j in range(3)]
    assert best_other == [1, 2, 0]
    policy = tuple(tuple(Fraction(int(best_other[j] == i)) for j in range(3)) for i in range(3))
    V = exact.conditioned_value(policy, W, mu)
    assert V == Fraction(2, 3)
    assert max(exact.scores(W, mu)) == Fraction(3, 5)
    assert exact.best_value(W, mu) == Fraction(7, 10)
    return "2/3, of 3/5 without the comparator and 7/10 at best"


@CLAIM.check(Role.REPAIRED, "numeric")
def even_references_do_well() -> str:
    """400 random P (log-odds N(0, 1)), uniform references, beta = .1: V less V(pi_bar), of what there is to gain."""
    found = []
    for k, expected in ((5, 0.094), (8, 0.141), (16, 0.200)):
        (gain, error), (best, _) = gains(k, uneven=False)
        assert gain > 10 * error
        assert abs(gain - expected) < 0.001
        found.append(f"{k}: {gain:+.3f} +- {error:.3f} of {best:+.3f}")
    return f"K = {'; '.join(found)}"


@CLAIM.check(Role.INSTEAD, "numeric")
def the_limit_by_beta() -> str:
    """W, uniform: V = .5874, .6366, .6632, .6667 at beta = 1, .3, .1, .03; V(pi_bar) = .6."""
    P, mu = np.array(W, dtype=float), np.full(3, 1 / 3)
    values = [flow.conditioned_value(limit(P, mu, beta), P, mu) for beta in (1.0, 0.3, 0.1, 0.03)]
    assert np.allclose(values, [0.5874, 0.6366, 0.6632, 0.6667], atol=1e-4)
    return ", ".join(f"{V:.4f}" for V in values)


@CLAIM.check(Role.INSTEAD, "ODE")
def where_gradient_flow_tends() -> str:
    """W: the flow's margins over the comparator tend to log(mu_i P_ij) + constant, so pi to the formula.

    With m_i the margin of response i against comparator j and w_i = mu_i mu_j P_ij,
    m_i' = beta^2 (w_i sigma(-m_i) + sum_k w_k sigma(-m_k)). Integrated in log t to t = e^40. Under (.5, .3, .2)
    the exponents of mu show.
    """
    from scipy.integrate import solve_ivp
    from scipy.special import expit

    P = np.array(W, dtype=float)
    worst = 0.0
    for beta, mu in ((1.0, np.full(3, 1 / 3)), (0.5, np.full(3, 1 / 3)), (0.5, np.array([0.5, 0.3, 0.2]))):
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

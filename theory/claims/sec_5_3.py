"""Section 5.3: what do one-sided conditioning and the averaged loss give a deployed policy?

The paper measures language models that see the prompt alone. The one-sided loss does not contain pi(. | x), and L_avg
= L_DPO / 2 + L_sym / 2 does in its first half alone. What the conditioned part does to pi(. | x) is decided by what
the two share in a language model, which tables do not have. With the comparator in view tables do say something.
"""

from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from inspo.conditioning import Conditioning
from inspo.losses import dpo
from inspo.objectives import population_loss
from theory import exact, flow, strategies
from theory.evidence import Claim, Role, says
from theory.exact import W
from theory.flow import Floats
from theory.strategies import Array, Problem

CLAIM = Claim(
    id="sec-5.3",
    paper="Sec. 5.3 (ii), Sec. 5.3 (iv), Table 4",
    quote=(
        "confirming that sequence-level information provides value regardless of symmetry ... practitioners can "
        "balance competing objectives through straightforward combination"
    ),
    reading=(
        "Language models trained on the one-sided and on the averaged loss, and deployed without a comparator, are "
        "better for it."
    ),
    truth=(
        says(
            "Of what is deployed these losses say nothing by themselves: whatever pi(. | x) is, better or worse than "
            "the reference, the one-sided loss can go to 0 and the symmetric one be at its minimum.",
            "any_deployed_policy_goes_with_the_one_sided_loss",
            "any_deployed_policy_goes_with_the_symmetric_loss",
        ),
        says(
            "The averaged loss does: at every minimum it deploys exactly DPO's policy, wherever the conditioned "
            "margins can be fitted whatever pi(. | x) is, with free tables and with a shared score plus a free "
            "interaction.",
            "the_halves_share_nothing",
            "any_deployed_policy_goes_with_the_symmetric_loss",
            "shared_scores_end_at_dpo",
        ),
        says(
            "With the comparator in view: the one-sided loss has infimum 0 for every P, reversed or constant, and no "
            "minimizer; any policy that never copies its comparator will do, with two responses the other one, whoever "
            "is preferred.",
            "any_deployed_policy_goes_with_the_one_sided_loss",
            "the_other_response_wins",
        ),
        says(
            "Gradient flow tends to pi(i | j) proportional to mu_i (mu_i P_ij)^(1/beta), i != j.",
            "where_gradient_flow_tends",
            "limit_of_the_witness",
        ),
        says(
            "As beta -> 0 that is the other response with the largest mu_i P_ij: under a uniform reference the best "
            "other one, and better than every prompt-only policy on W and on random tables.",
            "the_limit_at_small_beta",
            "even_references_do_well",
        ),
        says(
            "Under an uneven reference it gives common responses rather than good ones, and is worse than the best "
            "prompt-only policy on random tables of five and eight.",
            "uneven_references_do_harm",
        ),
    ),
    witness=says(
        "W, mu uniform, beta = 1/2: with one conditioned policy at the symmetric minimum go deployed policies of V = "
        "1/2, 41/100 and 597/1000",
        "any_deployed_policy_goes_with_the_symmetric_loss",
    ),
)


@CLAIM.check(Role.OUTSIDE, "property")
def any_deployed_policy_goes_with_the_one_sided_loss() -> str:
    """Logits log mu + u + M, u = 3 S or -3 S: deployed is better or worse than mu, and an M makes the loss below 1e-9.

    Deployed is softmax(log mu + u); M is such that pi(y' | y') = 1e-60, whatever P.
    """

    def falls(problem: Problem) -> None:
        P, mu = (np.asarray(table, dtype=float) for table in problem)
        S = P @ mu
        for u in (3 * S, -3 * S):
            prompt, losses = flow.softmax(np.log(mu) + u), []
            for left in (1e-2, 1e-20, 1e-60):
                policy = mu[:, None] * (1 - np.eye(len(mu)))
                policy = (1 - left) * policy / policy.sum(axis=0) + left * np.eye(len(mu))
                M = np.log(policy / mu[:, None]) - u[:, None]
                conditioned = flow.softmax(np.log(mu)[:, None] + u[:, None] + M)
                loss = population_loss(
                    P,
                    mu,
                    lambda q: dpo(q, beta=1.0),
                    Conditioning.ONE_SIDED,
                    prompt_policy=prompt,
                    comparator_policy=conditioned,
                )
                losses.append(float(loss))
            assert losses[0] > losses[1] >= losses[2]
            assert losses[2] < 1e-9
            lead = float((prompt - mu) @ S) * np.sign(u[0])
            assert lead > 0 or np.ptp(S) < 1e-6 or mu.max() > 1 - 1e-6

    problems = strategies.problems(full_support=True)
    return f"{strategies.for_all(falls, problems, tries=60)} problems, two deployed policies each"


@CLAIM.check(Role.OUTSIDE, "exact")
def any_deployed_policy_goes_with_the_symmetric_loss() -> str:
    """W, beta = 1/2: for any deployed policy, an interaction that puts L_sym at its minimum, in rationals.

    The conditioned table pi(i | j) = (1/5) / 3 odds_ij is a minimizer; with logits log mu + u + M it is
    reached by exp(M_ij) = pi(i | j) / (mu_i exp(u_i)) for whatever exp(u) > 0.
    """
    mu = exact.uniform(3)
    table = [[Fraction(1, 5) / 3 * exact.odds(W[i][j]) for j in range(3)] for i in range(3)]
    for j in range(3):
        table[j][j] = 1 - sum((table[i][j] for i in range(3) if i != j), Fraction(0))
        assert table[j][j] > 0
    values = []
    for deployed in (
        exact.fractions("1/3 1/3 1/3"),
        exact.fractions("1/10 1/5 7/10"),
        exact.fractions("1/100 98/100 1/100"),
    ):
        values.append(exact.value(deployed, W, mu))
        exp_u = [p / m for p, m in zip(deployed, mu, strict=True)]
        exp_M = [[table[i][j] / (mu[i] * exp_u[i]) for j in range(3)] for i in range(3)]
        weights = [[mu[i] * exp_u[i] * exp_M[i][j] for j in range(3)] for i in range(3)]
        assert weights == table
        assert all(
            weights[i][j] / weights[j][i] == exact.odds(W[i][j]) ** 2 for i in range(3) for j in range(3) if i != j
        )
    assert values == list(exact.fractions("1/2 41/100 597/1000"))
    return "three deployed policies, V = 1/2, 41/100, 597/1000, one conditioned minimum"


@CLAIM.check(Role.INSTEAD, "property")
def the_halves_share_nothing() -> str:
    """The library's averaged loss is half of DPO's at pi(. | x) plus half of INS-DPO's at pi(. | x, y')."""

    def splits(problem: Problem, seed: int) -> None:
        P, mu = problem
        rng, k = np.random.default_rng(seed), len(mu)
        prompt, comparator = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k), size=k).T

        def loss(conditioning: Conditioning, prompt_policy: Array) -> float:
            return float(
                population_loss(
                    P,
                    mu,
                    lambda q: dpo(q, beta=0.5),
                    conditioning,
                    prompt_policy=prompt_policy,
                    comparator_policy=comparator,
                )
            )

        halves = (loss(Conditioning.NONE, prompt) + loss(Conditioning.SYMMETRIC, prompt)) / 2
        assert np.isclose(loss(Conditioning.AVERAGED, prompt), halves)
        best = flow.dpo_limit(P, mu, 0.5)
        assert loss(Conditioning.AVERAGED, best) <= loss(Conditioning.AVERAGED, prompt)

    problems = strategies.problems(interior=True, full_support=True, max_k=4)
    return f"{strategies.for_all(splits, problems, st.integers(0, 999), tries=20)} problems; DPO's policy is best"


@CLAIM.check(Role.INSTEAD, "ODE")
def shared_scores_end_at_dpo() -> str:
    """Logits log mu + u + M: gradient flow on the averaged loss deploys DPO's policy; on L_sym alone it does not."""
    mu, P, beta = np.full(3, 1 / 3), np.array(W, dtype=float), 1.0
    plain = flow.dpo_limit(P, mu, beta)
    deployed = {share: deployed_limit(P, mu, beta, share) for share in (0.5, 0.0)}
    assert np.abs(deployed[0.5] - plain).max() < 1e-6
    assert np.abs(deployed[0.0] - plain).max() > 0.01
    return f"W: averaged within 1e-6 of DPO, L_sym alone {np.abs(deployed[0.0] - plain).max():.3f} away"


def deployed_limit(P: Floats, mu: Floats, beta: float, share: float) -> Floats:
    """Where gradient flow on share L_DPO + (1 - share) L_sym takes softmax(log mu + u)."""
    k = len(mu)

    def policies(state: Floats) -> tuple[Floats, Floats]:
        u, M = state[:, :1], state[:, 1:]
        return flow.softmax(np.log(mu)[:, None] + u)[:, 0], np.log(mu)[:, None] + u + M

    def dpo_pull(prompt: Floats) -> Floats:
        pulls: Floats = flow.pull(np.repeat(prompt[:, None], k, axis=1), P, mu, beta).sum(axis=1)
        return pulls

    def field(state: Floats) -> Floats:
        prompt, logits = policies(state)
        from_conditioned = (1 - share) * flow.velocity(logits, P, mu, beta)
        return np.column_stack([share * dpo_pull(prompt) + from_conditioned.sum(axis=1), from_conditioned])

    def distance(state: Floats) -> float:
        prompt, logits = policies(state)
        left = np.abs(flow.pull(flow.softmax(logits), P, mu, beta)).max()
        return float(max(left, np.abs(dpo_pull(prompt)).max() if share else 0.0)) * 0.1

    return policies(flow.integrate(field, np.zeros((k, k + 1)), distance))[0]


@CLAIM.check(Role.INSTEAD, "exact")
def the_other_response_wins() -> str:
    """K = 2: never copying means always the other one: V = mu2 P12 + mu1 P21 = 3/40 + 9/40 = 3/10."""
    P, mu = exact.preferences("3/4"), exact.fractions("9/10 1/10")
    other = (exact.fractions("0 1"), exact.fractions("1 0"))
    assert exact.conditioned_value(other, P, mu) == exact.fractions("3/10")[0]
    assert exact.value(mu, P, mu) == exact.HALF
    return "V = 3/10 < 1/2 = V(pi_ref)"


@CLAIM.check(Role.INSTEAD, "numeric")
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


@CLAIM.check(Role.INSTEAD, "exact")
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


@CLAIM.check(Role.INSTEAD, "numeric")
def even_references_do_well() -> str:
    """400 random P (log-odds N(0, 1)), uniform references, beta = .1: V less V(pi_bar), of what there is to gain."""
    found = []
    for k, expected in ((5, 0.094), (8, 0.141), (16, 0.200)):
        (gain, error), (best, _) = gains(k, uneven=False)
        assert gain > 10 * error
        assert abs(gain - expected) < 0.001
        found.append(f"{k}: {gain:+.3f} +- {error:.3f} of {best:+.3f}")
    return f"K = {'; '.join(found)}"


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

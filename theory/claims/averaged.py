"""Section 5.3 (iv), the averaged loss: does averaging mix plain and reflective learning in the deployed policy?

L_avg = L_DPO / 2 + L_sym / 2. The first half sees pi(. | x) alone, the second pi(. | x, y') alone. Where
the margins of the second can be met whatever pi(. | x) is, the minimum of the sum is both minima at once.
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
    id="averaged",
    paper="Sec. 5.3 (iv)",
    statement="Averaging L_DPO and L_sym gives a deployed policy that balances the two objectives.",
    truth=(
        says(
            "At every minimizer the deployed pi(. | x) is exactly DPO's, wherever the conditioned margins can "
            "be fitted whatever pi(. | x) is: with free tables, and also with a shared score plus a free "
            "interaction.",
            "the_halves_share_nothing",
            "any_shared_score_leaves_room",
            "shared_scores_end_at_dpo",
        ),
        says(
            "With shared scores INS-DPO alone does move pi(. | x); averaged with DPO's loss it deploys DPO's "
            "policy all the same.",
            "shared_scores_end_at_dpo",
        ),
    ),
    missing="",
    witness="logits log mu + u_y + M[y, y']: any u leaves L_sym at its minimum, since M can make up for it",
)


@CLAIM.check(Role.REFUTED, "property")
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


@CLAIM.check(Role.REFUTED, "ODE")
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


@CLAIM.check(Role.REFUTED, "exact")
def any_shared_score_leaves_room() -> str:
    """W, beta = 1/2: for any deployed policy, an interaction that puts L_sym at its minimum, in rationals.

    The conditioned table pi(i | j) = (1/5) / 3 odds_ij is a minimizer; with logits log mu + u + M it is
    reached by exp(M_ij) = pi(i | j) / (mu_i exp(u_i)) for whatever exp(u) > 0.
    """
    mu = exact.uniform(3)
    table = [[Fraction(1, 5) / 3 * exact.odds(W[i][j]) for j in range(3)] for i in range(3)]
    for j in range(3):
        table[j][j] = 1 - sum((table[i][j] for i in range(3) if i != j), Fraction(0))
        assert table[j][j] > 0
    for deployed in (
        exact.fractions("1/3 1/3 1/3"),
        exact.fractions("1/10 1/5 7/10"),
        exact.fractions("98/100 1/100 1/100"),
    ):
        exp_u = [p / m for p, m in zip(deployed, mu, strict=True)]
        exp_M = [[table[i][j] / (mu[i] * exp_u[i]) for j in range(3)] for i in range(3)]
        weights = [[mu[i] * exp_u[i] * exp_M[i][j] for j in range(3)] for i in range(3)]
        assert weights == table
        assert all(
            weights[i][j] / weights[j][i] == exact.odds(W[i][j]) ** 2 for i in range(3) for j in range(3) if i != j
        )
    return "three deployed policies, one conditioned minimum"

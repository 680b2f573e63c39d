"""Ours: a loss with one minimizer in place of Eq. (9), which has a valley of them (thm-4.1-eq-9).

The margin m(i | j) = beta (g_ij - g_jj), g = log pi / mu, compares a response with the comparator itself under that
comparator. A pair is read twice, as m(w | l) and as -m(l | w), so that each ordered pair has a margin of its own,
least at L_ij. A column's K - 1 ratios to pi(j | j) and its sum of one are the whole column: nothing is left free.
"""

import math
from fractions import Fraction
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from hypothesis import strategies as st

from inspo.conditioning import Conditioning
from inspo.losses import dpo, ipo
from inspo.objectives import conditioned_value, gibbs_policy, population_loss
from theory import descent, exact, flow, strategies
from theory.evidence import Claim, Role, says
from theory.exact import HALF, Matrix, W
from theory.flow import Floats
from theory.proved import proof_of
from theory.strategies import Array, Problem

CLAIM = Claim(
    id="anchored",
    paper="our own, in place of Eq. (9)",
    quote="",
    reading=(
        "The anchored loss, -log sigma(m(w | l)) - log sigma(-m(l | w)) with m(i | j) = beta [log pi(i | j) / mu_i - "
        "log pi(j | j) / mu_j], has one minimizer for every P in (0, 1), beta and reference of full support: the "
        "solution of (7) for r = L. It tends to pi* as beta -> 0."
    ),
    truth=(
        says(
            "Its minimizer is mu_i odds_ij^(1 / beta) / Z_j and no other policy, for any number of responses.",
            "the_witness_by_hand",
            "training_finds_it_from_anywhere",
            "anchored_identifies",
        ),
        says(
            "It is convex in the logits, and gradient flow was led there from every start that was tried.",
            "gradient_flow_finds_it_from_anywhere",
            "convex_in_the_logits",
        ),
        says(
            "What it answers with other than best responses vanishes as beta -> 0.",
            "the_witness_by_hand",
            "anchored_tends_to_best_responses",
        ),
        says(
            "With IPO's square it is (5) for psi = identity with a KL penalty: as tau varies it runs along the most "
            "V that any conditioned policy has at its KL from mu, and it exists where pairs have one label.",
            "the_square_solves_5_with_a_penalty",
            "anchored_square_identifies",
        ),
        says(
            "On W, at the KL at which gradient flow on (9) ends for beta = 1, the most is .594, against .588 there.",
            "the_frontier_above_the_valley",
        ),
        says(
            "It does not mend what is deployed: the loss never asks for pi(y | x), and free tables leave it at the "
            "reference.",
            "the_deployed_policy_is_not_asked_for",
        ),
        says(
            "With one label a pair and the logistic loss it has no minimizer either; descent then goes to the "
            "chosen responses.",
            "one_label_leaves_no_minimum",
        ),
    ),
    witness=says(
        "W, beta = 1, uniform mu: columns (9, 21, 1) / 31, (9, 21, 14) / 44, (18, 3, 2) / 23", "the_witness_by_hand"
    ),
)


def minimizer(P: Matrix, mu: exact.Row, power: int) -> Matrix:
    """beta = 1 / power: pi(i | j) = mu_i odds_ij^power / Z_j."""
    tilted = [[m * exact.odds(p) ** power for p in row] for m, row in zip(mu, P, strict=True)]
    return tuple(
        tuple(t / sum(column) for t, column in zip(row, zip(*tilted, strict=True), strict=True)) for row in tilted
    )


def gentle(problem: Problem) -> bool:
    """Neither preferences nor masses so small that floating point loses them."""
    P, mu = problem
    return min(map(float, P.flat)) > 0.04 and min(map(float, mu)) > 0.04


@CLAIM.check(Role.STATED, "exact")
def the_witness_by_hand() -> str:
    """W: every ratio pi(i | j) mu_j / (mu_i pi(j | j)) is odds_ij^(1 / beta), which fixes the columns; V -> V* = .7."""
    mu, values = exact.uniform(3), []
    assert minimizer(W, mu, 1) == tuple(
        tuple(Fraction(n, d) for n, d in zip(row, (31, 44, 23), strict=True))
        for row in ((9, 9, 18), (21, 21, 3), (1, 14, 2))
    )
    for power in (1, 2, 10):
        for reference in (mu, exact.fractions("1/2 1/3 1/6")):
            policy = minimizer(W, reference, power)
            for i in range(3):
                for j in range(3):
                    ratio = policy[i][j] / reference[i] / (policy[j][j] / reference[j])
                    assert ratio == exact.odds(W[i][j]) ** power
        values.append(exact.conditioned_value(minimizer(W, mu, power), W, mu))
    assert HALF < values[0] < values[1] < values[2] < exact.best_value(W, mu) == Fraction(7, 10)
    return f"V = {', '.join(f'{float(V):.6f}' for V in values)} at beta = 1, 1/2, 1/10; V* = .7"


@CLAIM.check(Role.STATED, "property")
def training_finds_it_from_anywhere() -> str:
    """Random problems and starts: BFGS on the library's loss ends at (7)'s solution for r = L to 1e-6."""

    def identified(problem: Problem, beta: float, seed: int) -> None:
        P, mu = (np.asarray(table, dtype=float) for table in problem)
        start = np.random.default_rng(seed).normal(scale=2, size=P.shape)
        found = descent.trained(P, mu, partial(dpo, beta=beta), Conditioning.ANCHORED, start)
        target = gibbs_policy(np.log(P / (1 - P)), mu, beta)
        assert np.abs(found - target).max() < 1e-6

        def loss(policy: Array) -> float:
            return float(
                population_loss(P, mu, partial(dpo, beta=beta), Conditioning.ANCHORED, comparator_policy=policy)
            )

        assert loss(target) < loss(0.9 * target + 0.1 * np.random.default_rng(seed).dirichlet(mu, size=len(mu)).T)

    problems = strategies.problems(interior=True, full_support=True, max_k=4).filter(gentle)
    count = strategies.for_all(identified, problems, st.sampled_from([0.3, 1.0, 2.0]), st.integers(0, 99), tries=15)
    return f"{count} problems"


def velocity(logits: Floats, P: Floats, mu: Floats, beta: float) -> Floats:
    """d theta / dt by hand: c_ij = beta / 2 mu_i mu_j (P_ij - sigma(m(i | j))) off the diagonal, -sum_i c_ij on it."""
    from scipy.special import expit

    g = np.log(flow.softmax(logits) / mu[:, None])
    c: Floats = beta / 2 * np.outer(mu, mu) * (P - expit(beta * (g - np.diag(g))))
    return c - np.diag(c.sum(axis=0))


def distance(logits: Floats, P: Floats, mu: Floats, beta: float) -> float:
    """The largest velocity, free of the scale of beta and mu."""
    return float(np.abs(velocity(logits, P, mu, beta)).max() / beta / mu.min() ** 2)


@CLAIM.check(Role.STATED, "ODE")
def gradient_flow_finds_it_from_anywhere() -> str:
    """W and five random tables of four, each from two random starts: flow ends at (7)'s solution for r = L."""
    rng, worst = np.random.default_rng(0), 0.0
    tables = [np.array(W, dtype=float)]
    for _ in range(5):
        L = np.triu(rng.normal(size=(4, 4)), 1)
        tables.append(1 / (1 + np.exp(L.T - L)))
    for P in tables:
        mu, beta = rng.dirichlet(np.full(len(P), 5.0)), rng.uniform(0.3, 2)
        start = rng.normal(scale=2, size=P.shape)
        logits = torch.tensor(start, requires_grad=True)
        arguments = (torch.as_tensor(P), torch.as_tensor(mu), partial(dpo, beta=beta), Conditioning.ANCHORED)
        (gradient,) = torch.autograd.grad(descent.population_loss(logits, *arguments), logits)
        assert np.allclose(-gradient.numpy(), velocity(start, P, mu, beta), atol=1e-14)
        target = gibbs_policy(np.log(P / (1 - P)), mu, beta)
        for initial in (start, rng.normal(scale=2, size=P.shape)):
            field = partial(velocity, P=P, mu=mu, beta=beta)
            end = flow.integrate(field, initial, partial(distance, P=P, mu=mu, beta=beta))
            worst = max(worst, float(np.abs(flow.softmax(end) - target).max()))
    assert worst < 1e-8
    return "twelve runs end within 1e-8 of it"


@CLAIM.check(Role.INSTEAD, "property")
def convex_in_the_logits() -> str:
    """Random problems: at the mean of two logit tables the library's loss is below the mean of its two values."""

    def convex(problem: Problem, beta: float, seed: int) -> None:
        P, mu = (torch.as_tensor(np.asarray(table, dtype=float)) for table in problem)
        one, other = torch.as_tensor(np.random.default_rng(seed).normal(scale=3, size=(2, *P.shape)))
        ends, middle = (
            [descent.population_loss(t, P, mu, partial(dpo, beta=beta), Conditioning.ANCHORED) for t in tables]
            for tables in ((one, other), ((one + other) / 2,))
        )
        assert middle[0] < (ends[0] + ends[1]) / 2

    problems = strategies.problems(interior=True, full_support=True).filter(gentle)
    count = strategies.for_all(convex, problems, st.sampled_from([0.3, 1.0, 2.0]), st.integers(0, 99), tries=25)
    return f"{count} problems; the normalizer cancels, so each term is the softplus of a linear function"


def divergence(policy: Array, mu: Array) -> float:
    """Mean over comparators of KL(pi(. | j), mu), nats."""
    from scipy.special import rel_entr

    return float((mu * rel_entr(policy, mu[:, None])).sum())


@CLAIM.check(Role.INSTEAD, "property")
def the_square_solves_5_with_a_penalty() -> str:
    """IPO's square, P of 0 and 1 too: it ends at (7)'s solution for r = P - 1/2, whose V - tau KL no policy exceeds."""

    def solves(problem: Problem, tau: float, seed: int) -> None:
        P, mu = (np.asarray(table, dtype=float) for table in problem)
        rng = np.random.default_rng(seed)
        best = gibbs_policy(P - 0.5, mu, tau)
        start = rng.normal(size=P.shape)
        found = descent.trained(P, mu, partial(ipo, tau=tau), Conditioning.ANCHORED, start)
        assert np.abs(found - best).max() < 1e-6
        objective = [
            float(conditioned_value(policy, P, mu)) - tau * divergence(policy, mu)
            for policy in (best, *(0.8 * best + 0.2 * rng.dirichlet(mu, size=(20, len(mu))).swapaxes(1, 2)))
        ]
        assert objective[0] >= max(objective[1:])

    problems = strategies.problems(full_support=True, max_k=4).filter(
        lambda problem: min(map(float, problem[1])) > 0.04
    )
    count = strategies.for_all(solves, problems, st.sampled_from([0.1, 0.3, 1.0]), st.integers(0, 99), tries=25)
    return f"{count} problems"


@CLAIM.check(Role.INSTEAD, "ODE")
def the_frontier_above_the_valley() -> str:
    """W, uniform: V at the KL of (9)'s flow, beta = 1: .587912 there; the most of any conditioned policy .593994."""
    from scipy.optimize import brentq

    P, mu = np.array(W, dtype=float), np.full(3, 1 / 3)
    end = flow.conditioned_limit(W, mu, 1.0)
    spent = divergence(end, mu)
    tau = float(brentq(lambda tau: divergence(gibbs_policy(P - 0.5, mu, tau), mu) - spent, 0.01, 10))
    most = flow.conditioned_value(gibbs_policy(P - 0.5, mu, tau), P, mu)
    reached = flow.conditioned_value(end, P, mu)
    assert abs(reached - 0.587912) < 1e-6
    assert abs(most - 0.593994) < 1e-6, most
    return f"V = {most:.6f} against {reached:.6f} at {spent:.4f} nats (tau = {tau:.3f})"


@CLAIM.check(Role.INSTEAD, "identity")
def the_deployed_policy_is_not_asked_for() -> str:
    """No log-prob that the anchored loss asks for is without a response as context; any pi(y | x) has one loss."""
    assert all(request.context is not None for request in Conditioning.ANCHORED.requests())
    P, mu = np.array(W, dtype=float), np.full(3, 1 / 3)
    losses = {
        population_loss(
            P,
            mu,
            partial(dpo, beta=1.0),
            Conditioning.ANCHORED,
            prompt_policy=prompt,
            comparator_policy=gibbs_policy(np.log(P / (1 - P)), mu, 1.0),
        )
        for prompt in np.random.default_rng(0).dirichlet(np.ones(3), size=5)
    }
    assert len(losses) == 1
    return "one loss for five deployed policies"


@CLAIM.check(Role.INSTEAD, "numeric")
def one_label_leaves_no_minimum() -> str:
    """P12 = 1: the loss is positive and falls to 0 as pi(y1 | y1), pi(y1 | y2) -> 1."""
    P, mu, losses = np.array([[0.5, 1], [0, 0.5]]), np.full(2, 0.5), []
    for rest in (0.5, 0.1, 1e-3, 1e-6, 1e-9):
        policy = np.array([[1 - rest] * 2, [rest] * 2])
        losses.append(
            float(population_loss(P, mu, partial(dpo, beta=1.0), Conditioning.ANCHORED, comparator_policy=policy))
        )
    assert all(more > less > 0 for more, less in pairwise(losses))
    assert abs(losses[0] - math.log(2) / 4) < 1e-12
    assert losses[-1] < 1e-9
    logits = flow.start(mu)
    for _ in range(2000):
        logits = logits + 20 * velocity(logits, P, mu, 1.0)
    assert flow.softmax(logits)[0].min() > 0.999
    return (
        f"{', '.join(f'{loss:.1e}' for loss in losses)}; descent has pi(y1 | .) = {flow.softmax(logits)[0].min():.4f}"
    )


CLAIM.check(Role.STATED, "proof")(proof_of("anchored_identifies"))
CLAIM.check(Role.STATED, "proof")(proof_of("anchored_tends_to_best_responses"))
CLAIM.check(Role.INSTEAD, "proof")(proof_of("anchored_square_identifies"))

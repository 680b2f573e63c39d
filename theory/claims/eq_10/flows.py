"""Where gradient flow on Eq. (9) ends, with all the data in the world.

Free tables, exact gradients, infinitely small steps: still not pi*, nor pi_r. Gradient flow from the reference goes to
one of Eq. (9)'s minimizers; which one depends on the start and, for real steps, on the optimizer.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from inspo.conditioning import Conditioning
from inspo.losses import dpo
from inspo.tabular import population_weights, tabular_terms
from theory import exact, flow
from theory.claims.eq_10.claim import CLAIM
from theory.evidence import Role
from theory.exact import W
from theory.flow import Floats


def lambert_limit(p: float, mu: tuple[float, float], beta: float) -> tuple[float, float]:
    """K = 2: where gradient flow ends, (pi(y1 | y2), pi(y2 | y1)).

    With t2 = logit pi(y1 | y2), t1 = logit pi(y2 | y1), flow keeps t1 + e^t1 + t2 + e^t2 at
    mu1 / mu2 + mu2 / mu1. So e^t1 = W(exp(c - t2 - e^t2)), and the end is where the margin is log-odds.
    Kept independent of the toy's on purpose; tests/test_twins.py holds them together.
    """
    from scipy.optimize import brentq
    from scipy.special import expit, lambertw, log_expit

    conserved = mu[0] / mu[1] + mu[1] / mu[0]
    target = math.log(p / (1 - p)) / beta + math.log(mu[0] / mu[1])

    def t1(t2: float) -> float:
        exponent = conserved - t2 - math.exp(t2)
        # Where e^exponent would vanish, t + e^t = exponent is solved by t = exponent.
        return exponent if exponent < -700 else math.log(lambertw(math.exp(min(exponent, 700))).real)

    def surplus(t2: float) -> float:
        return float(log_expit(t2) - log_expit(t1(t2))) - target

    root = float(brentq(surplus, -30, 30, xtol=1e-14))
    return float(expit(root)), float(expit(t1(root)))


@CLAIM.check(Role.REFUTED, "ODE")
def below_dpo_with_two_responses() -> str:
    """P12 = 3/4, mu = 1/2: V = .556939 at beta = 1, below DPO's 9/16; .614319 at beta = .1; V* = .625."""
    P, mu = exact.preferences("3/4"), exact.uniform(2)
    policies = {beta: flow.conditioned_limit(P, mu, beta) for beta in (1.0, 0.1)}
    values = [flow.conditioned_value(policy, P, mu) for policy in policies.values()]
    assert np.allclose(values, [0.556939, 0.614319], atol=1e-6)
    assert np.allclose(policies[1.0][[0, 1], [1, 0]], [0.683269, 0.227756], atol=1e-6)
    dpo_value = flow.dpo_limit(P, mu, 1.0) @ np.array(P, dtype=float) @ np.full(2, 0.5)
    assert abs(dpo_value - 9 / 16) < 1e-9
    return f"V = {values[0]:.6f} (beta 1), {values[1]:.6f} (beta .1); DPO at beta 1: .5625"


@CLAIM.check(Role.REFUTED, "ODE")
def three_responses() -> str:
    """W: V = .587912 and .686130 at beta = 1, .1 with V* = .7. Bradley-Terry 4:2:1: .560228 < DPO's .566667."""
    mu = exact.uniform(3)
    at = [flow.conditioned_value(flow.conditioned_limit(W, mu, beta), W, mu) for beta in (1.0, 0.1)]
    assert np.allclose(at, [0.587912, 0.686130], atol=1e-6)
    P = exact.bradley_terry([4, 2, 1])
    trained = flow.conditioned_value(flow.conditioned_limit(P, mu, 1.0), P, mu)
    dpo_value = float(flow.dpo_limit(P, mu, 1.0) @ np.array(P, dtype=float) @ np.full(3, 1 / 3))
    assert abs(trained - 0.560228) < 1e-6
    assert abs(dpo_value - 17 / 30) < 1e-9
    return f"W: {at[0]:.6f}, {at[1]:.6f}; Bradley-Terry: {trained:.6f} < DPO {dpo_value:.6f}"


def frontier(P: Floats, mu: Floats, divergence: float) -> float:
    """The most V of a prompt-only policy at this KL from mu: that of mu exp(S / tau) / Z, with tau to match."""
    from scipy.optimize import brentq

    S = P @ mu

    def policy(log_tau: float) -> Floats:
        return flow.softmax(np.log(mu) + S / math.exp(log_tau))

    def surplus(log_tau: float) -> float:
        tilted = policy(log_tau)
        return float(tilted @ np.log(tilted / mu)) - divergence

    return float(policy(float(brentq(surplus, -3, 6))) @ S)


@CLAIM.check(Role.INSTEAD, "ODE")
def at_equal_divergence() -> str:
    """beta = 1: V with y' in view less the most of any prompt-only policy of the same KL from mu.

    P12 = 3/4; Bradley-Terry 4:2:1; W.
    """
    found = []
    problems = (exact.preferences("3/4"), exact.bradley_terry([4, 2, 1]), W)
    for table, expected in zip(problems, (-0.0013, -0.0013, 0.0291), strict=True):
        P, mu = np.array(table, dtype=float), np.full(len(table), 1 / len(table))
        policy = flow.conditioned_limit(P, mu, 1.0)
        divergence = float((mu * policy * np.log(policy / mu[:, None])).sum())
        difference = flow.conditioned_value(policy, P, mu) - frontier(P, mu, divergence)
        assert abs(difference - expected) < 1e-4, difference
        found.append(f"{difference:+.4f} at {divergence:.3f} nats")
    return "; ".join(found)


@CLAIM.check(Role.REFUTED, "ODE")
def small_beta_can_be_worse() -> str:
    """P12, P13, P23 = 1/2, 9/10, 4/5, mu = (.78, .02, .2): as beta -> 0 the flow answers y3 with y2, not y1.

    The pulls of y1 and y2 on pi(. | y3) share it out between them; each dies away as its own margin
    fills, at a rate that grows with mu_i. y2, hardly ever given by the reference, pulls last.
    """
    P, mu = exact.preferences("1/2 9/10 4/5"), exact.fractions("39/50 1/50 1/5")
    policies = [flow.conditioned_limit(P, mu, beta) for beta in (0.3, 0.1, 0.02)]
    assert np.allclose([policy[0, 2] for policy in policies], [0.6858, 0.2989, 0.0914], atol=1e-4)
    values = [flow.conditioned_value(policy, P, mu) for policy in policies]
    assert exact.best_responses(P)[2] == {0}
    assert max(values) < float(max(exact.scores(P, mu))) - 0.01 == float(exact.best_value(P, mu)) - 0.01
    shares = ", ".join(f"{policy[0, 2]:.3f}" for policy in policies)
    return f"pi(y1 | y3) = {shares} at beta = .3, .1, .02; V = {values[-1]:.4f} < V(pi_bar) = V* = .58"


@CLAIM.check(Role.REFUTED, "numeric")
def below_dpo_by_the_closed_form() -> str:
    """The same without integrating: the conserved quantity and the Lambert W function."""
    b, a = lambert_limit(0.75, (0.5, 0.5), 1.0)
    assert abs(b - 0.683269) < 1e-6
    assert abs(b / a - 3) < 1e-9
    V = (b * 0.75 + (1 - b) / 2 + a * 0.25 + (1 - a) / 2) / 2
    assert abs(V - (0.5 + b / 12)) < 1e-12
    assert V < 9 / 16
    return f"pi(y1 | y2) = {b:.6f}, V = {V:.6f} < .5625"


@CLAIM.check(Role.INSTEAD, "ODE")
def lambert_w_is_where_flow_ends() -> str:
    """K = 2: the Lambert W closed form agrees with the integrated flow, over P, mu and beta."""
    worst = 0.0
    for p, m, beta in ((0.75, 0.5, 1.0), (0.75, 0.5, 0.1), (0.6, 0.1, 0.5), (0.9, 0.3, 2.0), (0.2, 0.7, 1.0)):
        P, mu = np.array([[0.5, p], [1 - p, 0.5]]), np.array([m, 1 - m])
        policy = flow.conditioned_limit(P, mu, beta)
        worst = max(worst, float(np.abs(np.array(lambert_limit(p, (m, 1 - m), beta)) - policy[[0, 1], [1, 0]]).max()))
    assert worst < 1e-6
    return "five problems agree to 1e-6"


@CLAIM.check(Role.INSTEAD, "numeric")
def shortfall_is_linear_in_beta() -> str:
    """K = 2, beta -> 0: 1 - pi(y1 | y2) is beta / L to first order; that of Gibbs' policy e^(-L / (2 beta))."""
    L, found = math.log(3), []
    for beta in (0.1, 0.01, 0.001):
        b, _ = lambert_limit(0.75, (0.5, 0.5), beta)
        found.append((1 - b) * L / beta)
    assert abs(found[2] - 1) < abs(found[1] - 1) < 0.06
    assert 1 / (1 + math.exp(L / 0.02)) < 1e-20
    return f"(1 - pi(y1 | y2)) L / beta = {', '.join(f'{ratio:.4f}' for ratio in found)} at beta = .1, .01, .001"


@CLAIM.check(Role.INSTEAD, "ODE")
def conserved_quantities() -> str:
    """Along the flow: column sums of logits for K = 3; sum t + e^t for K = 2."""
    P, mu = np.array(W, dtype=float), np.array([0.5, 0.3, 0.2])
    rng = np.random.default_rng(0)
    for _ in range(5):
        logits = rng.normal(size=(3, 3))
        velocity = flow.velocity(logits, P, mu, 0.7)
        assert np.abs(velocity.sum(axis=0)).max() < 1e-15
        assert abs((np.diag(velocity) / np.diag(flow.softmax(logits))).sum()) < 1e-15
    policy = flow.conditioned_limit([[0.5, 0.75], [0.25, 0.5]], [0.4, 0.6], 0.3)
    odds = policy[[0, 1], [1, 0]] / np.diag(policy)[::-1]
    drift = float((np.log(odds) + odds).sum() - (0.4 / 0.6 + 0.6 / 0.4))
    assert abs(drift) < 1e-8
    return "drift of sum t + e^t below 1e-8 from start to end"


@CLAIM.check(Role.INSTEAD, "ODE")
def cyclic_flow_ends_at_gibbs() -> str:
    """Rock-paper-scissors and a five-cycle, uniform mu: no net pull on any column, so pi is mu e^(L/2beta) / Z."""
    for k, p, beta in ((3, 2 / 3, 0.5), (5, 0.8, 1.0)):
        steps = np.subtract.outer(np.arange(k), np.arange(k)) % k
        P = np.where(steps == 0, 0.5, np.where(steps <= k // 2, p, 1 - p))
        gibbs = np.exp(np.log(P / (1 - P)) / (2 * beta))
        assert np.abs(flow.conditioned_limit(P, np.full(k, 1 / k), beta) - gibbs / gibbs.sum(axis=0)).max() < 1e-7
    return "K = 3 (V = 4/7 at p = 2/3, beta = 1/2) and K = 5"


def autograd_step(logits: Floats, P: Floats, mu: Floats, beta: float) -> Floats:
    """Minus the gradient of the population loss of Eq. (9), through the library."""
    theta = torch.tensor(logits, requires_grad=True)
    ((_, pairs),) = tabular_terms(
        Conditioning.SYMMETRIC, comparator_logps=theta.log_softmax(-2), ref_logps=torch.tensor(np.log(mu))
    )
    loss = (population_weights(torch.tensor(P), torch.tensor(mu)) * dpo(pairs, beta=beta)).sum()
    (gradient,) = torch.autograd.grad(loss, theta)
    return -gradient.numpy()


@CLAIM.check(Role.INSTEAD, "numeric")
def flow_is_the_librarys_gradient() -> str:
    """The hand-derived velocity is minus the gradient that automatic differentiation finds, at random points."""
    rng, worst = np.random.default_rng(0), 0.0
    for _ in range(20):
        k, beta = int(rng.integers(2, 6)), float(rng.uniform(0.1, 2))
        L = np.triu(rng.normal(size=(k, k)), 1)
        P, mu, logits = 1 / (1 + np.exp(L.T - L)), rng.dirichlet(np.ones(k)), rng.normal(size=(k, k))
        error = flow.velocity(logits, P, mu, beta) - autograd_step(logits, P, mu, beta)
        worst = max(worst, float(np.abs(error).max()))
    assert worst < 1e-14
    return "20 random points, to 1e-14"


OPTIMIZERS: dict[str, tuple[Callable[[list[torch.Tensor]], torch.optim.Optimizer], float]] = {
    "SGD 1": (partial(torch.optim.SGD, lr=1.0), 0.685050),
    "SGD 5": (partial(torch.optim.SGD, lr=5.0), 0.693627),
    "momentum .1": (partial(torch.optim.SGD, lr=0.1, momentum=0.9), 0.715823),
    "momentum 1": (partial(torch.optim.SGD, lr=1.0, momentum=0.9), 0.879858),
    "Adam .001": (partial(torch.optim.Adam, lr=0.001), 0.708259),
    "Adam .1": (partial(torch.optim.Adam, lr=0.1), 0.866891),
}


def train(optimizer_of: Callable[[list[torch.Tensor]], torch.optim.Optimizer], P: Floats, mu: Floats) -> Floats:
    """The policy that an optimizer of torch trains on Eq. (9), beta = 1, until its margins are log-odds."""
    theta = torch.tensor(flow.start(mu), requires_grad=True)
    optimizer = optimizer_of([theta])
    for _ in range(5000):
        step = flow.velocity(theta.detach().numpy(), P, mu, 1.0)
        if np.abs(step).max() < 1e-9:
            break
        theta.grad = torch.tensor(-step)
        optimizer.step()
    return flow.softmax(theta.detach().numpy())


@CLAIM.check(Role.INSTEAD, "numeric")
def the_optimizer_chooses() -> str:
    """P12 = 3/4, beta = 1, equal loss: pi(y1 | y2) is .685 to .880 by optimizer and step size."""
    P, mu = np.array([[0.5, 0.75], [0.25, 0.5]]), np.array([0.5, 0.5])
    found = []
    for name, (optimizer_of, expected) in OPTIMIZERS.items():
        policy = train(optimizer_of, P, mu)
        assert abs(policy[0, 1] / policy[1, 0] - 3) < 1e-5, f"{name} has not reached the minimal loss"
        assert abs(policy[0, 1] - expected) < 1e-4, f"{name}: {policy[0, 1]:.6f}"
        found.append(f"{name} {policy[0, 1]:.3f}")
    return ", ".join(found)


@CLAIM.check(Role.INSTEAD, "ODE")
def the_start_chooses() -> str:
    """P12 = 3/4, beta = 1: pi(y1 | y2) from starts that repeat y' nine times in ten, every second time, one in ten.

    The loss at the end is one and the same: the margin is log-odds.
    """
    P, mu = flow.interior(exact.preferences("3/4"), exact.uniform(2))
    found = []
    for repeats in (0.9, 0.5, 0.1):
        begin = np.log(np.array([[repeats, 1 - repeats], [1 - repeats, repeats]]))
        policy = flow.softmax(
            flow.integrate(
                lambda logits: flow.velocity(logits, P, mu, 1.0),
                begin,
                lambda logits: float(np.abs(flow.pull(flow.softmax(logits), P, mu, 1.0)).max() * 4),
            )
        )
        assert abs(policy[0, 1] / policy[1, 0] - 3) < 1e-6
        found.append(float(policy[0, 1]))
    assert np.allclose(found, [0.1674, 0.6833, 0.9517], atol=1e-4)
    return f"pi(y1 | y2) = {', '.join(f'{share:.3f}' for share in found)}"


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

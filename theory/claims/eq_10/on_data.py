"""Finite data: does the minimizer that Section 4 calls pi_hat exist?

Each pair's margin is free, so the empirical loss falls apart into one term for each pair of responses:
n_ij softplus(-m) + n_ji softplus(m). It has a minimum if and only if both labels occur. DPO pools its
margins, c_i - c_j, and asks less: that the graph of wins be strongly connected (Ford 1957).
"""

import math
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import strategies as st

from inspo.losses import dpo
from inspo.objectives import best_responses
from inspo.pairs import PairLogps
from theory import exact, flow, strategies
from theory.claims.eq_10.claim import CLAIM
from theory.evidence import Role
from theory.exact import HALF

Counts = npt.NDArray[np.int64]


def trained(beats: Counts, times: tuple[float, ...]) -> list[flow.Floats]:
    """Where gradient flow on one label a pair, beta = 1, is at these log training times; it starts at uniform mu.

    Args:
        beats: (K, K), 1 where the one comparison of a pair was won.
        times: increasing.

    Returns:
        for each time, (K, K) policy.
    """
    from scipy.integrate import solve_ivp

    k = len(beats)
    P, mu = (0.5 + 0.5 * (beats - beats.T)).astype(np.float64), np.full(k, 1 / k)

    def field(time: float, flat: flow.Floats) -> flow.Floats:
        return math.exp(time) * flow.velocity(flat.reshape(k, k), P, mu, 1.0).ravel()

    solution = solve_ivp(
        field, (-5, times[-1]), flow.start(mu).ravel(), t_eval=times, method="LSODA", rtol=1e-9, atol=1e-12
    )
    assert solution.success, solution.message
    return [flow.softmax(state.reshape(k, k)) for state in solution.y.T]


@CLAIM.check(Role.INSTEAD, "ODE")
def gradient_flow_goes_to_best_responses() -> str:
    """One label a pair, from the reference: a pair, a cycle and a ranking of three; what is on best responses.

    For the pair sum t + e^t is conserved (see eq-10), so that pi(2 | 1) -> 0 forces pi(1 | 2) -> 1.
    """
    pair, times = np.array([[0, 1], [0, 0]]), (0.0, 5.0, 10.0, 20.0, 40.0)
    policies = trained(pair, times)
    forward = [float(policy[0, 1]) for policy in policies]
    assert np.allclose(forward, [0.529, 0.827, 0.902, 0.949, 0.973], atol=1e-3)
    for policy in policies[:4]:  # later diag(policy) has lost its digits
        odds = policy[[0, 1], [1, 0]] / np.diag(policy)[::-1]
        assert abs((np.log(odds) + odds).sum() - 2) < 1e-4
    assert policies[-1][1, 0] < 1e-15
    (cycle,) = trained(np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]), (12.0,))
    assert min(cycle[0, 1], cycle[1, 2], cycle[2, 0]) > 0.99
    ranking = np.triu(np.ones((3, 3), dtype=int), 1)
    early, late = trained(ranking, (4.0, 10.0))
    good = best_responses(0.5 + 0.5 * (ranking - ranking.T))
    on_best = [(policy * good).sum(axis=0).min() for policy in (early, late)]
    assert on_best[1] > max(0.9, on_best[0])
    shares = ", ".join(f"{share:.3f}" for share in forward)
    return f"pi(1 | 2) = {shares} at log t = 0, 5, 10, 20, 40; the cycle over .99, the ranking {on_best[1]:.2f}"


@CLAIM.check(Role.INSTEAD, "exact")
def loss_to_zero_while_copying() -> str:
    """One label y1 > y2: pi(1 | 2) = e, pi(2 | 1) = e^2 has odds 1 / e -> infinity, and both go to 0: V -> 1/2."""
    P, mu = exact.preferences("1"), exact.uniform(2)
    odds, values = [], []
    for e in exact.fractions("1/10 1/1000 1/1000000"):
        policy = ((1 - e**2, e), (e**2, 1 - e))
        odds.append(policy[0][1] / policy[1][0])
        values.append(exact.conditioned_value(policy, P, mu))
    assert odds == [10, 1000, 10**6]
    assert all(abs(V - exact.HALF) <= e for V, e in zip(values, exact.fractions("1/10 1/1000 1/1000000"), strict=True))
    return f"odds 10, 1000, 1000000; V - 1/2 = {', '.join(f'{float(V - exact.HALF):.1e}' for V in values)}"


@CLAIM.check(Role.INSTEAD, "numeric")
def a_cycle_has_a_dpo_solution_only() -> str:
    """The cycle: DPO's loss is convex with gradient 0 at pi_ref; INS-DPO's falls below any bound."""
    wins = torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=torch.float64)
    c = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    margin = c[:, None] - c[None, :]
    zero = torch.zeros(3, 3, dtype=torch.float64)
    loss = (wins * dpo(PairLogps(margin, zero, zero, zero), beta=1.0)).sum()
    (gradient,) = torch.autograd.grad(loss, c)
    plain = loss.item()
    assert gradient.abs().max() < 1e-15
    spread = [
        float((wins * dpo(PairLogps(s * (wins - wins.T), zero, zero, zero), beta=1.0)).sum()) for s in (0.0, 10.0, 40.0)
    ]
    assert spread[0] > spread[1] > spread[2]
    assert spread[2] < 1e-15
    return f"DPO: {plain:.4f} = 3 log 2 at pi_ref; INS-DPO: {spread[0]:.4f}, {spread[1]:.1e}, {spread[2]:.0e}"


def strongly_connected(wins: Counts) -> bool:
    """Whether along wins every response reaches back whatever response reaches it."""
    reach = wins > 0
    for _ in wins:
        reach = reach | (reach @ reach)
    return bool((reach == reach.T).all())


def has_ray(wins: Counts) -> bool:
    """Whether some direction of scores lowers DPO's loss forever: no win against it, some win along it."""
    for direction in product((0, 1, 2), repeat=len(wins)):
        rise = np.subtract.outer(direction, direction)[wins > 0]
        if rise.size and rise.min() >= 0 and rise.max() > 0:
            return True
    return False


@CLAIM.check(Role.INSTEAD, "property")
def exists_exactly_with_both_labels() -> str:
    """Random counts: a pair's loss has its minimum at log(n_ij / n_ji), or none; DPO exists more often."""
    exists = {"InSPO": 0, "DPO": 0}

    def decide(counts: list[int]) -> None:
        wins = np.zeros((3, 3), dtype=int)
        for (i, j), (a, b) in zip(combinations(range(3), 2), zip(counts[::2], counts[1::2], strict=True), strict=True):
            wins[i, j], wins[j, i] = a, b
        both = all((wins[i, j] > 0) == (wins[j, i] > 0) for i, j in combinations(range(3), 2))
        connected = strongly_connected(wins)
        assert connected == (not has_ray(wins))
        exists["InSPO"] += both
        exists["DPO"] += connected
        for i, j in combinations(range(3), 2):
            a, b = wins[i, j], wins[j, i]
            at = [a * np.logaddexp(0, -m) + b * np.logaddexp(0, m) for m in np.linspace(-30, 30, 601)]
            inside = 0 < int(np.argmin(at)) < 600
            assert inside == (a > 0 and b > 0) or a == b == 0

    tried = strategies.for_all(decide, st.lists(st.integers(0, 2), min_size=6, max_size=6))
    assert 0 < exists["InSPO"] < exists["DPO"] < tried
    return f"{tried} tables of counts: InSPO's minimizer exists in fewer than DPO's"


@CLAIM.check(Role.INSTEAD, "symbolic")
def the_minimum_of_one_pair() -> str:
    """a softplus(-m) + b softplus(m) is stationary at m = log(a / b), a, b > 0, and strictly convex."""
    import sympy as sp

    a, b = sp.symbols("a b", positive=True)
    m = sp.Symbol("m", real=True)
    loss = a * sp.log(1 + sp.exp(-m)) + b * sp.log(1 + sp.exp(m))
    assert sp.simplify(sp.diff(loss, m).subs(m, sp.log(a / b))) == 0
    curvature = sp.simplify(sp.diff(loss, m, 2))
    assert sp.simplify(curvature - (a + b) * sp.exp(m) / (1 + sp.exp(m)) ** 2) == 0
    one_label = sp.diff(loss.subs(b, 0), m)
    assert sp.simplify(one_label + a / (1 + sp.exp(m))) == 0
    return "m = log(n_ij / n_ji); with one label the slope is never zero"


@CLAIM.check(Role.INSTEAD, "exact")
def a_cycle_is_fitted_as_it_is() -> str:
    """Counts 3 : 1 around a cycle, beta = 1: pi(winner | loser) = 3/8, pi(loser | winner) = 1/8 fits each pair.

    Each pair's term, slope n_ij sigma(-m) - n_ji sigma(m), is then at its minimum. DPO's slope in c_i sums
    over the pairs of i and vanishes at c = 0: it pools them, and fits 1 : 1.
    """
    wins = [[0, 3, 1], [1, 0, 3], [3, 1, 0]]
    policy = [[HALF if i == j else Fraction(wins[i][j], 8) for j in range(3)] for i in range(3)]
    assert all(sum(column) == 1 for column in zip(*policy, strict=True))

    def slope(i: int, j: int, odds: Fraction) -> Fraction:
        return wins[i][j] / (1 + odds) - wins[j][i] * odds / (1 + odds)

    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    assert all(slope(i, j, policy[i][j] / policy[j][i]) == 0 for i, j in pairs)
    even = Fraction(1)
    assert all(slope(i, j, even) != 0 for i, j in pairs)
    assert all(sum(slope(i, j, even) for j in range(3) if i != j) == 0 for i in range(3))
    return "InSPO fits 3 : 1 for every pair, DPO 1 : 1"

"""Table 1: do the INS variants of all methods learn pi*?

DPO, IPO, R-DPO and SimPO compare log pi(w | l) with log pi(l | w). Moving both by the same amount changes
nothing that they see. ORPO adds a likelihood, which does see it.
"""

from functools import partial

import numpy as np
import torch
from hypothesis import strategies as st

from inspo.conditioning import Conditioning
from inspo.losses import METHODS
from inspo.objectives import population_loss
from inspo.pairs import PairLogps
from theory import exact, strategies
from theory.evidence import Claim, Role, says
from theory.flow import Floats
from theory.strategies import Problem

CLAIM = Claim(
    id="variants",
    paper="Sec. 4, Table 1",
    quote=(
        "our proposed formulation for pi* is method-agnostic ... InSPO variants of six representative preference "
        "optimization methods ... demonstrating how each is adapted to unlock the self-reflective capability"
    ),
    reading="The INS variant of each of Table 1's methods learns pi*.",
    truth=(
        says(
            "Table 1 has five methods.",
            "four_of_five_are_blind_to_a_common_shift",
        ),
        says(
            "INS-DPO, -IPO, -R-DPO and -SimPO see one number for each pair and leave K (K - 1) / 2 directions "
            "free (for SimPO weighted by lengths).",
            "four_of_five_are_blind_to_a_common_shift",
        ),
        says(
            "The minimizers of INS-DPO and INS-IPO run from copying the comparator, V = 1/2, upwards.",
            "ins_dpo_and_ins_ipo_are_above_one_half",
        ),
        says(
            "Those of INS-SimPO and INS-R-DPO can all be worth less than 1/2, the reference's own value: "
            "SimPO has no reference that would undo how much more often some responses come up, and R-DPO's "
            "length penalty can outweigh the preference.",
            "ins_simpo_is_below_one_half",
            "ins_r_dpo_is_below_one_half",
        ),
        says(
            "INS-ORPO has a likelihood term and is pushed to one edge: for K = 2 its infimum is to answer "
            "always with the other response, whoever is preferred, V = mu2 P12 + mu1 P21.",
            "orpo_always_gives_the_other_response",
            "value_of_always_the_other",
        ),
    ),
    witness=says(
        "P12 = 3/4, mu = (9/10, 1/10): INS-ORPO tends to V = 3/10, below the reference's 1/2",
        "orpo_always_gives_the_other_response",
        "value_of_always_the_other",
    ),
)


HYPERPARAMETERS: dict[str, dict[str, float]] = {
    "dpo": {"beta": 0.5},
    "ipo": {"tau": 0.5},
    "r-dpo": {"beta": 0.5, "alpha": 0.1},
    "simpo": {"beta": 2.0, "gamma": 0.5},
    "orpo": {"lam": 0.5},
}


@CLAIM.check(Role.REFUTED, "property")
def four_of_five_are_blind_to_a_common_shift() -> str:
    """log pi(w | l) and log pi(l | w) shifted together (by length for SimPO): loss unchanged, except ORPO's."""

    def blind(logps: list[float], lengths: list[int], shift: float) -> None:
        tensors = [torch.tensor([v], dtype=torch.float64) for v in logps]
        sizes = [torch.tensor([n]) for n in lengths]
        for name, hyperparameters in HYPERPARAMETERS.items():
            per_token = [float(n) for n in lengths] if name == "simpo" else [1.0, 1.0]
            moved = [tensors[0] - shift * per_token[0], tensors[1] - shift * per_token[1], *tensors[2:]]
            loss = METHODS[name].loss
            before = loss(PairLogps(*tensors, *sizes), **hyperparameters)
            after = loss(PairLogps(*moved, *sizes), **hyperparameters)
            if name == "orpo":
                assert not torch.allclose(before, after)
            else:
                assert torch.allclose(before, after, atol=1e-9), name

    logps = st.lists(st.floats(-20, -1), min_size=4, max_size=4)
    lengths = st.lists(st.integers(1, 9), min_size=2, max_size=2)
    return f"{strategies.for_all(blind, logps, lengths, st.floats(0.5, 5), tries=60)} pairs, five methods"


@CLAIM.check(Role.REFUTED, "numeric")
def orpo_always_gives_the_other_response() -> str:
    """K = 2, P12 = 3/4: both terms of INS-ORPO approach their minima together as both answers become certain.

    With pi(1 | 2) = 1 - e, pi(2 | 1) = 1 - 3e the likelihood goes to 0 and the odds ratio to 3 = odds(P12).
    """
    P, mu = np.array([[0.5, 0.75], [0.25, 0.5]]), np.array([0.9, 0.1])
    losses = []
    for e in (0.1, 1e-3, 1e-6):
        policy = np.array([[3 * e, 1 - e], [1 - 3 * e, e]])
        loss = population_loss(
            P, mu, lambda q: METHODS["orpo"].loss(q, lam=0.5), Conditioning.SYMMETRIC, comparator_policy=policy
        )
        losses.append(float(loss) / 0.09)
    infimum = -0.5 * (0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert losses[0] > losses[1] > losses[2] > infimum
    assert abs(losses[2] - infimum) < 1e-5
    best_policy = np.array([[0.25, 0.75], [0.75, 0.25]])  # no better where it sometimes copies its comparator
    assert (
        float(population_loss(P, mu, lambda q: METHODS["orpo"].loss(q, lam=0.5), comparator_policy=best_policy)) / 0.09
        > infimum
    )
    return f"loss {losses[0]:.4f}, {losses[1]:.4f}, {losses[2]:.4f} -> {infimum:.4f}, the sum of both terms' minima"


def value_at(P: Floats, mu: Floats, forward: float, back: float) -> float:
    """V for K = 2 of pi(1 | 2) = forward, pi(2 | 1) = back: 1/2 + (P12 - 1/2)(mu2 forward - mu1 back)."""
    return float(0.5 + (P[0, 1] - 0.5) * (mu[1] * forward - mu[0] * back))


def fitted_margin(name: str, p: float, lengths: tuple[int, int]) -> float:
    """K = 2: log pi(1 | 2) - log pi(2 | 1) at the minimum of a method's loss, by the library's own loss."""
    from scipy.optimize import minimize_scalar

    def loss(margin: float) -> float:
        logps = [torch.tensor([v], dtype=torch.float64) for v in (margin, 0.0, 0.0, 0.0)]
        sizes = [torch.tensor([n]) for n in lengths]
        one = METHODS[name].loss(PairLogps(*logps, *sizes), **HYPERPARAMETERS[name])
        two = METHODS[name].loss(PairLogps(logps[1], logps[0], *logps[2:], *sizes[::-1]), **HYPERPARAMETERS[name])
        return float(p * one + (1 - p) * two)

    return float(minimize_scalar(loss, bounds=(-20, 20), method="bounded", options={"xatol": 1e-9}).x)


@CLAIM.check(Role.INSTEAD, "numeric")
def ins_simpo_is_below_one_half() -> str:
    """K = 2, P12 = 3/4, mu = (9/10, 1/10), beta = 2, gamma = 1/2: at every minimum of INS-SimPO V < 1/2.

    SimPO has no reference: it fits log pi(1 | 2) - log pi(2 | 1) itself, and the reference weighs the errors more.
    """
    P, mu = np.array([[0.5, 0.75], [0.25, 0.5]]), np.array([0.9, 0.1])
    margin = fitted_margin("simpo", 0.75, (1, 1))
    assert abs(margin - 0.698124) < 1e-5
    assert mu[1] * np.exp(margin) < mu[0], "so V < 1/2 for every pi(1 | 2)"
    values = [value_at(P, mu, forward, forward * np.exp(-margin)) for forward in (0.1, 0.5, 0.9, 0.999)]
    assert np.allclose(values, [0.4913, 0.4565, 0.4217, 0.4132], atol=1e-4)
    return f"V = {', '.join(f'{V:.4f}' for V in values)} at pi(1 | 2) = .1, .5, .9, .999"


@CLAIM.check(Role.INSTEAD, "numeric")
def ins_r_dpo_is_below_one_half() -> str:
    """K = 2, P12 = 3/5, lengths 10 and 1, alpha = 1/10, beta = 1/2, mu = 1/2: at every minimum of INS-R-DPO V < 1/2.

    Its length penalty of .9 outweighs the log-odds of .405, and the worse, shorter response is favored.
    """
    P, mu = np.array([[0.5, 0.6], [0.4, 0.5]]), np.array([0.5, 0.5])
    margin = fitted_margin("r-dpo", 0.6, (10, 1))
    assert abs(margin - (np.log(1.5) - 0.9) / 0.5) < 1e-5
    values = [value_at(P, mu, forward, forward * np.exp(-margin)) for forward in (0.01, 0.1, 0.2)]
    assert np.allclose(values, [0.4992, 0.4916, 0.4831], atol=1e-4)
    return f"V = {', '.join(f'{V:.4f}' for V in values)} at pi(1 | 2) = .01, .1, .2"


@CLAIM.check(Role.INSTEAD, "property")
def ins_dpo_and_ins_ipo_are_above_one_half() -> str:
    """Random problems, minima of every size of INS-DPO and INS-IPO: V > 1/2 unless all P = 1/2, near 1/2 at the edge.

    V - 1/2 = sum over pairs of (x_ij - x_ji)(P_ij - 1/2), x_ij = mu_j pi(i | j), and x_ij > x_ji exactly
    where P_ij > 1/2. That the library's loss is at its minimum is checked against the least loss of every pair.
    """

    def above(problem: Problem, size: float) -> None:
        P, mu = (np.asarray(table, dtype=float) for table in problem)
        pairs = np.outer(mu, mu) * (1 - np.eye(len(mu)))
        least = {"dpo": -(pairs * P * np.log(P)).sum(), "ipo": (pairs * 2 * P * (1 - P)).sum()}
        for name, g in (("dpo", np.log(P / (1 - P))), ("ipo", P - 0.5)):  # (g_ij - g_ji) / 2 at beta = tau = 1/2
            policy = size * mu[:, None] * np.exp(g - np.abs(g).max()) * (1 - np.eye(len(mu)))
            policy += np.diag(1 - policy.sum(axis=0))
            loss = partial(METHODS[name].loss, **HYPERPARAMETERS[name])
            found = population_loss(P, mu, loss, comparator_policy=policy)
            assert np.isclose(found, least[name], rtol=1e-7, atol=1e-9), name
            V = (policy * P * mu).sum()
            assert (V > 0.5) == (P != 0.5).any() or abs(V - 0.5) < 1e-12
            assert V - 0.5 <= size

    problems = strategies.problems(interior=True, full_support=True, max_k=4).filter(
        lambda problem: min(map(float, problem[0].flat)) > 0.04
    )
    return f"{strategies.for_all(above, problems, st.sampled_from([0.9, 0.3, 0.001]), tries=60)} problems, two methods"


@CLAIM.check(Role.REFUTED, "exact")
def value_of_always_the_other() -> str:
    """K = 2: V = mu2 P12 + mu1 P21 = 1/10 * 3/4 + 9/10 * 1/4 = 3/10."""
    P, mu = exact.preferences("3/4"), exact.fractions("9/10 1/10")
    assert (
        exact.conditioned_value((exact.fractions("0 1"), exact.fractions("1 0")), P, mu) == exact.fractions("3/10")[0]
    )
    assert exact.best_value(P, mu) == exact.fractions("21/40")[0]
    return "3/10, while V* = 21/40"

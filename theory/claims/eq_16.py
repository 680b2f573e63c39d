"""Appendix C.3, Eq. (16): is the bidirectional variant something else than the method itself?

Eq. (16) writes + and - where Eq. (9) and (10) write w and l.
"""

import math

import numpy as np
import torch
from hypothesis import strategies as st

from inspo.conditioning import Conditioning
from inspo.conditioning import Role as ResponseRole
from inspo.losses import dpo
from inspo.pairs import PairLogps
from theory import strategies
from theory.evidence import Claim, Role, says

CLAIM = Claim(
    id="eq-16",
    paper="App. C.3, Eq. (16)",
    quote=(
        "The bidirectional formulation naturally calibrates the preference signal ... effectively doubling the "
        "computational cost compared to one-sided conditioning"
    ),
    reading="(16) is another loss than (9) and (10), and costs twice what one-sided conditioning does.",
    truth=(
        says(
            "(16) is (9) and (10), symbol for symbol: the same loss and gradient for every policy.",
            "same_expression",
            "same_loss_and_gradient",
        ),
        says(
            "Against one-sided conditioning the number of sequences is the same, two a pair, and the tokens "
            "differ by (chosen - rejected) length.",
            "cost_against_one_sided",
        ),
    ),
    witness=says(
        "log pi(+ | -), log pi(- | +), references = -1, -2, -3, -5: both losses are log(1 + e^(beta))",
        "same_loss_and_gradient",
    ),
)


def as_printed(logps: list[float], beta: float) -> float:
    """Eq. (16) for one pair, in plain Python floats: log pi(+ | -), log pi(- | +), and the references of + and -."""
    plus, minus, ref_plus, ref_minus = logps
    z = beta * (plus - ref_plus) - beta * (minus - ref_minus)
    return math.log1p(math.exp(-z)) if z > -30 else -z


@CLAIM.check(Role.REFUTED, "identity")
def same_expression() -> str:
    """The margins of (9) and (16) as symbols: their difference is zero."""
    import sympy as sp

    w, ell, ref_w, ref_l, beta = sp.symbols("log_pi_w_given_l log_pi_l_given_w ref_w ref_l beta")
    eq_9 = beta * ((w - ref_w) - (ell - ref_l))
    eq_16 = beta * (w - ref_w) - beta * (ell - ref_l)
    assert sp.expand(eq_9 - eq_16) == 0
    return "identical"


@CLAIM.check(Role.REFUTED, "property")
def same_loss_and_gradient() -> str:
    """(16) in plain Python against the library's symmetric INS-DPO, loss and slopes, on random log-probs."""

    def same(values: list[float], beta: float) -> None:
        chosen, rejected = (torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in values[:2])
        pairs = PairLogps(chosen, rejected, *(torch.tensor([v], dtype=torch.float64) for v in values[2:]))
        loss = dpo(pairs, beta=beta)
        assert np.isclose(loss.item(), as_printed(values, beta), rtol=1e-9)
        slope_w, slope_l = torch.autograd.grad(loss.sum(), [chosen, rejected])
        assert slope_w.item() == -slope_l.item()

    same([-1.0, -2.0, -3.0, -5.0], 1.0)
    assert math.isclose(as_printed([-1.0, -2.0, -3.0, -5.0], 1.0), math.log(1 + math.e))
    logps = st.lists(st.floats(-40, 0), min_size=4, max_size=4)
    return f"{strategies.for_all(same, logps, st.sampled_from([0.1, 1.0]), tries=60)} pairs"


@CLAIM.check(Role.REFUTED, "exact")
def cost_against_one_sided() -> str:
    """Sequences per pair: symmetric (x l w), (x w l); one-sided (x l w), (x l l). Two each."""
    needed = {
        conditioning: [(request.target, request.context) for request in conditioning.requests()]
        for conditioning in (Conditioning.SYMMETRIC, Conditioning.ONE_SIDED)
    }
    assert [len(requests) for requests in needed.values()] == [2, 2]
    x, w, ell = 42, 369, 180
    length = {ResponseRole.CHOSEN: w, ResponseRole.REJECTED: ell}
    tokens = {c: sum(x + length[a] + length[b] for a, b in requests if b) for c, requests in needed.items()}
    assert tokens[Conditioning.SYMMETRIC] - tokens[Conditioning.ONE_SIDED] == w - ell
    both, one = tokens[Conditioning.SYMMETRIC], tokens[Conditioning.ONE_SIDED]
    return f"x, w, l = 42, 369, 180 tokens: {both} against {one}, not double"

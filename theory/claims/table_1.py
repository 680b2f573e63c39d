"""Table 1: do the INS variants of all methods learn pi*?

DPO, IPO, R-DPO and SimPO compare log pi(w | l) with log pi(l | w). Moving both by the same amount changes
nothing that they see. ORPO adds a likelihood, which does see it.
"""

import numpy as np
import torch
from hypothesis import strategies as st

from inspo.conditioning import Conditioning
from inspo.losses import METHODS
from inspo.objectives import population_loss
from inspo.pairs import PairLogps
from theory import exact, strategies
from theory.evidence import Claim, Role

CLAIM = Claim(
    id="table-1",
    paper="Sec. 4, Table 1",
    statement="The formulation of pi* is method-agnostic: Table 1's six INS variants unlock it for each method.",
    truth=(
        "Table 1 has five methods. INS-DPO, -IPO, -R-DPO and -SimPO see one number for each pair and leave K (K - 1) / "
        "2 directions free (for SimPO weighted by lengths): their minimizers run from copying the comparator, V = 1/2, "
        "upwards. INS-ORPO has a likelihood term and is pushed to one edge: for K = 2 its infimum is to answer always "
        "with the other response, whoever is preferred, V = mu2 P12 + mu1 P21."
    ),
    missing="",
    witness="P12 = 3/4, mu = (9/10, 1/10): INS-ORPO tends to V = 3/10, below the reference's 1/2",
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


@CLAIM.check(Role.REFUTED, "symbolic")
def margins_do_not_see_the_shift() -> str:
    """As formulas: the margins of DPO, IPO, R-DPO, SimPO do not contain the shift."""
    import sympy as sp

    w, ell, ref_w, ref_l, n_w, n_l, s, beta, alpha = sp.symbols("w l ref_w ref_l n_w n_l s beta alpha")
    margins = {
        "DPO, IPO": ((w + s - ref_w) - (ell + s - ref_l)),
        "R-DPO": beta * ((w + s - ref_w) - (ell + s - ref_l)) + alpha * (n_w - n_l),
        "SimPO": beta * ((w + n_w * s) / n_w - (ell + n_l * s) / n_l),
    }
    assert all(sp.simplify(sp.diff(margin, s)) == 0 for margin in margins.values())
    return "derivative zero for DPO, IPO, R-DPO, SimPO"


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


@CLAIM.check(Role.INSTEAD, "exact")
def value_of_always_the_other() -> str:
    """K = 2: V = mu2 P12 + mu1 P21 = 1/10 * 3/4 + 9/10 * 1/4 = 3/10."""
    P, mu = exact.preferences("3/4"), exact.fractions("9/10 1/10")
    assert (
        exact.conditioned_value((exact.fractions("0 1"), exact.fractions("1 0")), P, mu) == exact.fractions("3/10")[0]
    )
    assert exact.best_value(P, mu) == exact.fractions("21/40")[0]
    return "3/10, while V* = 21/40"

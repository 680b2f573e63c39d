"""Appendix C.1, Eq. (12) and (13): what is the length-normalized probability?

(12) divides a response's log-prob by its length; (13) does so over unmasked tokens. The notation of
Appendix A calls exp of it a probability.
"""

from fractions import Fraction
from itertools import product
from math import prod

import torch
from hypothesis import strategies as st

from inspo.pairs import PairLogps
from theory import strategies
from theory.evidence import Claim, Role, says

CLAIM = Claim(
    id="eq-12-13",
    paper="App. C.1, Eq. (12), (13)",
    statement="p_theta of (12) is a length-normalized probability of a response, and (13) computes it under a mask.",
    truth=(
        says(
            "(13) with all tokens unmasked is (12).",
            "all_ones_is_eq_12",
        ),
        says(
            "exp of it is the geometric mean of the token probabilities: a score in (0, 1], so odds of it exist.",
            "masked_mean_is_the_librarys",
        ),
        says(
            "It is no distribution over responses: over all responses of T tokens the scores of a uniform "
            "model with V tokens sum to V^(T - 1).",
            "scores_sum_to_more_than_one",
        ),
        says(
            "Leaving out end-of-sequence tokens changes which response scores higher.",
            "end_of_sequence_decides",
        ),
    ),
    missing="'probability' read as a score between 0 and 1",
    witness="two tokens, uniform: four responses of length 2 score 1/2 each, 2 in all",
)


@CLAIM.check(Role.REFUTED, "exact")
def scores_sum_to_more_than_one() -> str:
    """V tokens, T steps, uniform: V^T responses with the geometric mean 1 / V each."""
    totals = []
    for V, T in ((2, 1), (2, 2), (3, 3)):
        responses = list(product(range(V), repeat=T))
        probability = {y: prod([Fraction(1, V)] * T) for y in responses}
        assert sum(probability.values()) == 1
        geometric = Fraction(1, V)
        assert all(geometric**T == p for p in probability.values())
        totals.append(len(responses) * geometric)
    assert totals == [1, 2, 9]
    return "sums 1, 2, 9 = V^(T - 1)"


@CLAIM.check(Role.REFUTED, "numeric")
def end_of_sequence_decides() -> str:
    """y = (.5, .5, eos .9), y' = (.6, .6, eos .1): with eos y scores higher, without it y'."""
    first, second = torch.tensor([0.5, 0.5, 0.9]).log(), torch.tensor([0.6, 0.6, 0.1]).log()
    assert first.mean() > second.mean()
    assert first[:2].mean() < second[:2].mean()
    return "(.225)^(1/3) = .608 > .330; .5 < .6"


@CLAIM.check(Role.REPAIRED, "property")
def masked_mean_is_the_librarys() -> str:
    """Random tokens and masks: (13) by hand, and the library's length_means with sum and count of unmasked tokens."""

    def same(tokens: list[tuple[float, bool]]) -> None:
        kept = [logp for logp, keep in tokens if keep] or [-1.0]
        total = torch.tensor([sum(kept)], dtype=torch.float64)
        count = torch.tensor([len(kept)])
        mean, _ = PairLogps(total, total, None, None, count, count).length_means()
        assert abs(mean.item() - sum(kept) / len(kept)) < 1e-12
        assert mean.exp().item() <= 1

    tokens = st.lists(st.tuples(st.floats(-20, 0), st.booleans()), min_size=1, max_size=12)
    return f"{strategies.for_all(same, tokens, tries=60)} responses"


@CLAIM.check(Role.REPAIRED, "symbolic")
def all_ones_is_eq_12() -> str:
    """(13) with m_t = 1 is (12), for responses of up to 5 tokens."""
    import sympy as sp

    for T in range(1, 6):
        logp, m = sp.symbols(f"l1:{T + 1}"), sp.symbols(f"m1:{T + 1}")
        eq_13 = sum(a * b for a, b in zip(m, logp, strict=True)) / sum(m)
        assert sp.simplify(eq_13.subs(dict.fromkeys(m, 1)) - sp.Rational(1, T) * sum(logp)) == 0
    return "verified for T = 1 to 5"

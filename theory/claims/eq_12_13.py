"""Appendix C.1, Eq. (12) and (13): what is the length-normalized probability?

(12) divides a response's log-prob by its length; (13) does so over unmasked tokens. The notation of
Appendix A calls exp of it a probability.
"""

from fractions import Fraction
from itertools import product
from math import prod

import numpy as np
import torch
from hypothesis import strategies as st

from inspo.pairs import PairLogps
from theory import strategies
from theory.evidence import Claim, Role, says

CLAIM = Claim(
    id="eq-12-13",
    paper="App. C.1, Eq. (12), (13); App. A, Table 6",
    quote="Length-normalized prob. ... EOS tokens may be excluded from the sum to reduce variance",
    reading="exp of (12), or of (13) under a mask, is a probability of a response; leaving out ends changes variance.",
    truth=(
        says(
            "exp of it is the geometric mean of the token probabilities, no distribution over responses: over all of T "
            "tokens the scores of a uniform model with V tokens sum to V^(T - 1), those of random models of two tokens "
            "to more than 1.",
            "scores_sum_to_more_than_one",
            "any_model_sums_to_more_than_one",
        ),
        says(
            "Leaving out end-of-sequence tokens changes which response scores higher.",
            "end_of_sequence_decides",
        ),
    ),
    witness=says(
        "two tokens, uniform: four responses of length 2 score 1/2 each, 2 in all", "scores_sum_to_more_than_one"
    ),
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


@CLAIM.check(Role.REFUTED, "property")
def any_model_sums_to_more_than_one() -> str:
    """Random models of two tokens: the library's length means, exponentiated and summed over all responses."""

    def more(seed: int, vocabulary: int) -> None:
        rng = np.random.default_rng(seed)
        first, second = rng.dirichlet(np.ones(vocabulary)), rng.dirichlet(np.ones(vocabulary), size=vocabulary)
        logps = torch.tensor(np.log(first[:, None] * second)).flatten()
        assert abs(float(logps.exp().sum()) - 1) < 1e-12
        sizes = torch.full(logps.shape, 2)
        means, _ = PairLogps(logps, logps, None, None, sizes, sizes).length_means()
        assert float(means.exp().sum()) > 1

    return f"{strategies.for_all(more, st.integers(0, 10**6), st.integers(2, 6), tries=60)} models"


@CLAIM.check(Role.INSTEAD, "numeric")
def end_of_sequence_decides() -> str:
    """y = (.5, .5, eos .9), y' = (.6, .6, eos .1): with eos y scores higher, without it y'."""
    first, second = torch.tensor([0.5, 0.5, 0.9]).log(), torch.tensor([0.6, 0.6, 0.1]).log()
    assert first.mean() > second.mean()
    assert first[:2].mean() < second[:2].mean()
    return "(.225)^(1/3) = .608 > .330; .5 < .6"

"""Which log-probs each conditioning compares, checked with log-probs that carry their own names."""

from functools import partial

import pytest
import torch

from inspo.conditioning import Conditioning, LogpRequest, ReferenceContext, Role, conditioned_loss
from inspo.losses import dpo
from inspo.pairs import PairLogps

W, L = Role.CHOSEN, Role.REJECTED
NONE, ONE_SIDED, SYMMETRIC, AVERAGED, ANCHORED = Conditioning
PLAIN, CONDITIONED = ReferenceContext

# Section 5.3, and the anchored objective: (weight, chosen, rejected); (W, L) reads: log pi(y_w | x, y_l).
TERMS = {
    NONE: [(1.0, (W, None), (L, None))],
    ONE_SIDED: [(1.0, (W, L), (L, L))],
    SYMMETRIC: [(1.0, (W, L), (L, W))],
    AVERAGED: [(0.5, (W, None), (L, None)), (0.5, (W, L), (L, W))],
    ANCHORED: [(0.5, (W, L), (L, L)), (0.5, (W, W), (L, W))],
}
EVERY_REQUEST = [LogpRequest(target, context) for target in Role for context in (None, *Role)]
# Distinct, with distinct differences, so that a mix-up of any two shows.
POLICY = {request: torch.tensor([-(2.0**i)], requires_grad=True) for i, request in enumerate(EVERY_REQUEST)}
REFERENCE = {request: torch.tensor([-(3.0**i)]) for i, request in enumerate(EVERY_REQUEST)}


def test_names_are_the_configurations():
    assert [c.value for c in Conditioning] == ["none", "one_sided", "symmetric", "averaged", "anchored"]
    assert [r.value for r in ReferenceContext] == ["plain", "conditioned"]


@pytest.mark.parametrize("conditioning", Conditioning)
def test_terms_are_as_written_down(conditioning):
    terms = [(term.weight, tuple(term.chosen), tuple(term.rejected)) for term in conditioning.contrasts]
    assert terms == TERMS[conditioning]


@pytest.mark.parametrize("conditioning", Conditioning)
def test_weights_sum_to_one(conditioning):
    assert sum(term.weight for term in conditioning.contrasts) == 1


@pytest.mark.parametrize(
    ("conditioning", "policy", "conditioned_reference"),
    [
        (NONE, {(W, None), (L, None)}, {(W, None), (L, None)}),
        (ONE_SIDED, {(W, L), (L, L)}, {(W, L), (L, L)}),
        (SYMMETRIC, {(W, L), (L, W)}, {(W, L), (L, W)}),
        (AVERAGED, {(W, None), (L, None), (W, L), (L, W)}, {(W, None), (L, None), (W, L), (L, W)}),
        (ANCHORED, {(W, L), (L, L), (W, W), (L, W)}, {(W, L), (L, L), (W, W), (L, W)}),
    ],
    ids=[c.value for c in Conditioning],
)
def test_requests_are_what_the_terms_read_each_once(conditioning, policy, conditioned_reference):
    for requests, expected in (
        (conditioning.requests(), policy),
        (conditioning.reference_requests(PLAIN), {(W, None), (L, None)}),
        (conditioning.reference_requests(CONDITIONED), conditioned_reference),
    ):
        assert set(requests) == expected
        assert len(requests) == len(expected)


def test_reference_is_plain_by_default():
    assert SYMMETRIC.reference_requests() == SYMMETRIC.reference_requests(PLAIN)
    ((_, pairs),) = SYMMETRIC.terms(POLICY, REFERENCE)
    assert pairs.ref_chosen_logps is REFERENCE[LogpRequest(W)]


@pytest.mark.parametrize("reference", ReferenceContext)
@pytest.mark.parametrize("conditioning", Conditioning)
def test_pairs_hold_the_requested_logps_and_no_others(conditioning, reference):
    """Given exactly what it asked for, each term gets the paper's log-probs, the tensors themselves."""
    policy = {request: POLICY[request] for request in conditioning.requests()}
    frozen = {request: REFERENCE[request] for request in conditioning.reference_requests(reference)}
    lengths = torch.tensor([3]), torch.tensor([5])
    weighted = conditioning.terms(
        policy, frozen, reference=reference, chosen_length=lengths[0], rejected_length=lengths[1]
    )
    assert len(weighted) == len(TERMS[conditioning])
    for (weight, pairs), (expected_weight, chosen, rejected) in zip(weighted, TERMS[conditioning], strict=True):
        assert weight == expected_weight
        assert pairs.chosen_logps is POLICY[LogpRequest(*chosen)]
        assert pairs.rejected_logps is POLICY[LogpRequest(*rejected)]
        context = (chosen[1], rejected[1]) if reference is CONDITIONED else (None, None)
        assert pairs.ref_chosen_logps is REFERENCE[LogpRequest(W, context[0])]
        assert pairs.ref_rejected_logps is REFERENCE[LogpRequest(L, context[1])]
        assert (pairs.chosen_length, pairs.rejected_length) == lengths


@pytest.mark.parametrize("conditioning", Conditioning)
def test_without_reference_the_pairs_have_none(conditioning):
    for _, pairs in conditioning.terms(POLICY):
        assert pairs.ref_chosen_logps is None
        assert pairs.ref_rejected_logps is None


@pytest.mark.parametrize("conditioning", Conditioning)
def test_missing_logp_is_an_error(conditioning):
    for missing in conditioning.requests():
        policy = {request: value for request, value in POLICY.items() if request != missing}
        with pytest.raises(KeyError):
            conditioning.terms(policy, REFERENCE)
    with pytest.raises(KeyError):
        conditioning.terms(POLICY, {})


@pytest.mark.parametrize("conditioning", Conditioning)
def test_gradient_reaches_the_requested_logps_and_no_others(conditioning):
    total = conditioned_loss(partial(dpo, beta=0.01), conditioning.terms(POLICY, REFERENCE)).sum()
    gradients = torch.autograd.grad(total, list(POLICY.values()), allow_unused=True)
    reached = {request for request, gradient in zip(POLICY, gradients, strict=True) if gradient is not None}
    assert reached == set(conditioning.requests())


def test_averaged_is_half_plain_and_half_symmetric(loss):
    lengths = {"chosen_length": torch.tensor([3]), "rejected_length": torch.tensor([5])}
    value = {c: conditioned_loss(loss, c.terms(POLICY, REFERENCE, **lengths)) for c in Conditioning}
    assert value[AVERAGED].item() == pytest.approx((value[NONE] + value[SYMMETRIC]).item() / 2, rel=1e-6)


def test_conditioned_loss_is_the_weighted_sum_over_terms():
    """Loss = chosen log-prob: 2 (-1) + 0.25 (-8) = -4."""
    terms = [(weight, PairLogps(torch.tensor([logp]), torch.zeros(1))) for weight, logp in ((2.0, -1.0), (0.25, -8.0))]
    assert conditioned_loss(lambda pairs: pairs.chosen_logps, terms).tolist() == [-4.0]
    assert conditioned_loss(lambda pairs: pairs.chosen_logps, iter(terms)).tolist() == [-4.0]


def test_conditioned_loss_of_no_terms_is_an_error():
    with pytest.raises(ValueError, match="at least one term"):
        conditioned_loss(lambda pairs: pairs.chosen_logps, [])

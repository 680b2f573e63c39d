"""Look-ups of every ordered pair in tables, against loops over names."""

import numpy as np
import pytest
import torch
from hypothesis import given
from strategies import problems

from inspo.conditioning import Conditioning, LogpRequest, ReferenceContext, Role
from inspo.tabular import lookup, population_weights, tabular_terms

K = 3
EVERY_REQUEST = [LogpRequest(target, context) for target in Role for context in (None, *Role)]
PROMPT = -torch.arange(1.0, 4.0)
COMPARATOR = -torch.arange(10.0, 19.0).reshape(K, K)
REF = PROMPT * 7
REF_COMPARATOR = COMPARATOR * 7


def by_name(request, chosen, rejected, prompt=PROMPT, comparator=COMPARATOR):
    """The requested log-prob of one ordered pair, read off the definition."""
    response = {Role.CHOSEN: chosen, Role.REJECTED: rejected}
    target = response[request.target]
    return prompt[target] if request.context is None else comparator[target, response[request.context]]


@pytest.mark.parametrize("request_", EVERY_REQUEST, ids=str)
def test_lookup_is_the_named_entry_of_every_pair(request_):
    table = lookup(request_, PROMPT, COMPARATOR)
    assert table.shape == (K, K)
    for i in range(K):
        for j in range(K):
            assert table[i, j] == by_name(request_, i, j), (i, j)


@pytest.mark.parametrize("request_", EVERY_REQUEST, ids=str)
def test_lookup_in_a_batch_is_that_of_each_problem(request_):
    scale = torch.tensor([1.0, 2.0, 5.0, 0.5])
    batch = lookup(request_, PROMPT * scale[:, None], COMPARATOR * scale[:, None, None])
    for found, factor in zip(batch, scale, strict=True):
        assert torch.equal(found, lookup(request_, PROMPT * factor, COMPARATOR * factor))


def test_missing_tables_are_named():
    with pytest.raises(ValueError, match=r"needs log pi\(y \| x\): give a prompt-only policy"):
        lookup(LogpRequest(Role.CHOSEN), None, COMPARATOR)
    with pytest.raises(ValueError, match=r"needs log pi\(y \| x, y'\): give a policy conditioned on a comparator"):
        lookup(LogpRequest(Role.CHOSEN, Role.REJECTED), PROMPT, None)
    with pytest.raises(ValueError, match="conditioned on a comparator"):
        tabular_terms(Conditioning.AVERAGED, prompt_logps=PROMPT)
    with pytest.raises(ValueError, match="prompt-only"):
        tabular_terms(Conditioning.AVERAGED, comparator_logps=COMPARATOR)
    with pytest.raises(ValueError, match="conditioned on a comparator"):
        tabular_terms(
            Conditioning.SYMMETRIC, comparator_logps=COMPARATOR, ref_logps=REF, reference=ReferenceContext.CONDITIONED
        )


@pytest.mark.parametrize("reference", ReferenceContext)
@pytest.mark.parametrize("conditioning", Conditioning)
def test_tabular_terms_hold_each_terms_logps(conditioning, reference):
    weighted = tabular_terms(
        conditioning,
        prompt_logps=PROMPT,
        comparator_logps=COMPARATOR,
        ref_logps=REF,
        ref_comparator_logps=REF_COMPARATOR,
        reference=reference,
    )
    assert len(weighted) == len(conditioning.contrasts)
    for (weight, pairs), term in zip(weighted, conditioning.contrasts, strict=True):
        assert weight == term.weight
        for i in range(K):
            for j in range(K):
                assert pairs.chosen_logps[i, j] == by_name(term.chosen, i, j)
                assert pairs.rejected_logps[i, j] == by_name(term.rejected, i, j)
                for request, found in (
                    (term.chosen, pairs.ref_chosen_logps),
                    (term.rejected, pairs.ref_rejected_logps),
                ):
                    context = request.context if reference is ReferenceContext.CONDITIONED else None
                    asked = LogpRequest(request.target, context)
                    assert found[i, j] == by_name(asked, i, j, REF, REF_COMPARATOR)


def test_tabular_responses_are_one_token_long():
    ((_, pairs),) = tabular_terms(Conditioning.NONE, prompt_logps=PROMPT)
    assert torch.equal(torch.stack(pairs.lengths()), torch.ones(2, K, K))
    assert torch.equal(pairs.length_means()[0], pairs.chosen_logps)
    assert pairs.ref_chosen_logps is None


def test_one_reference_serves_a_batch_of_policies():
    batch = torch.stack([COMPARATOR, COMPARATOR * 2])
    ((_, pairs),) = tabular_terms(Conditioning.SYMMETRIC, comparator_logps=batch, ref_logps=REF)
    assert pairs.ref_chosen_logps.shape == (2, K, K)
    assert torch.equal(pairs.ref_rejected_logps[1], REF.expand(K, K))


def test_gradient_flows_into_every_entry_that_is_read():
    """One-sided training reads the own-context diagonal K times, as the rejected response."""
    table = COMPARATOR.clone().requires_grad_()
    ((_, pairs),) = tabular_terms(Conditioning.ONE_SIDED, comparator_logps=table)
    pairs.rejected_logps.sum().backward()
    assert torch.equal(table.grad, K * torch.eye(K))


@given(problems())
def test_population_weights_are_the_chance_of_every_ordered_pair(problem):
    """Draw i and j from mu independently; i is chosen with probability P[i, j]."""
    P, mu = problem
    weights = population_weights(torch.tensor(P.astype(float)), torch.tensor(mu.astype(float))).numpy()
    for i, j in np.ndindex(P.shape):
        expected = 0 if i == j else mu[i] * mu[j] * P[i, j]
        assert weights[i, j] == pytest.approx(float(expected), abs=1e-15)
    assert weights.sum() == pytest.approx(float(1 - (mu**2).sum()) / 2, abs=1e-14)


def test_population_weights_of_a_batch():
    P = torch.tensor([[[0.5, 0.8], [0.2, 0.5]], [[0.5, 0.1], [0.9, 0.5]]])
    mu = torch.tensor([[0.5, 0.5], [0.25, 0.75]])
    expected = torch.tensor([[[0, 0.2], [0.05, 0]], [[0, 0.01875], [0.16875, 0]]])
    torch.testing.assert_close(population_weights(P, mu), expected)
    torch.testing.assert_close(population_weights(P, mu[1])[1], expected[1])

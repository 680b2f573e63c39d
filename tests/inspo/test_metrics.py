"""The reductions, with batches small enough to average by hand."""

import math

import pytest
import torch

from inspo.losses import METHODS
from inspo.metrics import pair_metrics, standard_error, weighted_mean
from inspo.pairs import PairLogps


def batch():
    """Four pairs of log-ratio margins 2, -1, 0, 3."""
    return PairLogps(
        torch.tensor([-1.0, -4.0, -2.0, -5.0]),
        torch.tensor([-2.0, -2.0, -3.0, -9.0]),
        torch.tensor([-2.0, -3.0, -1.0, -4.0]),
        torch.tensor([-1.0, -2.0, -2.0, -5.0]),
        torch.tensor([1, 2, 1, 5]),
        torch.tensor([2, 2, 3, 3]),
    )


def metrics(*terms, name="dpo", losses=None, **options):
    losses = torch.arange(4.0) if losses is None else losses
    return {key: value.tolist() for key, value in pair_metrics(terms, METHODS[name].score, losses, **options).items()}


def test_metrics_by_hand():
    """Margins 2, -1, 0, 3: mean 1; two won and one tied of four: 5/8.

    Scores are the log-ratios: chosen 1, -1, -1, -1; rejected -1, 0, -1, -4.
    """
    assert metrics((1.0, batch())) == {
        "loss": 1.5,
        "margin": 1.0,
        "accuracy": 0.625,
        "chosen_score": -0.5,
        "rejected_score": -1.5,
        "chosen_logps": -3.0,
        "rejected_logps": -4.0,
    }


def test_score_follows_the_method():
    """Per token: chosen -1, -2, -2, -1; rejected -1, -1, -1, -3: margins 0, -1, -1, 2."""
    found = metrics((1.0, batch()), name="simpo")
    assert found["margin"] == 0
    assert found["accuracy"] == (0.5 + 0 + 0 + 1) / 4
    assert found["chosen_score"] == found["rejected_score"] == -1.5
    assert metrics((1.0, batch()), name="cpo")["margin"] == 1  # log-probs: 1, -2, 1, 4


def test_weights_count_pairs_more_than_once():
    """Weights 1, 2, 0, 1: margin (2 - 2 + 3) / 4, accuracy (1 + 0 + 1) / 4, loss (0 + 2 + 3) / 4."""
    found = metrics((1.0, batch()), weights=torch.tensor([1.0, 2.0, 0.0, 1.0]))
    assert (found["margin"], found["accuracy"], found["loss"]) == (0.75, 0.5, 1.25)


def test_accuracy_of_several_terms_is_that_of_their_mean_margin():
    """A quarter of margins 2, -1, 0, 3 and three quarters of their opposites: -1, 1/2, 0, -3/2."""
    found = metrics((0.25, batch()), (0.75, batch().swapped()))
    assert found["margin"] == -0.5
    assert found["accuracy"] == (0 + 1 + 0.5 + 0) / 4
    assert found["chosen_logps"] == 0.25 * -3 + 0.75 * -4


def test_metrics_carry_no_gradient():
    logps = torch.tensor([-1.0, -2.0], requires_grad=True)
    pairs = PairLogps(logps, logps * 2)
    found = pair_metrics([(1.0, pairs)], METHODS["cpo"].score, logps.exp())
    assert not any(value.requires_grad for value in found.values())


def test_metrics_reduce_only_the_pair_dimensions():
    shape = (2, 3, 3)
    values = torch.arange(18.0).reshape(shape)
    pairs = PairLogps(values, torch.zeros(shape))
    found = pair_metrics([(1.0, pairs)], METHODS["cpo"].score, values, weights=torch.ones(shape), dims=2)
    assert found["margin"].tolist() == [4.0, 13.0]
    assert {tuple(value.shape) for value in found.values()} == {(2,)}


def test_weighted_mean_by_hand():
    values = torch.tensor([[1.0, 2.0, 6.0], [0.0, 4.0, 5.0]])
    assert weighted_mean(values).tolist() == [3.0, 3.0]
    assert weighted_mean(values, torch.tensor([[1.0, 3.0, 0.0], [2.0, 1.0, 1.0]])).tolist() == [1.75, 2.25]
    assert weighted_mean(values, dims=2).item() == 3.0


@pytest.mark.parametrize("nothing", [math.inf, -math.inf, math.nan])
def test_pair_of_weight_zero_never_counts(nothing):
    values = torch.tensor([1.0, nothing, 3.0])
    assert weighted_mean(values, torch.tensor([1.0, 0.0, 1.0])).item() == 2.0


def test_mean_of_nothing_is_nan():
    assert weighted_mean(torch.ones(2), torch.zeros(2)).isnan()


def test_scale_of_the_weights_does_not_matter():
    values, weights = torch.tensor([1.0, 5.0, -3.0]), torch.tensor([0.25, 0.5, 1.0])
    assert weighted_mean(values, 8 * weights).item() == weighted_mean(values, weights).item()


def test_a_standard_error_by_hand():
    """Of 2, -1, 0, 3: mean 1, squares 1 + 4 + 1 + 4 = 10, variance 10 / 3, over 4 pairs: sqrt(10 / 12)."""
    assert standard_error(torch.tensor([2.0, -1.0, 0.0, 3.0])) == pytest.approx(math.sqrt(10 / 12))
    assert math.isnan(standard_error(torch.tensor([2.0])))

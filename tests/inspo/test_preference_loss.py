"""One object for toy, trainer and loops of your own: it asks for what the loss reads, and adds nothing to the loss."""

from functools import partial

import pytest
import torch

from inspo import METHODS, Conditioning, LogpRequest, PreferenceLoss, ReferenceContext, Role, conditioned_loss
from inspo.metrics import weighted_scores

B = 5


def logps(requests, seed: int) -> dict[LogpRequest, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {request: -10 * torch.rand(B, generator=generator, dtype=torch.float64) for request in requests}


@pytest.mark.parametrize("conditioning", Conditioning)
@pytest.mark.parametrize("context", ReferenceContext)
def test_it_is_the_loss_of_its_terms_to_the_last_bit(method, conditioning, context):
    loss = PreferenceLoss(method, conditioning, reference_context=context)
    policy, reference = logps(loss.requests(), 1), logps(loss.reference_requests(), 2)
    lengths = {"chosen_length": torch.arange(1, B + 1), "rejected_length": torch.arange(B, 0, -1)}
    kl = 0.3 if method == "kto" else None
    terms = conditioning.terms(policy, reference or None, reference=context, **lengths)
    keywords = dict(METHODS[method].defaults) | ({} if kl is None else {"kl": kl})
    assert torch.equal(
        loss(policy, reference, kl=kl, **lengths), conditioned_loss(partial(METHODS[method].loss, **keywords), terms)
    )
    for ours, expected in zip(
        loss.scores(loss.terms(policy, reference, **lengths)),
        weighted_scores(terms, METHODS[method].score),
        strict=True,
    ):
        assert torch.equal(ours, expected)


def test_a_method_without_reference_asks_for_none_and_ignores_one():
    loss = PreferenceLoss("simpo", Conditioning.SYMMETRIC)
    assert loss.reference_requests() == ()
    policy, lengths = logps(loss.requests(), 1), {"chosen_length": torch.ones(B), "rejected_length": torch.ones(B)}
    assert torch.equal(loss(policy, **lengths), loss(policy, logps(Conditioning.NONE.requests(), 2), **lengths))


def test_defaults_fill_what_is_not_given():
    assert PreferenceLoss("r-dpo", hyperparameters={"beta": 0.3}).hyperparameters == {"beta": 0.3, "alpha": 0.1}
    assert PreferenceLoss("simpo", hyperparameters={"gamma_beta_ratio": 0.5}).hyperparameters == {
        "beta": 2.0,
        "gamma_beta_ratio": 0.5,
    }


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PreferenceLoss("dop"), "method = 'dop' must be one of dpo, ipo"),
        (
            lambda: PreferenceLoss("dpo", hyperparameters={"tau": 1}),
            "tau is no hyperparameter of dpo, which takes beta",
        ),
        (lambda: PreferenceLoss("dpo")(logps([LogpRequest(Role.CHOSEN)], 0)), "needs the policy's log-probs of"),
        (lambda: PreferenceLoss("dpo")(logps(Conditioning.NONE.requests(), 0)), "needs the reference's log-probs of"),
        (lambda: PreferenceLoss("cpo")(logps(Conditioning.NONE.requests(), 0), kl=0.1), "cpo reads no estimate of KL"),
        (
            lambda: PreferenceLoss("kto")(*[logps(Conditioning.NONE.requests(), seed) for seed in (0, 1)]),
            "kto needs an estimate of KL",
        ),
    ],
)
def test_what_is_missing_or_unknown_is_said(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_a_soft_label_reaches_the_loss():
    """With p = 1/2 no response is preferred: exchanging them changes nothing."""
    loss = PreferenceLoss("cpo", hyperparameters={"lam": 0.0})
    policy = logps(loss.requests(), 1)
    chosen, rejected = loss.requests()
    swapped = {chosen: policy[rejected], rejected: policy[chosen]}
    half = torch.full((B,), 0.5, dtype=torch.float64)
    torch.testing.assert_close(loss(policy, preference=half), loss(swapped, preference=half))
    assert not torch.allclose(loss(policy), loss(swapped))

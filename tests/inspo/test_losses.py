"""The nine losses. Notation: w chosen, l rejected, rho = log(pi / pi_ref), m the logit or margin."""

import inspect
import math
from dataclasses import FrozenInstanceError, fields, replace
from decimal import Decimal, getcontext
from functools import partial

import pytest
import torch
from examples import EXAMPLES, one_pair
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from inspo.losses import (
    METHODS,
    cpo,
    dpo,
    ipo,
    kto,
    kto_kl,
    length_regularized_dpo,
    orpo,
    rrhf,
    simpo,
    slic,
)
from inspo.pairs import PairLogps

ln = math.log
WITH_REFERENCE = [name for name in METHODS if METHODS[name].needs_reference]
WITH_SFT_WEIGHT = [name for name in METHODS if "sft_weight" in inspect.signature(METHODS[name].loss).parameters]


def exactly(expected):
    return pytest.approx(expected, rel=1e-14, abs=1e-15)


def close(actual, expected, **tolerances):
    torch.testing.assert_close(actual, expected, **({"rtol": 1e-12, "atol": 1e-12} | tolerances))


def leaves(pairs):
    """The same pairs with every log-prob a leaf that records gradients, and those leaves."""
    names = [field.name for field in fields(pairs) if field.name.endswith("_logps")]
    tensors = {
        name: value.detach().clone().requires_grad_() for name in names if (value := getattr(pairs, name)) is not None
    }
    return replace(pairs, **tensors), tensors


# ---------------------------------------------------------------- values worked by hand


def test_dpo_by_hand():
    """pi = (3/8, 1/8), pi_ref = 1/4 both: rho = (ln 3/2, ln 1/2), rho(w) - rho(l) = ln 3.

    beta = 2: sigma(2 ln 3) = 9 / (1 + 9), so the loss is ln(10/9) and its slope in log pi(w) is
    -beta (1 - 9/10) = -1/5.
    """
    pairs, logps = leaves(one_pair(ln(3 / 8), ln(1 / 8), ln(1 / 4), ln(1 / 4)))
    loss = dpo(pairs, beta=2.0)
    assert loss.item() == exactly(ln(10 / 9))
    loss.sum().backward()
    assert logps["chosen_logps"].grad.item() == exactly(-1 / 5)
    assert logps["rejected_logps"].grad.item() == exactly(1 / 5)


def test_ipo_by_hand():
    """rho(w) - rho(l) = ln 3 as above and tau = 1/4, so the target is 2: (ln 3 - 2)^2.

    Per token with lengths 1 and 2: ln(3/2) - ln(1/2) / 2 = ln(3/2 sqrt 2), squared distance to 2.
    """
    pairs = one_pair(ln(3 / 8), ln(1 / 8), ln(1 / 4), ln(1 / 4), 1, 2)
    assert ipo(pairs, tau=0.25).item() == exactly((ln(3) - 2) ** 2)
    assert ipo(pairs, tau=0.25, length_mean=True).item() == exactly((ln(1.5 * math.sqrt(2)) - 2) ** 2)


def test_length_regularized_dpo_by_hand():
    """beta = 1, rho(w) - rho(l) = ln 3, three tokens against one with alpha = ln 2: m = ln 3 + 2 ln 2 = ln 12.

    sigma(ln 12) = 12/13, loss ln(13/12). The longer response is favored by the logit, hence less
    is asked of its log-prob.
    """
    pairs = one_pair(ln(3 / 8), ln(1 / 8), ln(1 / 4), ln(1 / 4), 3, 1)
    assert length_regularized_dpo(pairs, beta=1.0, alpha=ln(2)).item() == exactly(ln(13 / 12))


def test_orpo_by_hand():
    """Two tokens of 3/4 against one of 1/4: p = 3/4 and 1/4, odds 3 and 1/3, ratio 9.

    Loss = ln(4/3) + lam ln(10/9), as sigma(ln 9) = 9/10. The likelihood is per token, not summed.
    """
    pairs = replace(one_pair(2 * ln(3 / 4), ln(1 / 4)), chosen_length=tensor([2]), rejected_length=tensor([1]))
    assert orpo(pairs, lam=0.5).item() == exactly(ln(4 / 3) + 0.5 * ln(10 / 9))


def test_simpo_by_hand():
    """Two tokens of 1/2 against three of 1/8: per-token difference ln 4; beta = 2, gamma = ln 2: m = ln 8.

    sigma(ln 8) = 8/9, loss ln(9/8).
    """
    pairs = one_pair(2 * ln(1 / 2), 3 * ln(1 / 8))
    pairs = replace(pairs, chosen_length=tensor([2]), rejected_length=tensor([3]))
    assert simpo(pairs, beta=2.0, gamma=ln(2)).item() == exactly(ln(9 / 8))


def test_rrhf_by_hand():
    """-4 nats over two tokens against -3 over three: means -2 and -1, hinge 1; plus lam = 1/2 times 4 nats."""
    pairs = replace(one_pair(-4, -3), chosen_length=tensor([2]), rejected_length=tensor([3]))
    assert rrhf(pairs, lam=0.5).item() == exactly(3.0)
    assert rrhf(pairs.swapped(), lam=0.5).item() == exactly(1.5)  # ranked right: the likelihood term alone


def test_slic_by_hand():
    """Margin -4 + 4.5 = 0.5 of delta = 1.5 is short by 1; plus lam = 1/4 times 4 nats."""
    assert slic(one_pair(-4, -4.5), delta=1.5, lam=0.25).item() == exactly(2.0)
    assert slic(one_pair(-4, -5.5), delta=1.5, lam=0.0).item() == 0  # the margin is met exactly


def test_cpo_by_hand():
    """pi = (3/8, 1/8), beta = 2: sigma(2 ln 3) = 9/10; plus lam = 1/2 times ln(8/3)."""
    assert cpo(one_pair(ln(3 / 8), ln(1 / 8)), beta=2.0, lam=0.5).item() == exactly(ln(10 / 9) + 0.5 * ln(8 / 3))


def test_kto_by_hand():
    """pi = (3/5, 1/4), pi_ref = (1/10, 1/2): rho = (ln 6, -ln 2); kl = ln 2, beta = 1.

    Desirable: 1 - sigma(ln 3) = 1/4. Undesirable: 1 - sigma(2 ln 2) = 1/5. Slope of the first in
    log pi(w): -sigma(1 - sigma) = -3/16; of the second in log pi(l): 4/25.
    """
    pairs, logps = leaves(one_pair(ln(3 / 5), ln(1 / 4), ln(1 / 10), ln(1 / 2)))
    assert kto(pairs, ln(2), beta=1.0).item() == exactly((1 / 4 + 1 / 5) / 2)
    assert kto(pairs, ln(2), beta=1.0, lam_w=2.0, lam_l=3.0).item() == exactly((2 / 4 + 3 / 5) / 2)
    kto(pairs, ln(2), beta=1.0, halves="sum").sum().backward()
    assert logps["chosen_logps"].grad.item() == exactly(-3 / 16)
    assert logps["rejected_logps"].grad.item() == exactly(4 / 25)


# ---------------------------------------------------------------- symmetries


def logistic(loss, swapped, _pairs):
    """sigma(m) + sigma(-m) = 1 for loss = -log sigma(m)."""
    return torch.exp(-loss) + torch.exp(-swapped) - 1


def orpo_symmetry(loss, swapped, _pairs):
    return logistic(loss / EXAMPLES["orpo"]["lam"], swapped / EXAMPLES["orpo"]["lam"], None)


def simpo_symmetry(loss, swapped, _pairs):
    """sigma^-1 of both: m - gamma and -m - gamma, so the logits of the two likelihoods sum to -2 gamma."""
    return torch.logit(torch.exp(-loss)) + torch.logit(torch.exp(-swapped)) + 2 * EXAMPLES["simpo"]["gamma"]


def ipo_symmetry(loss, swapped, pairs):
    """(m - c)^2 - (m + c)^2 = -4 m c with c = 1 / (2 tau)."""
    chosen, rejected = pairs.logratios()
    return loss - swapped + 2 * (chosen - rejected) / EXAMPLES["ipo"]["tau"]


def rrhf_symmetry(loss, swapped, pairs):
    """max(0, m) + max(0, -m) = |m|."""
    chosen, rejected = pairs.length_means()
    return loss + swapped - (chosen - rejected).abs()


def slic_symmetry(loss, swapped, pairs):
    """max(0, delta - m) + max(0, delta + m) is 2 delta while |m| < delta, then delta + |m|."""
    chosen, rejected = pairs.logps()
    delta = EXAMPLES["slic"]["delta"]
    return loss + swapped - torch.maximum(tensor(2 * delta), delta + (chosen - rejected).abs())


def kto_symmetry(loss, swapped, _pairs):
    """Each response is judged once desirable and once not: with equal weights lam they sum to lam."""
    return loss + swapped - 1


SYMMETRIES = {
    "dpo": (logistic, {}),
    "ipo": (ipo_symmetry, {}),
    "r-dpo": (logistic, {}),
    "orpo": (orpo_symmetry, {}),
    "simpo": (simpo_symmetry, {}),
    "rrhf": (rrhf_symmetry, {}),
    "slic": (slic_symmetry, {}),
    "cpo": (logistic, {}),
    "kto": (kto_symmetry, {"lam_w": 1.0, "lam_l": 1.0}),
}


def test_pair_and_its_swap_obey_the_methods_symmetry(method, contrast, make_pairs):
    symmetry, hyperparameters = SYMMETRIES[method]
    # Small margins, so that neither likelihood rounds to one.
    pairs = make_pairs(seed=3)
    pairs = replace(pairs, rejected_logps=pairs.chosen_logps + torch.linspace(-3, 3, 6, dtype=torch.float64))
    pairs = replace(pairs, ref_rejected_logps=pairs.ref_chosen_logps + 0.5, rejected_length=pairs.chosen_length + 1)
    residual = symmetry(contrast(pairs, **hyperparameters), contrast(pairs.swapped(), **hyperparameters), pairs)
    close(residual, torch.zeros_like(residual), atol=1e-10)


def test_undecided_label_prefers_no_response(contrast, pairs):
    close(contrast(pairs, preference=0.5), contrast(pairs.swapped(), preference=0.5))
    close(contrast(pairs, label_smoothing=0.5), contrast(pairs.swapped(), label_smoothing=0.5))


def test_label_of_zero_is_the_swapped_pair(contrast, pairs):
    close(contrast(pairs, preference=0.0), contrast(pairs.swapped()))


def test_label_smoothing_is_a_soft_label(loss, pairs):
    close(loss(pairs, label_smoothing=0.2), loss(pairs, preference=0.8))


def test_label_smoothing_and_preference_compose(loss, pairs):
    """q = (1 - 1/4) 9/10 + 1/4 1/10 = 7/10."""
    close(loss(pairs, label_smoothing=0.25, preference=0.9), loss(pairs, preference=0.7))


def test_soft_label_is_the_expectation_over_labels(contrast, pairs):
    close(contrast(pairs, preference=0.7), 0.7 * contrast(pairs) + 0.3 * contrast(pairs.swapped()))


def test_soft_label_leaves_the_likelihood_term_alone(loss, contrast, pairs):
    close(loss(pairs, preference=0.1) - contrast(pairs, preference=0.1), loss(pairs) - contrast(pairs))


def test_preference_may_differ_between_pairs(loss, pairs):
    labels = torch.linspace(0, 1, 6)
    together = loss(pairs, preference=labels)
    for i, label in enumerate(labels):
        close(together[i], loss(pairs, preference=label)[i])


@pytest.mark.parametrize("method", WITH_REFERENCE)
def test_reference_counts_only_relative_to_the_policy(contrast, pairs):
    shifted = replace(
        pairs,
        chosen_logps=pairs.chosen_logps + 5,
        ref_chosen_logps=pairs.ref_chosen_logps + 5,
        rejected_logps=pairs.rejected_logps - 3,
        ref_rejected_logps=pairs.ref_rejected_logps - 3,
    )
    close(contrast(shifted), contrast(pairs))


@pytest.mark.parametrize("method", ["dpo", "ipo", "r-dpo", "slic", "cpo"])
def test_losses_of_a_difference_ignore_a_common_shift(contrast, pairs):
    shifted = replace(pairs, chosen_logps=pairs.chosen_logps - 7, rejected_logps=pairs.rejected_logps - 7)
    close(contrast(shifted), contrast(pairs))


@pytest.mark.parametrize("method", [name for name in METHODS if name != "ipo"])
def test_better_chosen_and_worse_rejected_never_cost(contrast, make_pairs):
    """For all but IPO, which regresses the margin to a target: overshooting costs."""
    pairs, logps = leaves(make_pairs(seed=5, shape=(200,)))
    contrast(pairs).sum().backward()
    assert (logps["chosen_logps"].grad <= 0).all()
    assert (logps["rejected_logps"].grad >= 0).all()
    assert (logps["chosen_logps"].grad < 0).any()


def test_every_pair_counts_alone(loss, make_pairs):
    """A loss is elementwise: any shape of pairs, no leak between them."""
    pairs = make_pairs(seed=1, shape=(2, 3, 3))
    table = loss(pairs)
    assert table.shape == (2, 3, 3)
    flat = PairLogps(*(getattr(pairs, field.name).reshape(-1) for field in fields(pairs)))
    assert torch.equal(loss(flat), table.reshape(-1))
    alone = PairLogps(*(getattr(pairs, field.name)[1, 2, 0] for field in fields(pairs)))
    assert loss(alone).item() == exactly(table[1, 2, 0].item())


# ---------------------------------------------------------------- limits that turn one loss into another


def equal_lengths(pairs, length):
    return replace(pairs, chosen_length=torch.full((6,), length), rejected_length=torch.full((6,), length))


def uniform_reference(pairs):
    constant = torch.full_like(pairs.chosen_logps, -20.0)
    return replace(pairs, ref_chosen_logps=constant, ref_rejected_logps=constant)


def shifted_reference(pairs, per_token):
    """The reference made less likely by so many nats a token."""
    chosen_length, rejected_length = pairs.lengths()
    return replace(
        pairs,
        ref_chosen_logps=pairs.ref_chosen_logps - per_token * chosen_length,
        ref_rejected_logps=pairs.ref_rejected_logps - per_token * rejected_length,
    )


def chosen_below_kl(pairs, kl):
    """A fixed log-ratio kl as the winner over the chosen response."""
    zeros = torch.zeros_like(pairs.chosen_logps)
    return PairLogps(zeros + kl, pairs.chosen_logps, zeros, pairs.ref_chosen_logps)


LIMITS = {
    "R-DPO with alpha = 0 is DPO": (partial(length_regularized_dpo, beta=0.3, alpha=0.0), partial(dpo, beta=0.3)),
    "R-DPO with equal lengths is DPO": (
        lambda pairs: length_regularized_dpo(equal_lengths(pairs, 9), beta=0.3, alpha=5.0),
        partial(dpo, beta=0.3),
    ),
    "R-DPO is DPO with a reference shifted by alpha |y| / beta": (
        partial(length_regularized_dpo, beta=0.3, alpha=0.06),
        lambda pairs: dpo(shifted_reference(pairs, 0.06 / 0.3), beta=0.3),
    ),
    "CPO with lam = 0 is DPO with a uniform reference": (
        partial(cpo, beta=0.3, lam=0.0),
        lambda pairs: dpo(uniform_reference(pairs), beta=0.3),
    ),
    "CPO with per-token likelihood is DPO with a uniform reference and sft_weight": (
        partial(cpo, beta=0.3, lam=0.4, sft_length_mean=True),
        lambda pairs: dpo(uniform_reference(pairs), beta=0.3, sft_weight=0.4),
    ),
    "SimPO with gamma = 0 and n tokens each is DPO with a uniform reference at beta / n": (
        lambda pairs: simpo(equal_lengths(pairs, 10), beta=3.0, gamma=0.0),
        lambda pairs: dpo(uniform_reference(pairs), beta=0.3),
    ),
    "SimPO with gamma is SimPO at gamma / beta": (
        partial(simpo, beta=2.5, gamma=1.0),
        partial(simpo, beta=2.5, gamma_beta_ratio=0.4),
    ),
    "ORPO with lam = 0 is fine-tuning on the chosen response": (
        partial(orpo, lam=0.0),
        lambda pairs: -pairs.chosen_logps / pairs.chosen_length,
    ),
    "IPO per token with one token each is IPO": (
        lambda pairs: ipo(equal_lengths(pairs, 1), tau=0.4, length_mean=True),
        partial(ipo, tau=0.4),
    ),
    "SLiC with delta = 0 and n tokens each is n times RRHF": (
        partial(slic, delta=0.0, lam=0.3),
        lambda pairs: 7 * rrhf(equal_lengths(pairs, 7), lam=0.3 / 7),
    ),
    "KTO's sum is twice its mean": (
        partial(kto, kl=0.2, beta=0.3, lam_w=1.5, halves="sum"),
        lambda pairs: 2 * kto(pairs, 0.2, beta=0.3, lam_w=1.5),
    ),
    "KTO's judgment of the chosen response is exp(-DPO) of the other way round, against the KL estimate": (
        partial(kto, kl=0.2, beta=0.3, lam_l=0.0, halves="sum"),
        lambda pairs: torch.exp(-dpo(chosen_below_kl(pairs, 0.2), beta=0.3)),
    ),
}


@pytest.mark.parametrize(("special", "other"), LIMITS.values(), ids=LIMITS)
def test_limit_turns_it_into_another_loss(special, other, pairs):
    close(special(pairs), other(pairs))


def test_large_margin_dpo_is_the_hinge(pairs):
    """softplus(-m) - max(0, -m) <= e^-|m|: at large beta DPO over beta is SLiC with delta = 0 on log-ratios."""
    chosen, rejected = pairs.logratios()
    close(dpo(pairs, beta=1e4) / 1e4, slic(PairLogps(chosen, rejected), delta=0.0, lam=0.0), atol=1e-4)


def test_policy_equal_to_reference_costs_ln_2(pairs):
    same = replace(pairs, ref_chosen_logps=pairs.chosen_logps, ref_rejected_logps=pairs.rejected_logps)
    close(dpo(same, beta=0.7), torch.full((6,), ln(2), dtype=torch.float64))
    close(kto(same, 0.0, beta=0.7, lam_w=3.0, lam_l=1.0), torch.full((6,), 1.0, dtype=torch.float64))


@given(st.floats(0.55, 1.0), st.floats(0.05, 2.0))
def test_soft_ipo_is_least_at_its_documented_margin(p, tau):
    """d/dm [p (m - c)^2 + (1 - p)(m + c)^2] = 0 at m = (2p - 1) c, with c = 1 / (2 tau)."""
    best = (2 * p - 1) / (2 * tau)
    pairs, logps = leaves(one_pair(best - 3, -3, 0, 0))
    loss = ipo(pairs, tau=tau, preference=p)
    loss.sum().backward()
    assert logps["chosen_logps"].grad.item() == pytest.approx(0, abs=1e-9 / tau)
    assert loss.item() == pytest.approx((1 - (2 * p - 1) ** 2) / (4 * tau**2), rel=1e-9, abs=1e-9)


# ---------------------------------------------------------------- gradients and extremes


@pytest.mark.parametrize(
    "options",
    [{}, {"label_smoothing": 0.2}, {"preference": torch.linspace(0, 1, 6)}],
    ids=["plain", "smoothed", "soft"],
)
def test_gradcheck(loss, options, pairs):
    small = PairLogps(*(value / 10 for value in (*pairs.logps(), pairs.ref_chosen_logps, pairs.ref_rejected_logps)))
    _, logps = leaves(small)

    def of_logps(*tensors):
        return loss(PairLogps(*tensors, *pairs.lengths()), **options)

    assert torch.autograd.gradcheck(of_logps, tuple(logps.values()))


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("ipo", {"length_mean": True}),
        ("simpo", {"flip": "logit", "label_smoothing": 0.3}),
        ("kto", {"halves": "sum"}),
        ("cpo", {"sft_length_mean": True}),
        ("dpo", {"sft_weight": 0.3}),
        ("dpo", {"sft_weight": 0.3, "sft_length_mean": False}),
    ],
    ids=str,
)
def test_gradcheck_of_a_methods_own_options(loss, options, pairs):
    _, logps = leaves(pairs)
    assert torch.autograd.gradcheck(
        lambda *tensors: loss(PairLogps(*tensors, *pairs.lengths()), **options), tuple(logps.values())
    )


EXTREME_LOGPS = (0.0, -1e-30, -1e4, -1e6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}], ids=["plain", "smoothed"])
def test_value_and_gradient_are_finite_at_extreme_inputs(loss, dtype, options):
    """Every combination of certain, nearly certain and hopeless responses, short and long."""
    logps = torch.tensor(EXTREME_LOGPS, dtype=dtype)
    lengths = torch.tensor([1.0, 4096.0], dtype=dtype)
    pairs, tensors = leaves(PairLogps(*torch.cartesian_prod(logps, logps, logps, logps, lengths, lengths).T))
    value = loss(pairs, **options)
    assert value.dtype == dtype
    assert value.isfinite().all()
    value.sum().backward()
    for name, tensor_ in tensors.items():
        if tensor_.grad is not None:
            assert tensor_.grad.isfinite().all(), name


def test_orpo_odds_are_accurate_near_certainty():
    """log-odds of p = e^x, by 60-digit arithmetic, where 1 - p loses its digits in floating point."""
    getcontext().prec = 60
    for logp in (-1e-12, -1e-6, -0.1, -0.693, -0.694, -3.0, -40.0, -700.0):
        p = Decimal(logp).exp()
        logit = float((p / (1 - p)).ln())
        # Against p = 1/2 (even odds) the odds term is -log sigma(logit).
        pair = PairLogps(*torch.tensor([[logp], [-ln(2)]], dtype=torch.float64), None, None, *torch.ones(2, 1))
        loss = orpo(pair, lam=1.0, likelihood=torch.zeros(1, dtype=torch.float64))
        expected = float((1 + Decimal(-logit).exp()).ln())
        assert loss.item() == pytest.approx(expected, rel=1e-12, abs=0)


def test_kto_keeps_its_precision_where_sigma_rounds_to_one():
    """1 - sigma(100) = e^-100 to 43 digits; computed as 1 minus sigma it would be zero."""
    pair = one_pair(-1.0, -1.0, -101.0, -1.0)
    assert kto(pair, 0.0, beta=1.0, lam_l=0.0, halves="sum").item() == pytest.approx(math.exp(-100), rel=1e-12, abs=0)


# ---------------------------------------------------------------- options


@pytest.mark.parametrize("method", WITH_SFT_WEIGHT)
def test_sft_weight_adds_the_chosen_likelihood(loss, pairs):
    loss = partial(loss, label_smoothing=0.3)
    close(loss(pairs, sft_weight=0.7) - loss(pairs), -0.7 * pairs.chosen_logps / pairs.chosen_length, atol=1e-9)
    close(loss(pairs, sft_weight=0.7, sft_length_mean=False) - loss(pairs), -0.7 * pairs.chosen_logps, atol=1e-9)


@pytest.mark.parametrize("method", ["rrhf", "slic", "cpo"])
def test_lam_is_the_weight_of_the_chosen_likelihood(loss, pairs):
    close(loss(pairs, lam=1.0) - loss(pairs, lam=0.0), -pairs.chosen_logps)
    per_token = loss(pairs, lam=1.0, sft_length_mean=True) - loss(pairs, lam=0.0)
    close(per_token, -pairs.chosen_logps / pairs.chosen_length)


@pytest.mark.parametrize("method", [name for name in WITH_SFT_WEIGHT if not METHODS[name].needs_length])
def test_summed_likelihood_needs_no_lengths(loss, pairs):
    without = replace(pairs, chosen_length=None, rejected_length=None)
    assert torch.equal(loss(without, sft_weight=1.0, sft_length_mean=False), loss(pairs) - pairs.chosen_logps)
    with pytest.raises(ValueError, match="needs the responses' lengths"):
        loss(without, sft_weight=1.0)


def test_nobody_can_change_what_a_name_means():
    with pytest.raises(FrozenInstanceError):
        METHODS["dpo"].loss = simpo


def test_simpo_needs_exactly_one_form_of_gamma(pairs):
    for gammas in ({}, {"gamma": 1.0, "gamma_beta_ratio": 0.5}):
        with pytest.raises(ValueError, match="exactly one of gamma and gamma_beta_ratio"):
            simpo(pairs, beta=2.0, **gammas)


def test_simpo_without_a_margin_in_either_form(pairs):
    assert torch.equal(simpo(pairs, beta=2.0, gamma_beta_ratio=0.0), simpo(pairs, beta=2.0, gamma=0.0))


def test_simpo_flips_the_labels_or_the_logit():
    """Per-token difference ln 4, beta = 1, gamma = ln 2, label surely flipped (p = 0).

    labels: the rejected response must win by gamma: m = -ln 4 - ln 2 = -ln 8, loss ln 9.
    logit: the logit ln 4 - ln 2 = ln 2 is negated: loss -log sigma(-ln 2) = ln 3.
    """
    pair = PairLogps(*torch.tensor([[ln(1 / 2)], [ln(1 / 8)]], dtype=torch.float64), None, None, *torch.ones(2, 1))
    assert simpo(pair, beta=1.0, gamma=ln(2), preference=0.0).item() == exactly(ln(9))
    assert simpo(pair, beta=1.0, gamma=ln(2), preference=0.0, flip="logit").item() == exactly(ln(3))


def test_simpo_flips_agree_without_a_margin(pairs):
    smoothed = partial(simpo, pairs, beta=2.0, gamma=0.0, label_smoothing=0.2)
    close(smoothed(flip="logit"), smoothed(flip="labels"))


def test_orpo_takes_a_likelihood_from_outside(pairs):
    nll = torch.linspace(0, 5, 6, dtype=torch.float64)
    own = -pairs.chosen_logps / pairs.chosen_length
    close(orpo(pairs, lam=0.7, likelihood=nll) - nll, orpo(pairs, lam=0.7) - own)


def test_kto_lets_no_gradient_into_the_kl(pairs):
    kl = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    policy, logps = leaves(pairs)
    kto(policy, kl, beta=0.3).sum().backward()
    assert kl.grad is None
    assert logps["chosen_logps"].grad.abs().sum() > 0


def test_kto_kl_may_differ_between_pairs(pairs):
    kl = torch.linspace(0, 3, 6, dtype=torch.float64)
    together = kto(pairs, kl, beta=0.3)
    for i in range(6):
        assert together[i].item() == exactly(kto(pairs, kl[i].item(), beta=0.3)[i].item())


def test_kto_kl_shifts_the_reference_point(pairs):
    """rho - kl is rho of a reference kl nats more likely."""
    raised = replace(
        pairs, ref_chosen_logps=pairs.ref_chosen_logps + 0.4, ref_rejected_logps=pairs.ref_rejected_logps + 0.4
    )
    close(kto(pairs, 0.4, beta=0.3), kto(raised, 0.0, beta=0.3))


def test_kto_kl_by_hand():
    """Log-ratios 1, 2, -6 average -1: cut off at zero unless told otherwise."""
    policy, reference = torch.tensor([-1.0, -2.0, -9.0]), torch.tensor([-2.0, -4.0, -3.0])
    assert kto_kl(policy, reference).item() == 0
    assert kto_kl(policy, reference, clamp=False).item() == -1
    assert kto_kl(reference, policy).item() == 1


def test_kto_kl_carries_no_gradient():
    policy = torch.tensor([-1.0, -2.0], requires_grad=True)
    for clamp in (True, False):
        assert not kto_kl(policy, torch.tensor([-3.0, -3.0]), clamp=clamp).requires_grad


@pytest.mark.parametrize("reference", [torch.zeros(3), torch.zeros(2, 1)], ids=["longer", "column"])
def test_kto_kl_refuses_shapes_that_differ(reference):
    with pytest.raises(ValueError, match="as many policy as reference"):
        kto_kl(torch.zeros(2), reference)


def test_kto_kl_refuses_an_empty_batch():
    with pytest.raises(ValueError, match="at least one"):
        kto_kl(torch.zeros(0), torch.zeros(0))


# ---------------------------------------------------------------- the table of methods, and bad input


def test_methods_are_the_papers_nine():
    assert set(METHODS) == {"dpo", "ipo", "r-dpo", "orpo", "simpo", "rrhf", "slic", "cpo", "kto"}


def test_needed_inputs_are_needed_and_no_others(method, loss, pairs):
    """At default options; with the method's own needs alone the value is the same to the last bit."""
    needs = METHODS[method]
    no_reference = {"ref_chosen_logps": None, "ref_rejected_logps": None}
    no_length = {"chosen_length": None, "rejected_length": None}
    for needed, absent, message in (
        (needs.needs_reference, no_reference, "ref_chosen_logps"),
        (needs.needs_length, no_length, "chosen_length"),
    ):
        without = replace(pairs, **absent)
        if needed:
            with pytest.raises(ValueError, match=message):
                loss(without)
        else:
            assert torch.equal(loss(without), loss(pairs))


def test_score_is_what_the_loss_compares(method, contrast, pairs):
    """The loss is lower than the swapped pair's exactly where the chosen score is the higher one."""
    chosen, rejected = METHODS[method].score(pairs)
    swapped_chosen, swapped_rejected = METHODS[method].score(pairs.swapped())
    assert torch.equal(chosen, swapped_rejected)
    assert torch.equal(rejected, swapped_chosen)
    if method in ("r-dpo", "kto"):  # the length term and the two judgments are no function of the difference
        return
    preferred = contrast(pairs) < contrast(pairs.swapped())
    assert torch.equal(preferred, chosen > rejected)


def test_ipo_has_no_beta(pairs):
    with pytest.raises(TypeError, match=r"^ipo\(\) got an unexpected keyword argument 'beta'"):
        ipo(pairs, tau=0.1, beta=0.1)


@pytest.mark.parametrize("method", ["orpo", "rrhf", "slic", "cpo"])
def test_a_likelihood_term_of_its_own_leaves_no_room_for_another(loss, pairs):
    with pytest.raises(TypeError, match=r"got an unexpected keyword argument 'sft_weight'"):
        loss(pairs, sft_weight=0.3)


SHARED = {
    "label_smoothing": (0.0, "epsilon in"),
    "preference": (1.0, "p in [0, 1]"),
    "sft_weight": (0.0, "of the likelihood term"),
    "sft_length_mean": (True, "likelihood per token"),
}


def test_signature_and_help_spell_every_keyword_out(method):
    """Those that all losses share too, though they are written down once."""
    loss = METHODS[method].loss
    parameters = inspect.signature(loss).parameters
    assert {"label_smoothing", "preference"} <= set(parameters)
    assert "options" not in parameters
    for name in parameters:
        assert f"    {name}: " in loss.__doc__
    for name, (default, words) in SHARED.items():
        if name in parameters:
            assert words in loss.__doc__.partition(f"    {name}: ")[2].splitlines()[0]
            own_likelihood = "lam" in parameters and name == "sft_length_mean"
            assert parameters[name].default == (False if own_likelihood else default)


POSITIVE = [(name, key) for name in METHODS for key in ("beta", "tau") if key in EXAMPLES[name]]
NON_NEGATIVE = [
    (name, key)
    for name in METHODS
    for key in ("alpha", "lam", "gamma", "delta", "lam_w", "lam_l")
    if key in EXAMPLES[name]
]


@pytest.mark.parametrize(("method", "key"), POSITIVE)
@pytest.mark.parametrize("bad", [0.0, -0.1, math.nan, math.inf])
def test_temperatures_must_be_positive(loss, key, bad, pairs):
    with pytest.raises(ValueError, match=f"^{key} = {bad} must be"):
        loss(pairs, **{key: bad})


@pytest.mark.parametrize(("method", "key"), NON_NEGATIVE)
@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_weights_and_margins_must_not_be_negative(loss, key, bad, pairs):
    with pytest.raises(ValueError, match=f"^{key} = {bad} must be"):
        loss(pairs, **{key: bad})


@pytest.mark.parametrize("method", WITH_SFT_WEIGHT)
def test_negative_sft_weight_is_refused_by_its_own_name(loss, pairs):
    with pytest.raises(ValueError, match=r"^sft_weight = -1\.0 must be"):
        loss(pairs, sft_weight=-1.0)


def test_negative_gamma_beta_ratio_is_refused(pairs):
    with pytest.raises(ValueError, match="gamma"):
        simpo(pairs, beta=2.0, gamma_beta_ratio=-0.1)


@pytest.mark.parametrize("bad", [-0.01, 0.51, math.nan])
def test_label_smoothing_outside_its_range_is_refused(loss, bad, pairs):
    with pytest.raises(ValueError, match=f"label_smoothing = {bad} must be in"):
        loss(pairs, label_smoothing=bad)


@pytest.mark.parametrize("bad", [-0.01, 1.01, math.nan])
def test_preference_that_is_no_probability_is_refused(loss, bad, pairs):
    with pytest.raises(ValueError, match="preference must be a probability"):
        loss(pairs, preference=bad)
    with pytest.raises(ValueError, match="preference must be a probability"):
        loss(pairs, preference=torch.tensor([1.0, 0.5, bad, 1.0, 1.0, 1.0]))


def test_preference_of_another_shape_is_refused(loss, pairs):
    with pytest.raises(ValueError, match=r"preference has shape \(6, 1\), but there are \(6,\) pairs"):
        loss(pairs, preference=torch.full((6, 1), 0.5))


@pytest.mark.parametrize(("shape", "name"), [((6, 1), "kl"), ((3,), "kl"), ((6, 1), "likelihood")])
def test_side_inputs_that_would_broadcast_are_refused(shape, name, make_pairs):
    """A (6, 1) side input against (6,) pairs would silently make a (6, 6) loss."""
    pairs = make_pairs() if shape == (6, 1) else make_pairs(shape=(1,))
    side = torch.zeros(shape, dtype=torch.float64)
    with pytest.raises(ValueError, match=name):
        _ = kto(pairs, side, beta=0.3) if name == "kl" else orpo(pairs, lam=0.7, likelihood=side)


def test_unknown_choices_are_refused(pairs):
    with pytest.raises(ValueError, match="flip = 'both' must be"):
        simpo(pairs, beta=2.0, gamma=0.5, flip="both")
    with pytest.raises(ValueError, match="halves = 'both' must be"):
        kto(pairs, 0.0, beta=0.3, halves="both")


def test_the_kl_estimate_is_declared(method):
    """needs_kl is whether the loss has an argument `kl`."""
    assert ("kl" in inspect.signature(METHODS[method].loss).parameters) == METHODS[method].needs_kl


def test_the_defaults_are_values_of_the_published_grids():
    """Of Appendix D.1 and D.3, and for RRHF and KTO of the SimPO paper."""
    assert {name: dict(method.defaults) for name, method in METHODS.items()} == {
        "dpo": {"beta": 0.1},
        "ipo": {"tau": 0.1},
        "r-dpo": {"beta": 0.1, "alpha": 0.1},
        "orpo": {"lam": 0.5},
        "simpo": {"beta": 2.0, "gamma": 1.0},
        "rrhf": {"lam": 1.0},
        "slic": {"delta": 1.0, "lam": 0.1},
        "cpo": {"beta": 0.1, "lam": 1.0},
        "kto": {"beta": 0.1},
    }

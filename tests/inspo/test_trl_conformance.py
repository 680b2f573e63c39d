"""Number for number against TRL, values and gradients, on seeded random pairs.

TRL's loss methods are called unbound, with a stand-in for the trainer and for the model, so that
nothing is loaded or trained. Every comparison is in float64 unless TRL itself casts.

What differs by convention, and is converted here: TRL reduces to the mean over pairs (DPO, KTO); its
IPO and SimPO average each log-prob over tokens; its hinge is ``max(0, 1 - beta m)``; its ORPO method
returns ``+ beta log sigma``, subtracted from the likelihood by its caller; its SimPO and CPO smooth
labels by negating the logit. TRL's DPO "sigmoid" type ignores `label_smoothing`: conservative DPO is
compared with "aot" on one pair, where its sorting does nothing, and "robust" DPO with its definition.
"""

import importlib.util
import os
from collections import defaultdict
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from examples import missing

from inspo.losses import cpo, dpo, ipo, kto, kto_kl, length_regularized_dpo, orpo, simpo, slic
from inspo.pairs import PairLogps

pytestmark = pytest.mark.trl

B = 7
BETA = 0.3
CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def trl() -> SimpleNamespace:
    """TRL's trainers. The import takes seconds, so it waits for the first test that needs it."""
    if importlib.util.find_spec("trl") is None:
        missing("TRL is not installed: the group peers has it")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    from trl import DPOTrainer, KTOTrainer
    from trl.experimental.cpo import CPOTrainer
    from trl.experimental.orpo import ORPOTrainer

    return SimpleNamespace(DPO=DPOTrainer, KTO=KTOTrainer, CPO=CPOTrainer, ORPO=ORPOTrainer)


@pytest.fixture(params=[0, 1, 2], ids=lambda seed: f"seed {seed}")
def random_pairs(request, make_pairs):
    """Pairs whose policy log-probs record gradients, moderate enough that no loss saturates."""
    pairs = make_pairs(seed=request.param, shape=(B,))
    for logps in pairs.logps():
        logps.requires_grad_()
    return pairs


def agree(ours, theirs, pairs, *, tolerance=1e-12):
    """The two scalars are equal, and so are their gradients in both policy log-probs."""
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    for logps in pairs.logps():
        gradients = [torch.autograd.grad(loss, logps, retain_graph=True)[0] for loss in (ours, theirs)]
        torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance)
        assert gradients[1].abs().max() > 0


def accelerator():
    def same(tensor):
        return tensor

    return SimpleNamespace(device=CPU, gather=same, gather_for_metrics=same)


def trainer(**settings):
    """What TRL's loss methods read from the trainer besides their hyperparameters."""
    return SimpleNamespace(
        model=SimpleNamespace(training=False),
        accelerator=accelerator(),
        aux_loss_enabled=False,
        precompute_ref_logps=True,
        _metrics={"eval": defaultdict(list)},
        _total_train_tokens=0,
        **settings,
    )


def batch_of(pairs):
    """Model inputs of two prompt tokens and the completions, chosen first, and their log-probs per token.

    Each response's log-prob is spread evenly over its tokens.
    """
    lengths = torch.cat([pairs.chosen_length, pairs.rejected_length])
    mask = torch.arange(lengths.max() + 2)[None, :]
    mask = ((mask >= 2) & (mask < lengths[:, None] + 2)).long()
    tokens = mask[:, 1:]  # the first token is never predicted
    outputs = SimpleNamespace(
        log_probs=torch.cat(pairs.logps())[:, None] * tokens / lengths[:, None],
        entropy=torch.zeros(tokens.shape),
        mean_logits=torch.zeros(tokens.shape),
        is_top1=torch.zeros(tokens.shape, dtype=torch.bool),
    )
    return {
        "input_ids": torch.ones_like(mask),
        "attention_mask": torch.ones_like(mask),
        "completion_mask": mask,
    }, outputs


def trl_dpo(trl, pairs, *types, weights=None, beta=BETA, label_smoothing=0.0):
    """TRL's mean DPO loss of the given types."""
    inputs, outputs = batch_of(pairs)
    inputs |= {"ref_chosen_logps": pairs.ref_chosen_logps, "ref_rejected_logps": pairs.ref_rejected_logps}
    stand_in = trainer(
        loss_types=list(types),
        loss_weights=weights or [1.0] * len(types),
        beta=beta,
        label_smoothing=label_smoothing,
        f_divergence_type="reverse_kl",
        ld_alpha=None,
        use_weighting=False,
    )
    compute_loss = trl.DPO._compute_loss  # noqa: SLF001, TRL has no public function of its loss
    return compute_loss(stand_in, lambda **_: outputs, inputs, return_outputs=False)


def trl_cpo(trl, pairs, loss_type, *, per_token=False, beta=BETA, **settings):
    """TRL's unreduced CPO-family losses; its caller averages log-probs over tokens for SimPO and IPO."""
    stand_in = SimpleNamespace(
        accelerator=accelerator(),
        loss_type=loss_type,
        beta=beta,
        **{"alpha": 0.0, "label_smoothing": 0.0, "simpo_gamma": 0.0} | settings,
    )
    return trl.CPO.cpo_loss(stand_in, *(pairs.length_means() if per_token else pairs.logps()))[0]


def with_reference(pairs, chosen, rejected):
    return PairLogps(*pairs.logps(), chosen, rejected, pairs.chosen_length, pairs.rejected_length)


def one_by_one(pairs):
    return [
        PairLogps(
            *(
                value[i : i + 1]
                for value in (
                    *pairs.logps(),
                    pairs.ref_chosen_logps,
                    pairs.ref_rejected_logps,
                    pairs.chosen_length,
                    pairs.rejected_length,
                )
            )
        )
        for i in range(B)
    ]


# ---------------------------------------------------------------- DPOTrainer


def test_dpo(trl, random_pairs):
    agree(dpo(random_pairs, beta=BETA).mean(), trl_dpo(trl, random_pairs, "sigmoid"), random_pairs)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_conservative_dpo_is_aot_of_single_pairs(trl, random_pairs, smoothing):
    theirs = torch.stack([trl_dpo(trl, pair, "aot", label_smoothing=smoothing) for pair in one_by_one(random_pairs)])
    agree(dpo(random_pairs, beta=BETA, label_smoothing=smoothing).mean(), theirs.mean(), random_pairs)


def test_trl_smooths_no_labels_of_plain_dpo(trl, random_pairs):
    """So that `label_smoothing` of ours must not be compared with it."""
    assert trl_dpo(trl, random_pairs, "sigmoid", label_smoothing=0.3) == trl_dpo(trl, random_pairs, "sigmoid")


def test_robust_dpo_is_made_of_soft_labels(trl, random_pairs):
    """((1 - e) f(w, l) - e f(l, w)) / (1 - 2 e), unbiased under flips, with f(l, w) the loss at p = 0."""
    ours = (0.8 * dpo(random_pairs, beta=BETA) - 0.2 * dpo(random_pairs, beta=BETA, preference=0.0)).mean() / 0.6
    agree(ours, trl_dpo(trl, random_pairs, "robust", label_smoothing=0.2), random_pairs)


def test_hinge_is_slic_of_logratios(trl, random_pairs):
    """beta max(0, 1/beta - m) with m the difference of log-ratios."""
    ours = BETA * slic(PairLogps(*random_pairs.logratios()), delta=1 / BETA, lam=0.0)
    agree(ours.mean(), trl_dpo(trl, random_pairs, "hinge"), random_pairs)


def test_ipo_per_token(trl, random_pairs):
    agree(ipo(random_pairs, tau=BETA, length_mean=True).mean(), trl_dpo(trl, random_pairs, "ipo"), random_pairs)


def test_length_regularized_dpo_is_dpo_with_a_shifted_reference(trl, random_pairs):
    """beta rho + alpha |y| = beta (log pi - (log pi_ref - alpha |y| / beta))."""
    alpha = 0.05
    chosen_length, rejected_length = random_pairs.lengths()
    shifted = with_reference(
        random_pairs,
        random_pairs.ref_chosen_logps - alpha / BETA * chosen_length,
        random_pairs.ref_rejected_logps - alpha / BETA * rejected_length,
    )
    ours = length_regularized_dpo(random_pairs, beta=BETA, alpha=alpha).mean()
    agree(ours, trl_dpo(trl, shifted, "sigmoid"), random_pairs)


def test_likelihood_term_with_equal_lengths(trl, random_pairs):
    """TRL's "sft" is the mean over the batch's chosen tokens: with equal lengths the mean over responses."""
    chosen, rejected = random_pairs.logps()
    length = torch.full((B,), 9)
    reference = (random_pairs.ref_chosen_logps, random_pairs.ref_rejected_logps)
    pairs = PairLogps(chosen, rejected, *reference, length, random_pairs.rejected_length)
    theirs = trl_dpo(trl, pairs, "sigmoid", "sft", weights=[1.0, 0.4])
    agree(dpo(pairs, beta=BETA, sft_weight=0.4).mean(), theirs, random_pairs)


def test_kto_without_kl_is_apo_zero(trl, random_pairs):
    """APO-zero adds the two judgments of a pair against a reference point of zero."""
    ours = kto(random_pairs, 0.0, beta=BETA, halves="sum").mean()
    agree(ours, trl_dpo(trl, random_pairs, "apo_zero"), random_pairs)


# ---------------------------------------------------------------- CPOTrainer


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("gamma", [0.0, 1.3])
def test_simpo(trl, random_pairs, gamma, smoothing):
    ours = simpo(random_pairs, beta=2.0, gamma=gamma, label_smoothing=smoothing, flip="logit")
    theirs = trl_cpo(trl, random_pairs, "simpo", per_token=True, beta=2.0, simpo_gamma=gamma, label_smoothing=smoothing)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    agree(ours.sum(), theirs.sum(), random_pairs)


def test_simpo_by_the_ratio_of_its_published_configurations(trl, random_pairs):
    ours = simpo(random_pairs, beta=2.5, gamma_beta_ratio=0.55).sum()
    theirs = trl_cpo(trl, random_pairs, "simpo", per_token=True, beta=2.5, simpo_gamma=0.55 * 2.5)
    agree(ours, theirs.sum(), random_pairs)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cpo(trl, random_pairs, smoothing):
    ours = cpo(random_pairs, beta=BETA, lam=0.0, label_smoothing=smoothing)
    agree(ours.sum(), trl_cpo(trl, random_pairs, "sigmoid", label_smoothing=smoothing).sum(), random_pairs)


def test_cpo_hinge_is_slic(trl, random_pairs):
    ours = BETA * slic(random_pairs, delta=1 / BETA, lam=0.0)
    agree(ours.sum(), trl_cpo(trl, random_pairs, "hinge").sum(), random_pairs)


def test_cpo_ipo_is_ipo_per_token_with_a_uniform_reference(trl, random_pairs):
    zeros = torch.zeros(B, dtype=torch.float64)
    ours = ipo(with_reference(random_pairs, zeros, zeros), tau=BETA, length_mean=True)
    agree(ours.sum(), trl_cpo(trl, random_pairs, "ipo", per_token=True).sum(), random_pairs)


@pytest.mark.parametrize("loss_type", ["sigmoid", "simpo"])
def test_cpo_with_its_likelihood_term(trl, random_pairs, loss_type):
    """TRL adds cpo_alpha times a mean over tokens: with equal lengths the mean over responses."""
    pairs = PairLogps(*random_pairs.logps(), None, None, torch.full((B,), 9), torch.full((B,), 5))
    likelihood = -pairs.length_means()[0].mean()
    scores = pairs.length_means() if loss_type == "simpo" else pairs.logps()
    stand_in = SimpleNamespace(
        accelerator=accelerator(),
        aux_loss_enabled=False,
        cpo_alpha=0.6,
        concatenated_forward=lambda *_: (*scores, torch.zeros(1), torch.zeros(1), likelihood),
        cpo_loss=lambda *_: (trl_cpo(trl, pairs, loss_type, per_token=loss_type == "simpo", simpo_gamma=0.5), *scores),
    )
    theirs, _ = trl.CPO.get_batch_loss_metrics(stand_in, None, {})
    ours = {
        "sigmoid": partial(cpo, beta=BETA, lam=0.6, sft_length_mean=True),
        "simpo": partial(simpo, beta=BETA, gamma=0.5, sft_weight=0.6),
    }
    agree(ours[loss_type](pairs).mean(), theirs, pairs)


# ---------------------------------------------------------------- ORPOTrainer


def trl_orpo(trl, pairs, lam):
    """TRL's + lam log sigma(log-odds ratio), (B,)."""
    return trl.ORPO.odds_ratio_loss(SimpleNamespace(accelerator=accelerator(), beta=lam), *pairs.length_means())[0]


def to_float32(pairs):
    """The same pairs in float32, still recording gradients in their own log-probs."""
    logps = [logps.detach().float().requires_grad_() for logps in pairs.logps()]
    return PairLogps(*logps, None, None, pairs.chosen_length, pairs.rejected_length)


def test_orpo_odds_term(trl, random_pairs):
    """Theirs is in float32 always and has the opposite sign; ours without its likelihood term."""
    pairs = to_float32(random_pairs)
    ours = orpo(pairs, lam=0.25, likelihood=torch.zeros(B))
    theirs = trl_orpo(trl, pairs, 0.25)
    assert theirs.dtype == torch.float32
    torch.testing.assert_close(ours, -theirs, rtol=1e-6, atol=1e-7)
    agree(ours.sum(), -theirs.sum(), pairs, tolerance=1e-6)


def test_orpo_with_its_likelihood_term(trl, random_pairs):
    """TRL's likelihood is its own, over prompt and chosen response: it goes in from outside."""
    pairs = to_float32(random_pairs)
    likelihood = torch.tensor(1.7)
    stand_in = SimpleNamespace(
        accelerator=accelerator(),
        aux_loss_enabled=False,
        beta=0.25,
        concatenated_forward=lambda *_: (*pairs.length_means(), torch.zeros(1), torch.zeros(1), likelihood),
        odds_ratio_loss=lambda *logps: trl.ORPO.odds_ratio_loss(stand_in, *logps),
    )
    theirs, _ = trl.ORPO.get_batch_loss_metrics(stand_in, None, {})
    ours = orpo(pairs, lam=0.25, likelihood=likelihood.expand(B)).mean()
    agree(ours, theirs, pairs, tolerance=1e-6)


# ---------------------------------------------------------------- KTOTrainer


@pytest.mark.parametrize("shift", [6.0, -6.0], ids=["KL estimate positive", "KL estimate cut off at zero"])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.33, 0.7)], ids=str)
def test_kto(trl, random_pairs, shift, weights):
    """TRL takes single labeled responses and means over all of them: chosen and rejected, B each."""
    generator = torch.Generator().manual_seed(9)
    ref_mismatched = -40 + torch.randn(2 * B, generator=generator, dtype=torch.float64)
    mismatched = (
        ref_mismatched + shift + torch.randn(2 * B, generator=generator, dtype=torch.float64)
    ).requires_grad_()
    inputs, outputs = batch_of(random_pairs)
    inputs |= {
        "label": torch.arange(2 * B) < B,
        "ref_logps": torch.cat([random_pairs.ref_chosen_logps, random_pairs.ref_rejected_logps]),
        "ref_KL_logps": ref_mismatched,
    }
    stand_in = trainer(
        loss_type="kto",
        beta=BETA,
        desirable_weight=weights[0],
        undesirable_weight=weights[1],
        calculate_KL=True,
        _compute_kl_logps=lambda *_: mismatched,
    )
    compute_loss = trl.KTO._compute_loss  # noqa: SLF001, TRL has no public function of its loss
    theirs = compute_loss(stand_in, lambda **_: outputs, inputs, return_outputs=False)

    kl = kto_kl(mismatched, ref_mismatched)
    assert (kl > 0) == (shift > 0)
    assert stand_in._metrics["eval"]["kl"] == [pytest.approx(kl.item(), rel=1e-12)]  # noqa: SLF001, where it logs
    ours = kto(random_pairs, kl, beta=BETA, lam_w=weights[0], lam_l=weights[1]).mean()
    agree(ours, theirs, random_pairs)
    for loss in (ours, theirs):
        assert torch.autograd.grad(loss, mismatched, retain_graph=True, allow_unused=True)[0] is None

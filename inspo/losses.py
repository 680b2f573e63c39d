"""The nine preference losses: Table 1's five and Table 2's four baselines.

Every loss is a pure function of :class:`~inspo.pairs.PairLogps` and keyword hyperparameters and returns
one unreduced value per pair, (B,), in nats. It raises a ValueError where a hyperparameter is out of range
or the pairs lack what it reads: reference log-probs or lengths. None knows how the log-probs are
conditioned: give it plain ones for the original method, cross-conditioned ones for its INS variant.

Each loss below is its contrast, as in Table 1. What all of them take beside it, soft labels and a
likelihood term, is described once, in :func:`inspo.loss_options.compare`.

Notation in formulas: w the chosen and l the rejected response; ``log pi(y)`` a log-prob summed over
the response's tokens; ``|y|`` its length in tokens; ``rho(y) = log pi(y) - log pi_ref(y)``;
``sigma`` the logistic function.

Source: Table 1 of the paper (arXiv:2512.23126) for DPO, IPO, R-DPO, ORPO, SimPO; the originals named
in each docstring for the rest, in the form of Table 3 of the SimPO paper (arXiv:2405.14734).

>>> pairs = PairLogps(*torch.tensor([[-1.0], [-2.0], [-1.0], [-2.0]]))  # policy = reference: log 2
>>> dpo(pairs, beta=0.1)
tensor([0.6931])
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, Unpack

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from inspo.loss_options import (
    LabelOptions,
    LossOptions,
    check_non_negative,
    check_positive,
    check_shape,
    compare,
    takes,
)
from inspo.pairs import PairLogps


@takes(LossOptions)
def dpo(pairs: PairLogps, *, beta: float, **options: Unpack[LossOptions]) -> Tensor:
    """Direct Preference Optimization: ``- log sigma(beta [rho(w) - rho(l)])``. Eq. (3), (10).

    Args:
        pairs: with reference.
        beta: inverse temperature, > 0.
        options: as :func:`~inspo.loss_options.compare` describes.

    Source: Rafailov et al. 2023, Eq. 7; with `label_smoothing`, conservative DPO (Mitchell 2023). With
    policy = reference it is log 2.
    """
    check_positive(beta=beta)

    def contrast(pairs: PairLogps) -> Tensor:
        chosen, rejected = pairs.logratios()
        return -logsigmoid(beta * (chosen - rejected))

    return compare(contrast, pairs, **options)


@takes(LossOptions)
def ipo(pairs: PairLogps, *, tau: float, length_mean: bool = False, **options: Unpack[LossOptions]) -> Tensor:
    """Identity Preference Optimization: ``(rho(w) - rho(l) - 1 / (2 tau))^2``, in nats squared. Table 1.

    Args:
        pairs: with reference.
        tau: strength of the regularization, > 0.
        length_mean: divide each rho by its response's length first, as TRL does; the default sums, as Table 1
            and OpenRLHF do.
        options: as :func:`~inspo.loss_options.compare` describes.

    Source: Azar et al. 2024, Eq. 17. A label p moves the minimum to rho(w) - rho(l) = (2p - 1) / (2 tau). There
    is no beta: Appendix D.1 searches IPO over one that Table 1's loss does not have.
    """
    check_positive(tau=tau)

    def contrast(pairs: PairLogps) -> Tensor:
        chosen, rejected = pairs.logratios()
        if length_mean:
            chosen_length, rejected_length = pairs.lengths()
            chosen, rejected = chosen / chosen_length, rejected / rejected_length
        return (chosen - rejected - 1 / (2 * tau)).square()

    return compare(contrast, pairs, **options)


@takes(LossOptions)
def length_regularized_dpo(pairs: PairLogps, *, beta: float, alpha: float, **options: Unpack[LossOptions]) -> Tensor:
    """R-DPO: ``- log sigma(beta [rho(w) - rho(l)] + alpha (|w| - |l|))``. Table 1.

    Args:
        pairs: with reference and lengths.
        beta: inverse temperature, > 0.
        alpha: nats per token of length difference, >= 0: 0.1 times 100 tokens adds 10 to the logit.
        options: as :func:`~inspo.loss_options.compare` describes.

    Source: Park et al. 2024, Eq. 9. With alpha = 0, or equal lengths, it is DPO. Not the "robust DPO" that is
    elsewhere called rDPO.
    """
    check_positive(beta=beta)
    check_non_negative(alpha=alpha)

    def contrast(pairs: PairLogps) -> Tensor:
        chosen, rejected = pairs.logratios()
        chosen_length, rejected_length = pairs.lengths()
        return -logsigmoid(beta * (chosen - rejected) + alpha * (chosen_length - rejected_length))

    return compare(contrast, pairs, **options)


@takes(LabelOptions)
def orpo(pairs: PairLogps, *, lam: float, likelihood: Tensor | None = None, **options: Unpack[LabelOptions]) -> Tensor:
    """Odds-ratio preference optimization. Table 1.

    ``- log p(w) - lam log sigma(logit p(w) - logit p(l))`` with ``p(y) = exp(log pi(y) / |y|)``.
    Probabilities that round to one are taken as one minus the dtype's epsilon, so that the odds stay finite.

    Args:
        pairs: with lengths; no reference is used.
        lam: weight of the odds term, >= 0.
        likelihood: (B,) likelihood term in nats, to use instead of ``- log p(w)``. TRL's, for example, is the
            token mean over prompt and chosen response together.
        options: as :func:`~inspo.loss_options.compare` describes.

    Source: Hong et al. 2024, Eq. 6-7. With lam = 0 it is supervised fine-tuning on the chosen response.
    """
    check_non_negative(lam=lam)

    def contrast(pairs: PairLogps) -> Tensor:
        chosen, rejected = pairs.length_means()
        return -logsigmoid(_logit_of_exp(chosen) - _logit_of_exp(rejected))

    odds = compare(contrast, pairs, **options)
    if likelihood is None:
        likelihood = -pairs.length_means()[0]
    check_shape("likelihood", likelihood, pairs)
    return likelihood + lam * odds


@takes(LossOptions)
def simpo(
    pairs: PairLogps,
    *,
    beta: float,
    gamma: float | None = None,
    gamma_beta_ratio: float | None = None,
    flip: Literal["labels", "logit"] = "labels",
    **options: Unpack[LossOptions],
) -> Tensor:
    """SimPO: ``- log sigma(beta log pi(w) / |w| - beta log pi(l) / |l| - gamma)``. Table 1.

    Args:
        pairs: with lengths; no reference is used.
        beta: inverse temperature, > 0.
        gamma: target margin, >= 0, as Table 1 and TRL's `simpo_gamma` have it.
        gamma_beta_ratio: gamma / beta instead, as SimPO's published configurations give it. Exactly one of the
            two must be given.
        flip: what a flipped label does. ``labels`` exchanges the responses, so that the worse one must win by
            gamma: the expectation over labels. ``logit`` negates the whole logit, gamma included, as SimPO's
            release and TRL do.
        options: as :func:`~inspo.loss_options.compare` describes.

    Source: Meng et al. 2024, Eq. 6. With gamma = 0 and equal log-probs per token it is log 2.
    """
    check_positive(beta=beta)
    if (gamma is None) == (gamma_beta_ratio is None):
        raise ValueError("give exactly one of gamma and gamma_beta_ratio (= gamma / beta)")
    margin = gamma if gamma is not None else beta * (gamma_beta_ratio or 0.0)
    check_non_negative(gamma=margin)
    if flip not in ("labels", "logit"):
        raise ValueError(f"flip = {flip!r} must be 'labels' or 'logit'")

    def contrast(pairs: PairLogps, margin: float = margin) -> Tensor:
        chosen, rejected = pairs.length_means()
        return -logsigmoid(beta * (chosen - rejected) - margin)

    flipped = partial(contrast, margin=-margin) if flip == "logit" else contrast
    return compare(contrast, pairs, flipped=flipped, **options)


@takes(LabelOptions)
def rrhf(pairs: PairLogps, *, lam: float, sft_length_mean: bool = False, **options: Unpack[LabelOptions]) -> Tensor:
    """RRHF: ``max(0, log pi(l) / |l| - log pi(w) / |w|) - lam log pi(w)``.

    Args:
        pairs: with lengths; no reference is used.
        lam: weight of the likelihood term, >= 0.
        sft_length_mean: likelihood per token instead of summed.
        options: as :func:`~inspo.loss_options.compare` describes.

    Source: Yuan et al. 2023, Eq. 2-4, for two responses. With lam = 0 and the pair ranked right it is zero.
    """
    check_non_negative(lam=lam)

    def contrast(pairs: PairLogps) -> Tensor:
        chosen, rejected = pairs.length_means()
        return torch.relu(rejected - chosen)

    return compare(contrast, pairs, sft_weight=lam, sft_length_mean=sft_length_mean, **options)


@takes(LabelOptions)
def slic(
    pairs: PairLogps, *, delta: float, lam: float, sft_length_mean: bool = False, **options: Unpack[LabelOptions]
) -> Tensor:
    """SLiC-HF: ``max(0, delta - log pi(w) + log pi(l)) - lam log pi(w)``.

    Args:
        pairs: no reference is used, lengths only for `sft_length_mean`.
        delta: target margin in nats, >= 0.
        lam: weight of the likelihood term, >= 0.
        sft_length_mean: likelihood per token instead of summed.
        options: as :func:`~inspo.loss_options.compare` describes.

    Source: Zhao et al. 2023, Eq. 1, with the chosen response as the fine-tuning target. TRL's hinge
    ``max(0, 1 - beta m)`` is beta times this with delta = 1 / beta, lam = 0.
    """
    check_non_negative(delta=delta, lam=lam)

    def contrast(pairs: PairLogps) -> Tensor:
        chosen, rejected = pairs.logps()
        return torch.relu(delta - (chosen - rejected))

    return compare(contrast, pairs, sft_weight=lam, sft_length_mean=sft_length_mean, **options)


@takes(LabelOptions)
def cpo(
    pairs: PairLogps, *, beta: float, lam: float, sft_length_mean: bool = False, **options: Unpack[LabelOptions]
) -> Tensor:
    """Contrastive preference optimization: ``- log sigma(beta [log pi(w) - log pi(l)]) - lam log pi(w)``.

    Args:
        pairs: no reference is used, lengths only for `sft_length_mean`.
        beta: inverse temperature, > 0.
        lam: weight of the likelihood term, >= 0.
        sft_length_mean: likelihood per token, as TRL does, instead of summed.
        options: as :func:`~inspo.loss_options.compare` describes.

    Source: Xu et al. 2024, Eq. 3-5. With lam = 0 it is DPO with a uniform reference.
    """
    check_positive(beta=beta)
    check_non_negative(lam=lam)

    def contrast(pairs: PairLogps) -> Tensor:
        chosen, rejected = pairs.logps()
        return -logsigmoid(beta * (chosen - rejected))

    return compare(contrast, pairs, sft_weight=lam, sft_length_mean=sft_length_mean, **options)


@takes(LossOptions)
def kto(
    pairs: PairLogps,
    kl: Tensor | float,
    *,
    beta: float,
    lam_w: float = 1.0,
    lam_l: float = 1.0,
    halves: Literal["mean", "sum"] = "mean",
    **options: Unpack[LossOptions],
) -> Tensor:
    """Kahneman-Tversky optimization, its two judgments of a pair together.

    ``lam_w (1 - sigma(beta [rho(w) - kl]))`` for the chosen response and
    ``lam_l (1 - sigma(beta [kl - rho(l)]))`` for the rejected one.

    Args:
        pairs: with reference.
        kl: scalar or (B,), estimate of KL(pi || pi_ref) in nats (not times beta), held constant: no gradient
            flows into it. :func:`kto_kl` makes it from mismatched pairs.
        beta: inverse temperature, > 0.
        lam_w: weight of desirable responses, >= 0.
        lam_l: weight of undesirable responses, >= 0.
        halves: ``mean`` averages the two judgments, so that the mean over pairs is KTO's mean over single
            responses (TRL, HALOs); ``sum`` adds them, as SimPO's table writes the pair.
        options: as :func:`~inspo.loss_options.compare` describes.

    Source: Ethayarajh et al. 2024, Eq. 7. With policy = reference and kl = 0 each judgment is half its weight.
    """
    check_positive(beta=beta)
    check_non_negative(lam_w=lam_w, lam_l=lam_l)
    if halves not in ("mean", "sum"):
        raise ValueError(f"halves = {halves!r} must be 'mean' or 'sum'")
    check_shape("kl", kl, pairs)
    constant_kl = kl.detach() if isinstance(kl, Tensor) else kl
    scale = 0.5 if halves == "mean" else 1.0

    def contrast(pairs: PairLogps) -> Tensor:
        chosen, rejected = pairs.logratios()
        # 1 - sigma(z) is written sigma(-z), which keeps its precision where sigma(z) rounds to one.
        desirable = lam_w * torch.sigmoid(-beta * (chosen - constant_kl))
        undesirable = lam_l * torch.sigmoid(-beta * (constant_kl - rejected))
        return scale * (desirable + undesirable)

    return compare(contrast, pairs, **options)


def kto_kl(mismatched_logps: Tensor, ref_mismatched_logps: Tensor, *, clamp: bool = True) -> Tensor:
    """KTO's estimate of KL(pi || pi_ref) from responses paired with prompts they do not belong to.

    ``max(0, mean(log pi(y' | x) - log pi_ref(y' | x)))``, a scalar in nats without gradient.

    Args:
        mismatched_logps: (B,) log pi(y' | x) in nats, summed over tokens.
        ref_mismatched_logps: (B,) the same under the reference.
        clamp: cut off at zero from below, as KTO and TRL do.

    Raises:
        ValueError: shapes that differ or an empty batch.

    Source: Ethayarajh et al. 2024, Section 4.1.
    """
    if mismatched_logps.shape != ref_mismatched_logps.shape or mismatched_logps.numel() == 0:
        raise ValueError(
            "the KL estimate needs as many policy as reference log-probs and at least one, got shapes "
            f"{tuple(mismatched_logps.shape)} and {tuple(ref_mismatched_logps.shape)}"
        )
    estimate = (mismatched_logps - ref_mismatched_logps).mean().detach()
    return estimate.clamp(min=0) if clamp else estimate


def _logit_of_exp(logp: Tensor) -> Tensor:
    """log(p / (1 - p)) of p = exp(logp), for logp <= 0, accurate at both ends."""
    logp = logp.clamp(max=-torch.finfo(logp.dtype).eps)
    near_one = logp > -math.log(2)
    # Each branch gets inputs that are harmless where the other one is taken, so that no NaN
    # reaches the gradient through the branch not taken.
    small = torch.where(near_one, logp, -1.0)
    large = torch.where(near_one, -1.0, logp)
    log_one_minus_p = torch.where(near_one, torch.log(-torch.expm1(small)), torch.log1p(-torch.exp(large)))
    return logp - log_one_minus_p


@dataclass(frozen=True)
class Method:
    """A method by its configuration name: its loss and what that loss reads.

    Attributes:
        loss: (PairLogps, hyperparameters) -> (B,).
        score: the per-response quantity that the loss compares, (chosen, rejected), in nats; its
            difference is the margin, its sign the accuracy.
        defaults: the hyperparameters that the loss must have, where none are given: a value of D.1's or
            D.3's grids, and for RRHF and KTO of the grids of SimPO's paper.
        needs_reference: whether reference log-probs are read.
        needs_length: whether lengths are read, at default options.
        needs_kl: whether the loss takes an estimate of KL(pi || pi_ref) as its `kl`.
    """

    loss: Callable[..., Tensor]
    score: Callable[[PairLogps], tuple[Tensor, Tensor]]
    defaults: Mapping[str, float]
    needs_reference: bool = False
    needs_length: bool = False
    needs_kl: bool = False

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Every keyword of the loss but what a batch brings: the KL estimate, soft labels, another likelihood."""
        names = inspect.signature(self.loss).parameters
        return tuple(name for name in names if name not in ("pairs", "kl", "preference", "likelihood"))


METHODS: dict[str, Method] = {
    "dpo": Method(dpo, PairLogps.logratios, {"beta": 0.1}, needs_reference=True),
    "ipo": Method(ipo, PairLogps.logratios, {"tau": 0.1}, needs_reference=True),
    "r-dpo": Method(
        length_regularized_dpo,
        PairLogps.logratios,
        {"beta": 0.1, "alpha": 0.1},
        needs_reference=True,
        needs_length=True,
    ),
    "orpo": Method(orpo, PairLogps.length_means, {"lam": 0.5}, needs_length=True),
    "simpo": Method(simpo, PairLogps.length_means, {"beta": 2.0, "gamma": 1.0}, needs_length=True),
    "rrhf": Method(rrhf, PairLogps.length_means, {"lam": 1.0}, needs_length=True),
    "slic": Method(slic, PairLogps.logps, {"delta": 1.0, "lam": 0.1}),
    "cpo": Method(cpo, PairLogps.logps, {"beta": 0.1, "lam": 1.0}),
    "kto": Method(kto, PairLogps.logratios, {"beta": 0.1}, needs_reference=True, needs_kl=True),
}
"""Every method by the name that configurations use."""

"""The nine preference losses: Table 1's five and Table 2's four baselines.

Every loss is a pure function of :class:`~inspo.pairs.PairLogps` and keyword hyperparameters and
returns one unreduced value per pair, in nats. None knows how the log-probs are conditioned: give it
plain ones for the original method, cross-conditioned ones for its INS variant.

Notation in formulas: w the chosen and l the rejected response; ``log pi(y)`` a log-prob summed over
the response's tokens; ``|y|`` its length in tokens; ``rho(y) = log pi(y) - log pi_ref(y)``;
``sigma`` the logistic function.

**Soft labels.** Every loss has a part f(w, l) that contrasts the two responses. `preference` (the
probability p that the response called chosen really is the better one) and `label_smoothing`
(epsilon, the probability that a label was flipped) turn f into its expectation over the label,

    q f(w, l) + (1 - q) f(l, w)      with  q = (1 - epsilon) p + epsilon (1 - p).

They act on the contrast only, never on a likelihood term. With q = 1/2 no loss prefers a response.

**Likelihood term.** RRHF, SLiC-HF and CPO have a term ``- lam log pi(w)`` of their own. The others
take `sft_weight`, which adds ``- sft_weight log pi(w)``. `sft_length_mean` divides it by ``|w|``
(the mean over tokens that TRL and RPO use) instead of summing over tokens. It is the likelihood
under the same context as the loss: under cross-conditioning, log pi(w | x, l). ORPO has its own.

Source: Table 1 of the paper (arXiv:2512.23126) for DPO, IPO, R-DPO, ORPO, SimPO; the originals named
in each docstring for the rest, in the form of Table 3 of the SimPO paper (arXiv:2405.14734).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from inspo.pairs import PairLogps


def dpo(
    pairs: PairLogps,
    *,
    beta: float,
    label_smoothing: float = 0.0,
    preference: Tensor | float = 1.0,
    sft_weight: float = 0.0,
    sft_length_mean: bool = True,
) -> Tensor:
    """Direct Preference Optimization: ``- log sigma(beta [rho(w) - rho(l)])``. Eq. (3), (10).

    Args:
        pairs: log-probs in nats, summed over tokens, with reference.
        beta: inverse temperature, > 0.
        label_smoothing: epsilon in [0, 1/2]; see the module.
        preference: float or (B,), p in [0, 1]; see the module.
        sft_weight: weight of the likelihood term, >= 0.
        sft_length_mean: likelihood per token (needs lengths) instead of summed.

    Returns:
        (B,), nats.

    Raises:
        ValueError: a hyperparameter out of range, or reference log-probs missing.

    Source: Rafailov et al. 2023, Eq. 7; with `label_smoothing`, conservative DPO (Mitchell 2023).
    With policy = reference the loss is log 2.

    >>> dpo(PairLogps(*torch.tensor([[-1.0], [-2.0], [-1.0], [-2.0]])), beta=0.1)
    tensor([0.6931])
    """
    _positive(beta=beta)

    def contrast(pairs: PairLogps) -> Tensor:
        chosen, rejected = pairs.logratios()
        return -logsigmoid(beta * (chosen - rejected))

    loss = _expected_over_labels(contrast, pairs, label_smoothing, preference)
    return _add_likelihood(loss, pairs, sft_weight, length_mean=sft_length_mean)


def ipo(
    pairs: PairLogps,
    *,
    tau: float,
    length_mean: bool = False,
    label_smoothing: float = 0.0,
    preference: Tensor | float = 1.0,
    sft_weight: float = 0.0,
    sft_length_mean: bool = True,
) -> Tensor:
    """Identity Preference Optimization: ``(rho(w) - rho(l) - 1 / (2 tau))^2``. Table 1.

    There is no beta: Appendix D.1 searches IPO over one that Table 1's loss does not have.

    Args:
        pairs: log-probs in nats, summed over tokens, with reference.
        tau: strength of the regularization, > 0.
        length_mean: divide each rho by its response's length first, as TRL does; the default sums,
            as Table 1 and OpenRLHF do.
        label_smoothing: epsilon in [0, 1/2]; see the module.
        preference: float or (B,), p in [0, 1]; see the module.
        sft_weight: weight of the likelihood term, >= 0.
        sft_length_mean: likelihood per token (needs lengths) instead of summed.

    Returns:
        (B,), nats squared (the likelihood term in nats).

    Raises:
        ValueError: a hyperparameter out of range, reference log-probs missing, or lengths missing.

    Source: Azar et al. 2024, Eq. 17. A label p moves the minimum to rho(w) - rho(l) = (2p - 1) / (2 tau).
    """
    _positive(tau=tau)

    def contrast(pairs: PairLogps) -> Tensor:
        chosen, rejected = pairs.logratios()
        if length_mean:
            chosen_length, rejected_length = pairs.lengths()
            chosen, rejected = chosen / chosen_length, rejected / rejected_length
        return (chosen - rejected - 1 / (2 * tau)).square()

    loss = _expected_over_labels(contrast, pairs, label_smoothing, preference)
    return _add_likelihood(loss, pairs, sft_weight, length_mean=sft_length_mean)


def length_regularized_dpo(
    pairs: PairLogps,
    *,
    beta: float,
    alpha: float,
    label_smoothing: float = 0.0,
    preference: Tensor | float = 1.0,
    sft_weight: float = 0.0,
    sft_length_mean: bool = True,
) -> Tensor:
    """R-DPO: ``- log sigma(beta [rho(w) - rho(l)] + alpha (|w| - |l|))``. Table 1.

    Args:
        pairs: log-probs in nats, summed over tokens, with reference and lengths.
        beta: inverse temperature, > 0.
        alpha: nats per token of length difference, >= 0. It multiplies a difference in tokens: 0.1
            times 100 tokens adds 10 to the logit.
        label_smoothing: epsilon in [0, 1/2]; see the module.
        preference: float or (B,), p in [0, 1]; see the module.
        sft_weight: weight of the likelihood term, >= 0.
        sft_length_mean: likelihood per token instead of summed.

    Returns:
        (B,), nats.

    Raises:
        ValueError: a hyperparameter out of range, or reference log-probs or lengths missing.

    Source: Park et al. 2024, Eq. 9. alpha = 0, or equal lengths, is DPO. Not the "robust DPO" that
    is elsewhere called rDPO.
    """
    _positive(beta=beta)
    _non_negative(alpha=alpha)

    def contrast(pairs: PairLogps) -> Tensor:
        chosen, rejected = pairs.logratios()
        chosen_length, rejected_length = pairs.lengths()
        return -logsigmoid(beta * (chosen - rejected) + alpha * (chosen_length - rejected_length))

    loss = _expected_over_labels(contrast, pairs, label_smoothing, preference)
    return _add_likelihood(loss, pairs, sft_weight, length_mean=sft_length_mean)


def orpo(
    pairs: PairLogps,
    *,
    lam: float,
    likelihood: Tensor | None = None,
    label_smoothing: float = 0.0,
    preference: Tensor | float = 1.0,
) -> Tensor:
    """Odds-ratio preference optimization. Table 1.

    ``- log p(w) - lam log sigma(logit p(w) - logit p(l))`` with ``p(y) = exp(log pi(y) / |y|)``.

    Args:
        pairs: log-probs in nats, summed over tokens, with lengths; no reference is used.
        lam: weight of the odds term, >= 0.
        likelihood: (B,) likelihood term in nats, to use instead of ``- log p(w)``. TRL's, for
            example, is the token mean over prompt and chosen response together.
        label_smoothing: epsilon in [0, 1/2], on the odds term; see the module.
        preference: float or (B,), p in [0, 1], on the odds term; see the module.

    Returns:
        (B,), nats.

    Raises:
        ValueError: a hyperparameter out of range, or lengths missing.

    Source: Hong et al. 2024, Eq. 6-7. lam = 0 is supervised fine-tuning on the chosen response.
    Probabilities that round to one are taken as one minus the dtype's epsilon, so that the odds stay
    finite.
    """
    _non_negative(lam=lam)

    def contrast(pairs: PairLogps) -> Tensor:
        chosen, rejected = pairs.length_means()
        return -logsigmoid(_logit_of_exp(chosen) - _logit_of_exp(rejected))

    odds = _expected_over_labels(contrast, pairs, label_smoothing, preference)
    if likelihood is None:
        likelihood = -pairs.length_means()[0]
    _fits("likelihood", likelihood, pairs)
    return likelihood + lam * odds


def simpo(
    pairs: PairLogps,
    *,
    beta: float,
    gamma: float | None = None,
    gamma_beta_ratio: float | None = None,
    label_smoothing: float = 0.0,
    preference: Tensor | float = 1.0,
    flip: Literal["labels", "logit"] = "labels",
    sft_weight: float = 0.0,
    sft_length_mean: bool = True,
) -> Tensor:
    """SimPO: ``- log sigma(beta log pi(w) / |w| - beta log pi(l) / |l| - gamma)``. Table 1.

    Args:
        pairs: log-probs in nats, summed over tokens, with lengths; no reference is used.
        beta: inverse temperature, > 0.
        gamma: target margin, >= 0, as Table 1 and TRL's `simpo_gamma` have it.
        gamma_beta_ratio: gamma / beta instead, as SimPO's published configurations give it. Exactly
            one of the two must be given.
        label_smoothing: epsilon in [0, 1/2]; see the module.
        preference: float or (B,), p in [0, 1]; see the module.
        flip: what a flipped label does. ``labels`` exchanges the responses, so that the worse one
            must win by gamma: the expectation over labels. ``logit`` negates the whole logit, gamma
            included, as SimPO's release and TRL do.
        sft_weight: weight of the likelihood term, >= 0.
        sft_length_mean: likelihood per token instead of summed.

    Returns:
        (B,), nats.

    Raises:
        ValueError: a hyperparameter out of range, both or neither of gamma and gamma_beta_ratio, or
            lengths missing.

    Source: Meng et al. 2024, Eq. 6. With gamma = 0 and equal log-probs per token it is log 2.
    """
    _positive(beta=beta)
    if (gamma is None) == (gamma_beta_ratio is None):
        raise ValueError("give exactly one of gamma and gamma_beta_ratio (= gamma / beta)")
    margin = gamma if gamma is not None else beta * (gamma_beta_ratio or 0.0)
    _non_negative(gamma=margin)
    if flip not in ("labels", "logit"):
        raise ValueError(f"flip = {flip!r} must be 'labels' or 'logit'")

    def logit(pairs: PairLogps) -> Tensor:
        chosen, rejected = pairs.length_means()
        return beta * (chosen - rejected) - margin

    def contrast(pairs: PairLogps) -> Tensor:
        return -logsigmoid(logit(pairs))

    def negated(swapped: PairLogps) -> Tensor:
        return -logsigmoid(-logit(swapped.swapped()))

    flipped = negated if flip == "logit" else contrast
    loss = _expected_over_labels(contrast, pairs, label_smoothing, preference, flipped)
    return _add_likelihood(loss, pairs, sft_weight, length_mean=sft_length_mean)


def rrhf(
    pairs: PairLogps,
    *,
    lam: float,
    sft_length_mean: bool = False,
    label_smoothing: float = 0.0,
    preference: Tensor | float = 1.0,
) -> Tensor:
    """RRHF: ``max(0, log pi(l) / |l| - log pi(w) / |w|) - lam log pi(w)``.

    Args:
        pairs: log-probs in nats, summed over tokens, with lengths; no reference is used.
        lam: weight of the likelihood term, >= 0.
        sft_length_mean: likelihood per token instead of summed.
        label_smoothing: epsilon in [0, 1/2], on the hinge; see the module.
        preference: float or (B,), p in [0, 1], on the hinge; see the module.

    Returns:
        (B,), nats.

    Raises:
        ValueError: a hyperparameter out of range, or lengths missing.

    Source: Yuan et al. 2023, Eq. 2-4, for two responses. lam = 0 with the pair ranked right is zero.
    """
    _non_negative(lam=lam)

    def contrast(pairs: PairLogps) -> Tensor:
        chosen, rejected = pairs.length_means()
        return torch.relu(rejected - chosen)

    loss = _expected_over_labels(contrast, pairs, label_smoothing, preference)
    return _add_likelihood(loss, pairs, lam, length_mean=sft_length_mean)


def slic(
    pairs: PairLogps,
    *,
    delta: float,
    lam: float,
    sft_length_mean: bool = False,
    label_smoothing: float = 0.0,
    preference: Tensor | float = 1.0,
) -> Tensor:
    """SLiC-HF: ``max(0, delta - log pi(w) + log pi(l)) - lam log pi(w)``.

    Args:
        pairs: log-probs in nats, summed over tokens (lengths only for `sft_length_mean`).
        delta: target margin in nats, >= 0.
        lam: weight of the likelihood term, >= 0.
        sft_length_mean: likelihood per token instead of summed.
        label_smoothing: epsilon in [0, 1/2], on the hinge; see the module.
        preference: float or (B,), p in [0, 1], on the hinge; see the module.

    Returns:
        (B,), nats.

    Raises:
        ValueError: a hyperparameter out of range, or lengths missing.

    Source: Zhao et al. 2023, Eq. 1, with the chosen response as the fine-tuning target. TRL's hinge
    ``max(0, 1 - beta m)`` is beta times this with delta = 1 / beta, lam = 0.
    """
    _non_negative(delta=delta, lam=lam)

    def contrast(pairs: PairLogps) -> Tensor:
        chosen, rejected = pairs.logps()
        return torch.relu(delta - (chosen - rejected))

    loss = _expected_over_labels(contrast, pairs, label_smoothing, preference)
    return _add_likelihood(loss, pairs, lam, length_mean=sft_length_mean)


def cpo(
    pairs: PairLogps,
    *,
    beta: float,
    lam: float,
    sft_length_mean: bool = False,
    label_smoothing: float = 0.0,
    preference: Tensor | float = 1.0,
) -> Tensor:
    """Contrastive preference optimization: ``- log sigma(beta [log pi(w) - log pi(l)]) - lam log pi(w)``.

    Args:
        pairs: log-probs in nats, summed over tokens (lengths only for `sft_length_mean`).
        beta: inverse temperature, > 0.
        lam: weight of the likelihood term, >= 0.
        sft_length_mean: likelihood per token, as TRL does, instead of summed.
        label_smoothing: epsilon in [0, 1/2], on the first term; see the module.
        preference: float or (B,), p in [0, 1], on the first term; see the module.

    Returns:
        (B,), nats.

    Raises:
        ValueError: a hyperparameter out of range, or lengths missing.

    Source: Xu et al. 2024, Eq. 3-5. lam = 0 is DPO with a uniform reference.
    """
    _positive(beta=beta)
    _non_negative(lam=lam)

    def contrast(pairs: PairLogps) -> Tensor:
        chosen, rejected = pairs.logps()
        return -logsigmoid(beta * (chosen - rejected))

    loss = _expected_over_labels(contrast, pairs, label_smoothing, preference)
    return _add_likelihood(loss, pairs, lam, length_mean=sft_length_mean)


def kto(
    pairs: PairLogps,
    kl: Tensor | float,
    *,
    beta: float,
    lam_w: float = 1.0,
    lam_l: float = 1.0,
    halves: Literal["mean", "sum"] = "mean",
    label_smoothing: float = 0.0,
    preference: Tensor | float = 1.0,
    sft_weight: float = 0.0,
    sft_length_mean: bool = True,
) -> Tensor:
    """Kahneman-Tversky optimization, its two judgments of a pair together.

    ``lam_w (1 - sigma(beta [rho(w) - kl]))`` for the chosen response and
    ``lam_l (1 - sigma(beta [kl - rho(l)]))`` for the rejected one.

    Args:
        pairs: log-probs in nats, summed over tokens, with reference.
        kl: scalar or (B,), estimate of KL(pi || pi_ref) in nats (not times beta), held constant: no
            gradient flows into it. :func:`kto_kl` makes it from mismatched pairs.
        beta: inverse temperature, > 0.
        lam_w: weight of desirable responses, >= 0.
        lam_l: weight of undesirable responses, >= 0.
        halves: ``mean`` averages the two judgments, so that the mean over pairs is KTO's mean over
            single responses (TRL, HALOs); ``sum`` adds them, as SimPO's table writes the pair.
        label_smoothing: epsilon in [0, 1/2]; see the module.
        preference: float or (B,), p in [0, 1]; see the module.
        sft_weight: weight of the likelihood term, >= 0.
        sft_length_mean: likelihood per token (needs lengths) instead of summed.

    Returns:
        (B,), between 0 and lam_w + lam_l (half of it for ``mean``), without the likelihood term.

    Raises:
        ValueError: a hyperparameter out of range, or reference log-probs missing.

    Source: Ethayarajh et al. 2024, Eq. 7. With policy = reference and kl = 0 each judgment is half
    its weight.
    """
    _positive(beta=beta)
    _non_negative(lam_w=lam_w, lam_l=lam_l)
    if halves not in ("mean", "sum"):
        raise ValueError(f"halves = {halves!r} must be 'mean' or 'sum'")
    _fits("kl", kl, pairs)
    constant_kl = kl.detach() if isinstance(kl, Tensor) else kl
    scale = 0.5 if halves == "mean" else 1.0

    def contrast(pairs: PairLogps) -> Tensor:
        chosen, rejected = pairs.logratios()
        # 1 - sigma(z) is written sigma(-z), which keeps its precision where sigma(z) rounds to one.
        desirable = lam_w * torch.sigmoid(-beta * (chosen - constant_kl))
        undesirable = lam_l * torch.sigmoid(-beta * (constant_kl - rejected))
        return scale * (desirable + undesirable)

    loss = _expected_over_labels(contrast, pairs, label_smoothing, preference)
    return _add_likelihood(loss, pairs, sft_weight, length_mean=sft_length_mean)


def kto_kl(mismatched_logps: Tensor, ref_mismatched_logps: Tensor, *, clamp: bool = True) -> Tensor:
    """KTO's estimate of KL(pi || pi_ref) from responses paired with prompts they do not belong to.

    ``max(0, mean(log pi(y' | x) - log pi_ref(y' | x)))``, without gradient.

    Args:
        mismatched_logps: (B,) log pi(y' | x) in nats, summed over tokens.
        ref_mismatched_logps: (B,) the same under the reference.
        clamp: cut off at zero from below, as KTO and TRL do.

    Returns:
        Scalar, nats.

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


@dataclass(frozen=True)
class Method:
    """A method by its configuration name: its loss and what that loss reads.

    Attributes:
        loss: (PairLogps, hyperparameters) -> (B,).
        score: the per-response quantity that the loss compares, (chosen, rejected), in nats; its
            difference is the margin, its sign the accuracy.
        needs_reference: whether reference log-probs are read.
        needs_length: whether lengths are read, at default options.
        defaults: the hyperparameters that the loss must have, where none are given: a value of D.1's or
            D.3's grids, and for RRHF and KTO of the grids of SimPO's paper.
        needs_kl: whether the loss takes an estimate of KL(pi || pi_ref) as its `kl`.
    """

    loss: Callable[..., Tensor]
    score: Callable[[PairLogps], tuple[Tensor, Tensor]]
    needs_reference: bool
    needs_length: bool
    defaults: Mapping[str, float]
    needs_kl: bool = False

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Every keyword of the loss but what a batch brings: the KL estimate, soft labels, another likelihood."""
        names = inspect.signature(self.loss).parameters
        return tuple(name for name in names if name not in ("pairs", "kl", "preference", "likelihood"))


def _method(
    loss: Callable[..., Tensor],
    score: Callable[[PairLogps], tuple[Tensor, Tensor]],
    *reads: Literal["reference", "length", "kl"],
    **defaults: float,
) -> Method:
    return Method(loss, score, "reference" in reads, "length" in reads, defaults, "kl" in reads)


METHODS: dict[str, Method] = {
    "dpo": _method(dpo, PairLogps.logratios, "reference", beta=0.1),
    "ipo": _method(ipo, PairLogps.logratios, "reference", tau=0.1),
    "r-dpo": _method(length_regularized_dpo, PairLogps.logratios, "reference", "length", beta=0.1, alpha=0.1),
    "orpo": _method(orpo, PairLogps.length_means, "length", lam=0.5),
    "simpo": _method(simpo, PairLogps.length_means, "length", beta=2.0, gamma=1.0),
    "rrhf": _method(rrhf, PairLogps.length_means, "length", lam=1.0),
    "slic": _method(slic, PairLogps.logps, delta=1.0, lam=0.1),
    "cpo": _method(cpo, PairLogps.logps, beta=0.1, lam=1.0),
    "kto": _method(kto, PairLogps.logratios, "reference", "kl", beta=0.1),
}
"""Every method by the name that configurations use."""


def _expected_over_labels(
    contrast: Callable[[PairLogps], Tensor],
    pairs: PairLogps,
    label_smoothing: float,
    preference: Tensor | float,
    flipped: Callable[[PairLogps], Tensor] | None = None,
) -> Tensor:
    """Return q contrast(pairs) + (1 - q) flipped(swapped pairs); see the module."""
    if not 0 <= label_smoothing <= 0.5:
        raise ValueError(f"label_smoothing = {label_smoothing} must be in [0, 1/2]")
    p = torch.as_tensor(preference, dtype=pairs.chosen_logps.dtype, device=pairs.chosen_logps.device)
    if p.ndim and p.shape != pairs.chosen_logps.shape:
        raise ValueError(
            f"preference has shape {tuple(p.shape)}, but there are {tuple(pairs.chosen_logps.shape)} pairs"
        )
    if not bool(((p >= 0) & (p <= 1)).all()):
        raise ValueError("preference must be a probability in [0, 1]")
    if label_smoothing == 0 and not isinstance(preference, Tensor) and preference == 1:
        return contrast(pairs)
    q = (1 - label_smoothing) * p + label_smoothing * (1 - p)
    return q * contrast(pairs) + (1 - q) * (flipped or contrast)(pairs.swapped())


def _add_likelihood(loss: Tensor, pairs: PairLogps, weight: float, *, length_mean: bool) -> Tensor:
    """Return loss - weight log pi(w), per token if length_mean."""
    if weight == 0:
        return loss
    _non_negative(sft_weight=weight)
    chosen, _ = pairs.length_means() if length_mean else pairs.logps()
    return loss - weight * chosen


def _fits(name: str, value: Tensor | float, pairs: PairLogps) -> None:
    """Refuse a tensor that would broadcast the pairs to another shape."""
    shape = pairs.chosen_logps.shape
    if isinstance(value, Tensor) and value.ndim and value.shape != shape:
        raise ValueError(f"{name} has shape {tuple(value.shape)}, but there are {tuple(shape)} pairs")


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


def _positive(**hyperparameters: float | Tensor) -> None:
    for name, value in hyperparameters.items():
        if not (_all(value > 0) and _all(value < math.inf)):
            raise ValueError(f"{name} = {value} must be a finite number > 0")


def _non_negative(**hyperparameters: float | Tensor) -> None:
    for name, value in hyperparameters.items():
        if not (_all(value >= 0) and _all(value < math.inf)):
            raise ValueError(f"{name} = {value} must be a finite number >= 0")


def _all(condition: bool | Tensor) -> bool:  # noqa: FBT001  # a condition, not an option
    return bool(condition.all()) if isinstance(condition, Tensor) else condition

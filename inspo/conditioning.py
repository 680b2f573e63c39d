"""Which (target, context) log-probs each objective needs, and how they become pairs for a loss.

Section 5.3 of the paper compares the first four objectives; the last is ours. Each is one of the losses of
:mod:`inspo.losses`, applied to log-probs under other contexts:

==============  ====================================  ===================================
conditioning    chosen                                rejected
==============  ====================================  ===================================
``none``        log pi(y_w | x)                       log pi(y_l | x)
``one_sided``   log pi(y_w | x, y_l)                  log pi(y_l | x, y_l)
``symmetric``   log pi(y_w | x, y_l)                  log pi(y_l | x, y_w)
``averaged``    one half of ``none``, one half of ``symmetric``
``anchored``    log pi(y_w | x, y_l)                  log pi(y_l | x, y_l), one half
                log pi(y_w | x, y_w)                  log pi(y_l | x, y_w), one half
==============  ====================================  ===================================

The anchored objective compares both responses under each of the two as context. With DPO's loss its margin
``m(i | j) = beta [log pi(i | j) / mu_i - log pi(j | j) / mu_j]`` is read twice, as ``- log sigma(m(w | l))`` and
``- log sigma(- m(l | w))``, and over all preference data it has one minimizer, mu_i P_ij / P_ji to the power of
1 / beta, where ``symmetric`` has a valley of them (``theory/VERDICTS.md``, thm-4.1-eq-9).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from torch import Tensor

from inspo.pairs import PairLogps


class Role(Enum):
    """One of a pair's two responses."""

    CHOSEN = "chosen"
    REJECTED = "rejected"


class LogpRequest(NamedTuple):
    """One log-prob: of `target` given the prompt and, unless it is None, the response `context`."""

    target: Role
    context: Role | None = None


class Contrast(NamedTuple):
    """One weighted part of an objective: the loss of this chosen against this rejected log-prob."""

    weight: float
    chosen: LogpRequest
    rejected: LogpRequest


class ReferenceContext(Enum):
    """What the reference log-probs are conditioned on.

    ``PLAIN`` is pi_ref(y | x), as Eq. (9), (10) and Table 1 say. ``CONDITIONED`` gives the reference
    the policy's own context, pi_ref(y | x, y'), as the authors' released code does.
    """

    PLAIN = "plain"
    CONDITIONED = "conditioned"


_PLAIN = Contrast(1.0, LogpRequest(Role.CHOSEN), LogpRequest(Role.REJECTED))
_CROSS = Contrast(1.0, LogpRequest(Role.CHOSEN, Role.REJECTED), LogpRequest(Role.REJECTED, Role.CHOSEN))
_ONE_SIDED = Contrast(1.0, LogpRequest(Role.CHOSEN, Role.REJECTED), LogpRequest(Role.REJECTED, Role.REJECTED))
_OTHER_SIDE = Contrast(1.0, LogpRequest(Role.CHOSEN, Role.CHOSEN), LogpRequest(Role.REJECTED, Role.CHOSEN))


class Conditioning(Enum):
    """The four conditioning strategies of Section 5.3, and the anchored one; the values are the configuration names."""

    NONE = "none"
    ONE_SIDED = "one_sided"
    SYMMETRIC = "symmetric"
    AVERAGED = "averaged"
    ANCHORED = "anchored"

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        """The weighted parts of the objective; the weights sum to one."""
        return _CONTRASTS[self]

    def requests(self) -> tuple[LogpRequest, ...]:
        """Every policy log-prob that the objective needs, each once."""
        return tuple(
            dict.fromkeys(request for contrast in self.contrasts for request in (contrast.chosen, contrast.rejected))
        )

    def reference_requests(self, reference: ReferenceContext = ReferenceContext.PLAIN) -> tuple[LogpRequest, ...]:
        """Every reference log-prob that the objective needs, each once."""
        return tuple(dict.fromkeys(_reference_request(request, reference) for request in self.requests()))

    def terms(
        self,
        policy_logps: Mapping[LogpRequest, Tensor],
        reference_logps: Mapping[LogpRequest, Tensor] | None = None,
        *,
        reference: ReferenceContext = ReferenceContext.PLAIN,
        chosen_length: Tensor | None = None,
        rejected_length: Tensor | None = None,
    ) -> list[tuple[float, PairLogps]]:
        """Assemble what the loss needs.

        Args:
            policy_logps: for each of :meth:`requests`, (B,) log-probs in nats, summed over tokens.
            reference_logps: for each of :meth:`reference_requests`, the same under the reference
                policy; None for reference-free losses.
            reference: whether the reference sees the policy's context.
            chosen_length: (B,) tokens, or None.
            rejected_length: (B,) tokens, or None.

        Returns:
            (weight, pairs) for each contrast; the objective is the weighted sum of their losses.

        Raises:
            KeyError: a log-prob that the objective needs is missing.
        """
        return [
            (
                contrast.weight,
                PairLogps(
                    policy_logps[contrast.chosen],
                    policy_logps[contrast.rejected],
                    None
                    if reference_logps is None
                    else reference_logps[_reference_request(contrast.chosen, reference)],
                    None
                    if reference_logps is None
                    else reference_logps[_reference_request(contrast.rejected, reference)],
                    chosen_length,
                    rejected_length,
                ),
            )
            for contrast in self.contrasts
        ]


_CONTRASTS: dict[Conditioning, tuple[Contrast, ...]] = {
    Conditioning.NONE: (_PLAIN,),
    Conditioning.ONE_SIDED: (_ONE_SIDED,),
    Conditioning.SYMMETRIC: (_CROSS,),
    Conditioning.AVERAGED: (_PLAIN._replace(weight=0.5), _CROSS._replace(weight=0.5)),
    Conditioning.ANCHORED: (_ONE_SIDED._replace(weight=0.5), _OTHER_SIDE._replace(weight=0.5)),
}


def _reference_request(request: LogpRequest, reference: ReferenceContext) -> LogpRequest:
    return request if reference is ReferenceContext.CONDITIONED else LogpRequest(request.target)


def conditioned_loss(loss: Callable[[PairLogps], Tensor], terms: Iterable[tuple[float, PairLogps]]) -> Tensor:
    """The weighted sum of a loss over an objective's terms.

    Args:
        loss: a loss of :mod:`inspo.losses` with its hyperparameters bound, PairLogps -> (B,).
        terms: what :meth:`Conditioning.terms` returns.

    Returns:
        (B,), unreduced.

    Raises:
        ValueError: no terms.
    """
    losses = [weight * loss(pairs) for weight, pairs in terms]
    if not losses:
        raise ValueError("an objective needs at least one term")
    total = losses[0]
    for part in losses[1:]:
        total = total + part
    return total

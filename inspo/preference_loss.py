"""The one object that toy, trainer, benchmarks and loops of your own call: a method under a conditioning.

    loss = PreferenceLoss("dpo", Conditioning.SYMMETRIC, {"beta": 0.1})         # INS-DPO, Eq. (10)
    policy = {request: ... for request in loss.requests()}                      # log-probs by your model
    reference = {request: ... for request in loss.reference_requests()}
    losses = loss(policy, reference)                                            # (B,), unreduced

It says which log-probs it needs and compares them. It does not know where they come from: a look-up in
a table, separate sequences, or one pass over a prefix tree (:mod:`inspo.hf`).

Shapes: B pairs, or any common shape of pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor

from inspo.conditioning import Conditioning, LogpRequest, ReferenceContext, conditioned_loss
from inspo.losses import METHODS, Method
from inspo.metrics import weighted_scores
from inspo.pairs import PairLogps

RequestLogps = Mapping[LogpRequest, Tensor]
"""For each request (B,) log-probs in nats, summed over the target's tokens."""

Terms = list[tuple[float, PairLogps]]
"""An objective's parts: (weight, pairs); the weights sum to one."""


@dataclass(frozen=True)
class PreferenceLoss:
    """A method x conditioning with its hyperparameters.

    Attributes:
        method: a name of :data:`inspo.losses.METHODS`.
        conditioning: which log-probs are compared, Section 5.3.
        hyperparameters: the loss's keyword arguments; those it must have and that are not given are at
            ``METHODS[method].defaults``. A tensor holds one value per pair.
        reference_context: whether the reference sees the policy's context.

    Raises:
        ValueError: an unknown method, or a hyperparameter that it does not take.

    >>> loss = PreferenceLoss("dpo", Conditioning.SYMMETRIC)
    >>> loss.hyperparameters
    {'beta': 0.1}
    >>> [(str(request.target.value), request.context.value) for request in loss.requests()]
    [('chosen', 'rejected'), ('rejected', 'chosen')]
    """

    method: str
    conditioning: Conditioning = Conditioning.NONE
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    reference_context: ReferenceContext = ReferenceContext.PLAIN

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method = {self.method!r} must be one of {', '.join(METHODS)}")
        takes = METHODS[self.method].hyperparameters
        for name in self.hyperparameters:
            if name not in takes:
                raise ValueError(f"{name} is no hyperparameter of {self.method}, which takes {', '.join(takes)}")
        missing = dict(METHODS[self.method].defaults)
        if "gamma_beta_ratio" in self.hyperparameters:
            missing.pop("gamma", None)
        object.__setattr__(self, "hyperparameters", missing | dict(self.hyperparameters))

    @property
    def reads(self) -> Method:
        """The method's loss and score, and what they read."""
        return METHODS[self.method]

    def requests(self) -> tuple[LogpRequest, ...]:
        """Every policy log-prob that the loss reads, each once."""
        return self.conditioning.requests()

    def reference_requests(self) -> tuple[LogpRequest, ...]:
        """Every reference log-prob that the loss reads; none for methods without a reference."""
        return self.conditioning.reference_requests(self.reference_context) if self.reads.needs_reference else ()

    def terms(
        self,
        policy_logps: RequestLogps,
        reference_logps: RequestLogps | None = None,
        *,
        chosen_length: Tensor | None = None,
        rejected_length: Tensor | None = None,
    ) -> Terms:
        """What is compared with what.

        Args:
            policy_logps: for each of :meth:`requests` (B,) nats, summed over tokens.
            reference_logps: for each of :meth:`reference_requests` (B,) nats; not read where there are none.
            chosen_length: (B,) tokens of the chosen responses, where the method reads lengths.
            rejected_length: (B,) tokens of the rejected responses.

        Raises:
            ValueError: a log-prob that the loss reads is missing.
        """
        for whose, wanted, given in (
            ("the policy's", self.requests(), policy_logps),
            ("the reference's", self.reference_requests(), reference_logps or {}),
        ):
            if missing := [request for request in wanted if request not in given]:
                raise ValueError(f"{self.method} needs {whose} log-probs of {missing[0]}")
        return self.conditioning.terms(
            policy_logps,
            reference_logps if self.reads.needs_reference else None,
            reference=self.reference_context,
            chosen_length=chosen_length,
            rejected_length=rejected_length,
        )

    def __call__(
        self,
        policy_logps: RequestLogps,
        reference_logps: RequestLogps | None = None,
        *,
        chosen_length: Tensor | None = None,
        rejected_length: Tensor | None = None,
        preference: Tensor | float = 1.0,
        kl: Tensor | float | None = None,
    ) -> Tensor:
        """Compare: :meth:`terms`, then :meth:`of_terms`, whose arguments these are.

        Returns:
            (B,) nats, unreduced, with gradient.
        """
        terms = self.terms(policy_logps, reference_logps, chosen_length=chosen_length, rejected_length=rejected_length)
        return self.of_terms(terms, preference=preference, kl=kl)

    def of_terms(self, terms: Terms, *, preference: Tensor | float = 1.0, kl: Tensor | float | None = None) -> Tensor:
        """The weighted sum of the method's loss over the terms.

        Args:
            terms: as :meth:`terms` returns them.
            preference: float or (B,), probability in [0, 1] that the label is right.
            kl: scalar or (B,), estimate of KL(pi || pi_ref) in nats, for KTO.

        Returns:
            (B,) nats, unreduced, with gradient.

        Raises:
            ValueError: a KL estimate that the method needs and does not get, or gets and does not need; or
                as the loss itself.
        """
        keywords: dict[str, Any] = dict(self.hyperparameters)
        if isinstance(preference, Tensor) or preference != 1:
            keywords["preference"] = preference
        if (kl is not None) != self.reads.needs_kl:
            needs = "needs an" if self.reads.needs_kl else "reads no"
            raise ValueError(f"{self.method} {needs} estimate of KL(pi || pi_ref): kl = {kl}")
        if kl is not None:
            keywords["kl"] = kl
        return conditioned_loss(partial(self.reads.loss, **keywords), terms)

    def scores(self, terms: Terms) -> tuple[Tensor, Tensor]:
        """What the loss compares, of chosen and of rejected, averaged over the terms with their weights.

        Args:
            terms: as :meth:`terms` returns them.

        Returns:
            Two of (B,), in nats (per token where the method compares means over tokens). Their difference is
            the margin.
        """
        return weighted_scores(terms, self.reads.score)

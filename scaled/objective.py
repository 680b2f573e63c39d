"""Pairs and a model -> losses and what describes them. Everything a training loop of your own needs.

    model = AutoModelForCausalLM.from_pretrained(name)
    prepare(model)                                              # tree attention, model(row=row)
    objective = Objective("dpo", Conditioning.SYMMETRIC, {"beta": 0.1})
    reference = score(reference_model, pairs, objective.reference_requests())
    outcome = pair_losses(model, pairs, objective, reference)
    outcome.losses.mean().backward()

Shapes: B pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from inspo.conditioning import Conditioning, LogpRequest, ReferenceContext, Role, conditioned_loss
from inspo.logprobs import by_request, sequence_logps
from inspo.losses import METHODS
from inspo.metrics import pair_metrics, weighted_mean, weighted_scores
from inspo.pairs import PairLogps, PreferencePair
from inspo.prefix_tree import PackedRow, build_row, concatenate
from inspo.sequences import NO_SEPARATOR, Separator
from inspo.hf.rows import accept_rows, use_tree_attention

PLAIN = Conditioning.NONE.requests()
"""log pi(chosen | x) and log pi(rejected | x): what the deployed policy says."""

RequestLogps = Mapping[LogpRequest, Tensor]
"""For each request (B,) log-probs in nats, summed over the target's tokens."""


@dataclass(frozen=True)
class Objective:
    """A method x conditioning with its hyperparameters.

    Attributes:
        method: a name of :data:`inspo.losses.METHODS`.
        conditioning: which log-probs the loss compares.
        hyperparameters: the loss's keyword arguments.
        reference: whether the reference sees the policy's context.
        separator: tokens around a context.
        draft_cap: longest context in tokens, None for no cap.
        plain_logps: also score responses without context, for the metrics. They are projected on the
            vocabulary, forward only; their tokens are in the trees anyway as contexts, except for the
            chosen response's under ``one_sided``.

    Raises:
        ValueError: an unknown method.
    """

    method: str
    conditioning: Conditioning = Conditioning.NONE
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    reference: ReferenceContext = ReferenceContext.PLAIN
    separator: Separator = NO_SEPARATOR
    draft_cap: int | None = None
    plain_logps: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method = {self.method!r} must be one of {', '.join(METHODS)}")

    def requests(self) -> tuple[LogpRequest, ...]:
        """Every policy log-prob that is scored, each once."""
        return tuple(dict.fromkeys((*self.conditioning.requests(), *(PLAIN if self.plain_logps else ()))))

    def only_measured(self) -> tuple[LogpRequest, ...]:
        """Those of :meth:`requests` that the loss does not read."""
        return tuple(request for request in self.requests() if request not in self.conditioning.requests())

    def reference_requests(self) -> tuple[LogpRequest, ...]:
        """Every reference log-prob that the loss needs; none for methods without a reference."""
        if not METHODS[self.method].needs_reference:
            return ()
        return self.conditioning.reference_requests(self.reference)

    def row(self, pairs: Sequence[PreferencePair], requests: Iterable[LogpRequest] | None = None) -> PackedRow:
        """The pairs' trees, one after another in one row."""
        wanted = self.requests() if requests is None else tuple(requests)
        trees = [build_row([pair], wanted, separator=self.separator, draft_cap=self.draft_cap) for pair in pairs]
        return concatenate(trees)

    def terms(self, policy: RequestLogps, reference: RequestLogps, lengths: Lengths) -> WeightedPairs:
        """What the loss compares, as :meth:`Conditioning.terms` gives it."""
        return self.conditioning.terms(
            policy,
            reference if METHODS[self.method].needs_reference else None,
            reference=self.reference,
            chosen_length=lengths[0],
            rejected_length=lengths[1],
        )


Lengths = tuple[Tensor, Tensor]
WeightedPairs = list[tuple[float, PairLogps]]


@dataclass(frozen=True)
class Outcome:
    """What one batch of pairs came to.

    Attributes:
        losses: (B,) nats, unreduced, with gradient.
        policy: for each request (B,) log-probs, with gradient.
        reference: for each request (B,) log-probs of the reference, as far as they were given.
        lengths: (B,) tokens of the chosen, (B,) of the rejected responses.
        preference: (B,) probability that the label is right.
        tokens: rows of the packed row.
        kl: (B,) estimates of KL(pi || pi_ref) in nats that the losses were given, for KTO; else None.
    """

    losses: Tensor
    policy: RequestLogps
    reference: RequestLogps
    lengths: Lengths
    preference: Tensor
    tokens: int
    kl: Tensor | None = None

    def detached(self) -> Outcome:
        """The same without gradients, on the CPU: small enough to keep, and ready to be sent to other ranks."""

        def host(tensor: Tensor) -> Tensor:
            return tensor.detach().cpu()

        return Outcome(
            host(self.losses),
            {request: host(logps) for request, logps in self.policy.items()},
            {request: host(logps) for request, logps in self.reference.items()},
            (host(self.lengths[0]), host(self.lengths[1])),
            host(self.preference),
            self.tokens,
            None if self.kl is None else host(self.kl),
        )


def prepare(model: nn.Module) -> None:
    """Put a model on tree attention and let ``model(row=row)`` return token log-probs, before it is wrapped.

    Raises:
        ValueError: an architecture that tree rows would be wrong for.
    """
    use_tree_attention(model)
    accept_rows(model)


def score(
    model: nn.Module,
    pairs: Sequence[PreferencePair],
    requests: Iterable[LogpRequest],
    objective: Objective | None = None,
    **options: Any,
) -> dict[LogpRequest, Tensor]:
    """Log-probs of pairs, without gradient: of a reference, or of mismatched pairs.

    Args:
        model: a prepared model.
        pairs: B pairs, all in one row.
        requests: which response given which.
        objective: gives separator and draft cap; None for neither.
        options: further arguments of :func:`inspo.hf.rows.row_logps`.

    Returns:
        For each request (B,) nats, summed over tokens.
    """
    requests = tuple(requests)
    if not requests:
        return {}
    row = (objective or Objective("dpo")).row(pairs, requests)
    with torch.no_grad():
        return _row_logps(model, row, **options)


def pair_losses(
    model: nn.Module,
    pairs: Sequence[PreferencePair],
    objective: Objective,
    reference: RequestLogps | None = None,
    *,
    kl: Tensor | float | None = None,
    row: PackedRow | None = None,
    **options: Any,
) -> Outcome:
    """A batch of pairs and a model -> losses. Algorithm 1, lines 4 to 6, for every method x conditioning.

    Args:
        model: a prepared model, or a wrapper around one.
        pairs: B pairs.
        objective: what is compared, and how.
        reference: for each of ``objective.reference_requests()`` (B,) log-probs of the reference
            policy in nats; None where the method needs none.
        kl: estimate of KL(pi || pi_ref) in nats, scalar or (B,), for KTO.
        row: ``objective.row(pairs)``, where it is at hand.
        options: further arguments of :func:`inspo.hf.rows.row_logps`.

    Returns:
        Losses and the log-probs they were made of; of those that the loss does not read, without gradient.

    Raises:
        ValueError: a reference or KL estimate that the method needs is missing.
    """
    method = METHODS[objective.method]
    if method.needs_kl and kl is None:
        raise ValueError(f"{objective.method} needs an estimate of KL(pi || pi_ref): give kl")
    missing = [request for request in objective.reference_requests() if request not in (reference or {})]
    if missing:
        raise ValueError(f"{objective.method} needs the reference's log-probs of {missing[0]}: give reference")
    row = row or objective.row(pairs)
    measured = objective.only_measured()
    policy = {
        request: logps.detach() if request in measured else logps
        for request, logps in _row_logps(model, row, without_gradient=measured, **options).items()
    }
    like = policy[objective.requests()[0]]
    kept = {request: logps.to(like) for request, logps in (reference or {}).items()}
    lengths = tuple(
        torch.tensor([len(getattr(pair, role.value)) for pair in pairs], device=like.device) for role in Role
    )
    preference = torch.tensor([pair.preference for pair in pairs], dtype=like.dtype, device=like.device)
    keywords = dict(objective.hyperparameters)
    if bool((preference != 1).any()):
        keywords["preference"] = preference
    if method.needs_kl:
        kl = torch.as_tensor(kl, dtype=like.dtype, device=like.device).expand(len(pairs))
        keywords["kl"] = kl
    else:
        kl = None
    weighted = objective.terms(policy, kept, (lengths[0], lengths[1]))
    losses = conditioned_loss(partial(method.loss, **keywords), weighted)
    return Outcome(losses, policy, kept, (lengths[0], lengths[1]), preference, len(row), kl)


def _row_logps(model: nn.Module, row: PackedRow, **options: Any) -> dict[LogpRequest, Tensor]:
    """For each request (B,) log-probs of a packed row."""
    tokens = model(row=row, **options)
    sums = sequence_logps(tokens, [len(target.labels) for target in row.targets]).sums
    return by_request(row.targets, sums)


def describe(objective: Objective, outcome: Outcome) -> dict[str, float]:
    """The numbers that are logged of a batch of pairs.

    Args:
        objective: the objective.
        outcome: of all the batch's pairs, on the CPU, without gradients.

    Returns:
        Name to number:

        - all of :func:`inspo.metrics.pair_metrics`, of what the loss compares;
        - ``chosen_reward``, ``rejected_reward``: its scores times beta, where the method has one;
        - ``plain_chosen_logps``, ``plain_rejected_logps``, ``plain_margin``: log pi(. | x), nats;
        - ``chosen_logratio``, ``rejected_logratio``: log(pi / pi_ref) under the loss's contexts, and
          ``plain_chosen_logratio``, ``plain_rejected_logratio`` without context, nats, where the
          reference's log-probs are at hand;
        - ``chosen_length``, ``rejected_length``: tokens;
        - ``kl``: the estimate of KL(pi || pi_ref) that the loss was given, nats, for KTO.
    """
    doubles = {request: logps.double() for request, logps in outcome.policy.items()}
    reference = {request: logps.double() for request, logps in outcome.reference.items()}
    weighted = objective.terms(doubles, reference, outcome.lengths)
    numbers = pair_metrics(weighted, METHODS[objective.method].score, outcome.losses.double())
    beta = objective.hyperparameters.get("beta", 1.0)
    for role in Role:
        numbers[f"{role.value}_reward"] = beta * numbers[f"{role.value}_score"]
    if METHODS[objective.method].needs_reference:
        ratios = [(weight, pairs.logratios()) for weight, pairs in weighted]
        for index, role in enumerate(Role):
            ratio = torch.stack([weight * ratio[index] for weight, ratio in ratios]).sum(0)
            numbers[f"{role.value}_logratio"] = weighted_mean(ratio)
    for role in Role:
        plain = LogpRequest(role)
        if plain in doubles:
            numbers[f"plain_{role.value}_logps"] = weighted_mean(doubles[plain])
        if plain in doubles and plain in reference:
            numbers[f"plain_{role.value}_logratio"] = weighted_mean(doubles[plain] - reference[plain])
    if all(plain in doubles for plain in PLAIN):
        numbers["plain_margin"] = numbers["plain_chosen_logps"] - numbers["plain_rejected_logps"]
    for role, length in zip(Role, outcome.lengths, strict=True):
        numbers[f"{role.value}_length"] = weighted_mean(length.double())
    if outcome.kl is not None:
        numbers["kl"] = weighted_mean(outcome.kl.double())
    return {name: float(number) for name, number in numbers.items()}


def margins(objective: Objective, outcome: Outcome) -> Tensor:
    """(B,) score(chosen) - score(rejected) of what the loss compares, in nats; several terms weighted."""
    weighted = objective.terms(outcome.policy, outcome.reference, outcome.lengths)
    chosen, rejected = weighted_scores(weighted, METHODS[objective.method].score)
    return chosen - rejected


def join(outcomes: Sequence[tuple[Sequence[int], Outcome]], order: Sequence[int] | None = None) -> Outcome:
    """Put outcomes of several rows into one, in the order of their pairs' positions; each position once.

    Args:
        outcomes: (positions of the pairs, their outcome) of each row.
        order: the positions wanted; None for all, ascending.
    """
    where: dict[int, int] = {}
    offset = 0
    for positions, outcome in outcomes:
        for place, position in enumerate(positions):
            where.setdefault(position, offset + place)
        offset += len(outcome.losses)
    index = torch.tensor([where[position] for position in (sorted(where) if order is None else order)])
    parts = [outcome for _, outcome in outcomes]

    def pick(tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat([tensor.cpu() for tensor in tensors])[index]

    return Outcome(
        pick([part.losses for part in parts]),
        {request: pick([part.policy[request] for part in parts]) for request in parts[0].policy},
        {request: pick([part.reference[request] for part in parts]) for request in parts[0].reference},
        (pick([part.lengths[0] for part in parts]), pick([part.lengths[1] for part in parts])),
        pick([part.preference for part in parts]),
        sum(part.tokens for part in parts),
        None if parts[0].kl is None else pick([cast("Tensor", part.kl) for part in parts]),
    )

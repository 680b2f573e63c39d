"""A batch of pairs, what the loss makes of it, and the numbers that describe that.

Shapes: B pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from inspo.conditioning import LogpRequest, Role
from inspo.metrics import pair_metrics, standard_error, weighted_mean, weighted_scores, wins
from inspo.pairs import PairLogps, PreferencePair
from inspo.preference_loss import PreferenceLoss, RequestLogps, Terms
from inspo.prefix_tree import PackedRow
from scaled.data.examples import PLAIN, Examples
from scaled.data.plan import Slot


@dataclass(frozen=True, eq=False)
class Batch:
    """One row of one rank at one micro-step; tensors are on the model's device.

    Attributes:
        slot: positions within the update, and the pairs there.
        pairs: the pairs.
        row: their packed trees.
        reference: for each reference request (B,) log-probs in nats.
        chosen_length: (B,) tokens.
        rejected_length: (B,) tokens.
        preference: (B,) probability that the label is right.
        kl: (B,) KL estimates of the pairs' groups in nats, for KTO.
    """

    slot: Slot
    pairs: Sequence[PreferencePair]
    row: PackedRow
    reference: RequestLogps
    chosen_length: Tensor
    rejected_length: Tensor
    preference: Tensor
    kl: Tensor | None = None


def make_batch(examples: Examples, slot: Slot, device: torch.device | str = "cpu") -> Batch:
    """The examples of a slot in one row."""
    index = list(slot.pairs)
    pairs = [examples.pairs[pair] for pair in index]
    chosen_length, rejected_length = torch.tensor([pair.scored_lengths for pair in pairs], device=device).T
    return Batch(
        slot,
        pairs,
        examples.row(index, examples.layout.policy),
        {request: logps[index].to(device) for request, logps in examples.reference.items()},
        chosen_length,
        rejected_length,
        torch.tensor([pair.preference for pair in pairs], dtype=torch.float32, device=device),
    )


def compare(loss: PreferenceLoss, policy: RequestLogps, batch: Batch) -> Tensor:
    """(B,) losses in nats, unreduced, of a batch whose log-probs by the policy are at hand."""
    return loss(
        policy,
        batch.reference,
        chosen_length=batch.chosen_length,
        rejected_length=batch.rejected_length,
        preference=batch.preference if bool((batch.preference != 1).any()) else 1.0,
        kl=batch.kl,
    )


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the pairs of a batch, or of all batches of an update, came to.

    Attributes:
        losses: (B,) nats, unreduced.
        policy: for each request (B,) log-probs in nats.
        reference: for each request (B,) log-probs of the reference in nats, as far as they are known.
        chosen_length: (B,) tokens.
        rejected_length: (B,) tokens.
        preference: (B,) probability that the label is right.
        tokens: rows of the packed rows.
        kl: (B,) estimates of KL(pi || pi_ref) in nats that the losses were given, for KTO; else None.
    """

    losses: Tensor
    policy: RequestLogps
    reference: RequestLogps
    chosen_length: Tensor
    rejected_length: Tensor
    preference: Tensor
    tokens: int
    kl: Tensor | None = None

    @classmethod
    def of(cls, batch: Batch, policy: RequestLogps, losses: Tensor) -> Outcome:
        """A batch's outcome without gradients, on the CPU: small enough to keep, and ready for other ranks."""
        return cls(
            losses,
            policy,
            batch.reference,
            batch.chosen_length,
            batch.rejected_length,
            batch.preference,
            len(batch.row),
            batch.kl,
        ).map(lambda tensor: tensor.detach().cpu())

    def terms(self, loss: PreferenceLoss) -> Terms:
        """What the loss compares."""
        return loss.terms(
            self.policy, self.reference, chosen_length=self.chosen_length, rejected_length=self.rejected_length
        )

    def map(self, change: Any) -> Outcome:
        """The same with every tensor changed."""

        def changed(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {request: change(tensor) for request, tensor in value.items()}
            return change(value) if isinstance(value, Tensor) else value

        return replace(self, **{field.name: changed(getattr(self, field.name)) for field in fields(self)})


def join(outcomes: Sequence[tuple[Sequence[int], Outcome]]) -> Outcome:
    """Put outcomes of several rows into one, in the order of their pairs' positions; each position once.

    Args:
        outcomes: (positions of the pairs, their outcome) of each row, on the CPU.
    """
    where: dict[int, int] = {}
    offset = 0
    for positions, _ in outcomes:
        for place, position in enumerate(positions):
            where.setdefault(position, offset + place)
        offset += len(positions)
    index = torch.tensor([where[position] for position in sorted(where)])
    parts = [outcome for _, outcome in outcomes]

    def joined(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if isinstance(values[0], Mapping):
            return {request: torch.cat([value[request] for value in values])[index] for request in values[0]}
        return torch.cat(values)[index] if isinstance(values[0], Tensor) else values[0]

    whole = {field.name: joined(field.name) for field in fields(Outcome)}
    return Outcome(**(whole | {"tokens": sum(part.tokens for part in parts)}))


def metrics(loss: PreferenceLoss, outcome: Outcome) -> dict[str, float]:
    """The numbers that are logged of a batch of pairs.

    Args:
        loss: what was compared.
        outcome: of all the batch's pairs, on the CPU, without gradients.

    Returns:
        Name to number:

        - all of :func:`inspo.metrics.pair_metrics`, of what the loss compares;
        - ``chosen_reward``, ``rejected_reward``: its scores times beta, where the method has one;
        - ``chosen_logratio``, ``rejected_logratio``: log(pi / pi_ref) under the loss's contexts, nats, for
          methods with a reference;
        - ``deployed_accuracy``, ``deployed_margin``, ``deployed_chosen_logratio``, ``deployed_rejected_logratio``:
          of log pi(. | x) / pi_ref(. | x), the policy without a context, nats, and ``deployed_chosen_logps``,
          ``deployed_rejected_logps``: of log pi(. | x), where these were scored;
        - ``chosen_length``, ``rejected_length``: tokens;
        - ``kl``: the estimate of KL(pi || pi_ref) that the loss was given, nats, for KTO.
    """
    doubles = outcome.map(lambda tensor: tensor.double())
    terms = doubles.terms(loss)
    values = pair_metrics(terms, loss.reads.score, doubles.losses)
    beta = loss.hyperparameters.get("beta", 1.0)
    ratios = weighted_scores(terms, PairLogps.logratios) if loss.reads.needs_reference else None
    deployed = deployed_logratios(doubles)
    for index, role in enumerate(Role):
        name, plain = role.value, LogpRequest(role)
        values[f"{name}_reward"] = beta * values[f"{name}_score"]
        if ratios is not None:
            values[f"{name}_logratio"] = weighted_mean(ratios[index])
        if deployed is not None:
            values[f"deployed_{name}_logps"] = weighted_mean(doubles.policy[plain])
            values[f"deployed_{name}_logratio"] = weighted_mean(deployed[index])
        values[f"{name}_length"] = weighted_mean(getattr(doubles, f"{name}_length"))
    if deployed is not None:
        margin = deployed[0] - deployed[1]
        values |= {"deployed_margin": weighted_mean(margin), "deployed_accuracy": weighted_mean(wins(margin))}
    if doubles.kl is not None:
        values["kl"] = weighted_mean(doubles.kl)
    return {name: float(value) for name, value in values.items()}


def standard_errors(loss: PreferenceLoss, outcome: Outcome) -> dict[str, float]:
    """Standard errors over pairs of the metrics that a run is judged by: the loss, both margins, both accuracies.

    Args:
        loss: what was compared.
        outcome: as for :func:`metrics`.

    Returns:
        ``loss_se``, ``margin_se``, ``accuracy_se``, and ``deployed_margin_se``, ``deployed_accuracy_se`` where
        these were scored, each in its metric's unit; empty for a single pair.
    """
    doubles = outcome.map(lambda tensor: tensor.double())
    chosen, rejected = loss.scores(doubles.terms(loss))
    each = {"loss": doubles.losses, "margin": chosen - rejected}
    if (deployed := deployed_logratios(doubles)) is not None:
        each["deployed_margin"] = deployed[0] - deployed[1]
    each |= {name.replace("margin", "accuracy"): wins(of) for name, of in each.items() if "margin" in name}
    if len(doubles.losses) < 2:
        return {}
    return {f"{name}_se": float(standard_error(values)) for name, values in each.items()}


def deployed_logratios(outcome: Outcome) -> tuple[Tensor, Tensor] | None:
    """Without a context, log(pi / pi_ref) of chosen and of rejected, two of (B,) in nats; None where not scored."""
    if not all(plain in outcome.policy and plain in outcome.reference for plain in PLAIN):
        return None
    chosen, rejected = (outcome.policy[plain] - outcome.reference[plain] for plain in PLAIN)
    return chosen, rejected

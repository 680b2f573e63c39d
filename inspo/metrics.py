"""Per-pair tensors -> named metrics. The only place that reduces over pairs.

Shapes: B pairs, or any common shape of pairs whose last `dims` dimensions are reduced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from inspo.pairs import PairLogps

Score = Callable[[PairLogps], tuple[Tensor, Tensor]]


def weighted_mean(values: Tensor, weights: Tensor | None = None, dims: int = 1) -> Tensor:
    """Mean over the last `dims` dimensions.

    Args:
        values: (..., B), or (..., B1, B2) with dims = 2.
        weights: the same shape, >= 0; None gives all the same weight. Pairs of weight zero never count,
            whatever their value.
        dims: how many trailing dimensions to reduce.

    Returns:
        (...), in the unit of `values`; NaN where all weights are zero.
    """
    reduced = tuple(range(-dims, 0))
    if weights is None:
        return values.mean(dim=reduced)
    weighted = torch.where(weights > 0, values * weights, 0.0)
    return weighted.sum(dim=reduced) / weights.sum(dim=reduced)


def standard_error(values: Tensor) -> Tensor:
    """Standard error of the mean over pairs.

    Args:
        values: (B,), of pairs that are drawn independently.

    Returns:
        A scalar in the unit of `values`: the standard deviation (by B - 1) / sqrt(B); NaN where B < 2.
    """
    return values.std() / len(values) ** 0.5 if len(values) > 1 else torch.full((), torch.nan)


def wins(margin: Tensor) -> Tensor:
    """(B,): 1 for a positive margin, 0 for a negative one, 1/2 for a tie; its mean is the accuracy."""
    return (torch.sign(margin) + 1) / 2


def weighted_scores(terms: Sequence[tuple[float, PairLogps]], score: Score) -> tuple[Tensor, Tensor]:
    """Scores of chosen and of rejected, averaged over an objective's terms with the terms' weights.

    Args:
        terms: the objective's terms, at least one, as ``Conditioning.terms`` returns them.
        score: what is averaged, such as ``METHODS[name].score`` or ``PairLogps.logratios``.

    Returns:
        Two of (B,), in the unit of the score; their difference is the margin.
    """
    scores = [(weight, *score(pairs)) for weight, pairs in terms]
    chosen = torch.stack([weight * of_chosen for weight, of_chosen, _ in scores])
    rejected = torch.stack([weight * of_rejected for weight, _, of_rejected in scores])
    return chosen.sum(0), rejected.sum(0)


def pair_metrics(
    terms: Sequence[tuple[float, PairLogps]],
    score: Score,
    losses: Tensor,
    *,
    weights: Tensor | None = None,
    dims: int = 1,
) -> dict[str, Tensor]:
    """The metrics of a batch of pairs under one objective.

    Args:
        terms: the objective's terms, as ``Conditioning.terms`` returns them; the
            scores of several terms are averaged with the terms' weights.
        score: what the loss compares, ``METHODS[name].score``.
        losses: (B,) unreduced losses in nats.
        weights: (B,) >= 0, or None.
        dims: how many trailing dimensions hold pairs.

    Returns:
        Name to detached tensor of shape (...):

        - ``loss``: mean loss, nats;
        - ``margin``: mean of score(chosen) - score(rejected), nats (per token where the method's
          score is a mean over tokens);
        - ``accuracy``: share of pairs with a positive margin, ties counted one half;
        - ``chosen_score``, ``rejected_score``: mean scores, nats;
        - ``chosen_logps``, ``rejected_logps``: mean log-probs, nats, summed over tokens.
    """
    chosen_score, rejected_score = weighted_scores(terms, score)
    chosen_logps, rejected_logps = weighted_scores(terms, PairLogps.logps)
    margin = chosen_score - rejected_score
    per_pair = {
        "loss": losses,
        "margin": margin,
        "accuracy": wins(margin),
        "chosen_score": chosen_score,
        "rejected_score": rejected_score,
        "chosen_logps": chosen_logps,
        "rejected_logps": rejected_logps,
    }
    return {name: weighted_mean(values.detach(), weights, dims) for name, values in per_pair.items()}

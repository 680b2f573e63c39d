"""Judges that cannot write, trained on the same labels from the same reference: what a policy's margin has to beat.

    reward      one score a response, P(y > y') = sigma(r(x, y) - r(x, y')): Bradley-Terry's, which no cycle fits
    pairwise    one score a response in view of the other, sigma(r(x, y', y) - r(x, y, y')): any preference fits

The first is what RLHF trains; the second has the inputs of a symmetric policy's margin, and a head in place of
log-probs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from experiments.language.samples import Words
from inspo.pairs import PreferencePair

BATCH = 32
"""Pairs an update, of policies and of preference models."""

SCORED = 256


class PreferenceModel(nn.Module):
    """A reference's body with a head of zeros, so that all preferences are even at first.

    Args:
        body: gives hidden states.
        width: of these.
        words: the tokens.
        pairwise: whether a response is scored in view of the other.
    """

    def __init__(self, body: nn.Module, width: int, words: Words, *, pairwise: bool) -> None:
        super().__init__()
        self.body, self.words, self.pairwise = body, words, pairwise
        self.head = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.head.weight)

    def margins(self, pairs: Sequence[PreferencePair]) -> Tensor:
        """(pairs,) log-odds of the chosen response, nats."""
        header = self.words.header
        sequences = []
        for pair in pairs:
            for said, other in ((pair.chosen, pair.rejected), (pair.rejected, pair.chosen)):
                context = (*other, *header) if self.pairwise else ()
                sequences.append((*pair.prompt, *context, *said))
        width = max(map(len, sequences))
        tokens = torch.tensor([(*each, *[self.words.end] * (width - len(each))) for each in sequences])
        ends = torch.tensor([len(each) - 1 for each in sequences])
        states = self.body(input_ids=tokens).last_hidden_state[torch.arange(len(sequences)), ends]
        scores: Tensor = self.head(states)[:, 0].view(-1, 2)
        return scores[:, 0] - scores[:, 1]

    @torch.no_grad()
    def judge(self, pairs: Sequence[PreferencePair]) -> np.ndarray:
        """(pairs,) log-odds of the chosen response, nats, in float64."""
        parts = [self.margins(pairs[start : start + SCORED]) for start in range(0, len(pairs), SCORED)]
        return torch.cat(parts).double().numpy()


def train_preference_model(
    model: PreferenceModel, pairs: Sequence[PreferencePair], epochs: float, learning_rate: float, seed: int
) -> int:
    """Fit labels by maximum likelihood, with the optimizer and schedule that policies have.

    Args:
        model: is changed.
        pairs: with the preferred response as the chosen one.
        epochs: passes over them.
        learning_rate: at its peak, after a tenth of the updates; it falls to zero as a cosine.
        seed: of their order.

    Returns:
        How many updates there were.
    """
    rng = np.random.default_rng(seed)
    per_epoch = math.ceil(len(pairs) / BATCH)
    updates = max(1, round(epochs * per_epoch))
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    warm = max(1, round(0.1 * updates))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda update: min(
            (update + 1) / warm, 0.5 * (1 + math.cos(math.pi * max(0, update - warm) / max(1, updates - warm)))
        ),
    )
    order: Any = []
    for _ in range(updates):
        if len(order) == 0:
            order = rng.permutation(len(pairs))
        batch, order = [pairs[place] for place in order[:BATCH]], order[BATCH:]
        loss = -logsigmoid(model.margins(batch)).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return updates

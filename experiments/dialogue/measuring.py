"""What a policy of conversations is worth: as it is deployed, as a reviser, as a judge.

Policies that share reference and data seed are measured on the same prompts, the same conversations of the reference
and the same random numbers, so that their differences have small errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from experiments.dialogue.conversations import Conversation, Drawn, converse, draw_pairs, kl
from experiments.language.samples import Words, logps, prompts
from experiments.language.world import MALFORMED, Judge, Prompt
from experiments.policies import judgment, log_odds, summed
from inspo.preference_loss import PreferenceLoss

SEED = 1_000_003
"""Of everything that measures; no data has it."""


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What policies that start at one reference are measured against.

    Attributes:
        reference: in evaluation mode, on tree attention.
        words: its tokens.
        judge: the true preference.
        prompts: N.
        drafts: N conversations of the reference, which a reviser sees and all answers meet.
        pairs: at most N pairs of the reference's conversations, for the judge.
        seed: of all of these, and of what policies write.
    """

    reference: nn.Module
    words: Words
    judge: Judge
    prompts: Sequence[Prompt]
    drafts: Sequence[Conversation]
    pairs: Sequence[Drawn]
    seed: int

    @classmethod
    def of(cls, reference: nn.Module, words: Words, judge: Judge, count: int, seed: int) -> Yardstick:
        """For a reference and a judge, on so many prompts and pairs that a seed decides."""
        asked = prompts(count, SEED, seed)
        drafts = converse(reference, words, asked, f"{SEED}/{seed}/draft", SEED, seed, 0)
        return cls(reference, words, judge, asked, drafts, draw_pairs(reference, words, judge, count, SEED, seed), seed)

    def wins(self, said: Sequence[Conversation], judge: Judge | None = None) -> np.ndarray:
        """P(said > draft), exact for each pair of conversations."""
        judge = judge or self.judge
        return np.array(
            [
                judge.probability(one.kind(self.words), draft.kind(self.words))
                for one, draft in zip(said, self.drafts, strict=True)
            ]
        )

    def measure(self, policy: nn.Module, loss: PreferenceLoss, *, whole: bool) -> dict[str, float]:
        """All of a policy.

        Args:
            policy: in evaluation mode, on tree attention.
            loss: that it was trained by.
            whole: whether as a reviser and as a judge too.

        Returns:
            Means, each with its standard error as ``NAME_se``. Of what it says to the prompts alone: ``value``, the win
            rate over the drafts; ``value_even_length``, by a judge without a taste for length; ``kl``, nats a
            conversation; ``length``, words of both replies; ``malformed``, share with a reply that is. Of what it says
            behind a draft: ``revised``, the win rate over that draft, and ``gained``, how much more that is. And of its
            margin what :func:`~experiments.policies.judgment` has.
        """
        said = converse(policy, self.words, self.prompts, f"{SEED}/{self.seed}/answer", SEED, self.seed, 1)
        value = self.wins(said)
        found = {
            "value": value,
            "value_even_length": self.wins(said, replace(self.judge, length=0.0)),
            "kl": kl(policy, self.reference, self.words, said).numpy(),
            "length": np.array([one.kind(self.words).length for one in said], dtype=float),
            "malformed": np.array([self._malformed(one) for one in said], dtype=float),
        }
        if whole:
            key = f"{SEED}/{self.seed}/revision"
            revised = converse(policy, self.words, self.prompts, key, SEED, self.seed, 1, drafts=self.drafts)
            found["revised"] = self.wins(revised)
            found["gained"] = found["revised"] - value
        return summed(found) | (self.judged(policy, loss) if whole else {})

    def judged(self, policy: nn.Module, loss: PreferenceLoss) -> dict[str, float]:
        """How well the margin says which of two conversations is preferred, as :func:`judgment` has it."""
        pairs = [pair.pair(self.words) for pair in self.pairs]
        needed = loss.reference_requests()
        margin = log_odds(
            loss,
            pairs,
            logps(policy, self.words, pairs, loss.requests()),
            logps(self.reference, self.words, pairs, needed) if needed else None,
        )
        return judgment(margin, np.array([pair.log_odds for pair in self.pairs]))

    def _malformed(self, one: Conversation) -> bool:
        kinds = self.words.kind(one.prompt, one.first), self.words.kind(one.then, one.second)
        return any(kind.quality == MALFORMED for kind in kinds)

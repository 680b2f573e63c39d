"""What a policy of the real model is worth: as it is deployed, as a reviser, as a judge.

Policies that share reference and data seed are measured on the same prompts, the same answers of the reference and the
same random numbers, so that their differences have small errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from experiments.policies import judgment, log_odds, logps, summed
from experiments.smol.pairs import Drawn, judged, kept
from experiments.smol.samples import Talk, kl, respond
from experiments.smol.world import MALFORMED, STYLES, Judge, Kind, prompts
from inspo.conditioning import LogpRequest
from inspo.pairs import PreferencePair
from inspo.preference_loss import PreferenceLoss
from scaled.generation.interface import Completion

SEED = 1_000_003
"""Of everything that measures; no data has it."""

DRAFTS = 4
"""Answers of the reference to each prompt, which a policy meets."""


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What policies that start at one reference are measured against.

    Attributes:
        reference: in evaluation mode, on tree attention.
        talk: its tokens.
        judge: the true preference.
        prompts: N.
        drafts: :data:`DRAFTS` times N answers of the reference; a reviser sees the first, nobody the others.
        pairs: N pairs of the reference's answers, for the judge: of the last two drafts.
        seed: of all of these, and of what policies write.
        scored: the reference's log-probs of the pairs, (N,) nats, as far as they were asked for.
    """

    reference: nn.Module
    talk: Talk
    judge: Judge
    prompts: Sequence[str]
    drafts: Sequence[Sequence[Completion]]
    pairs: Sequence[Drawn]
    seed: int
    scored: dict[LogpRequest, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, reference: nn.Module, talk: Talk, judge: Judge, count: int, seed: int, folder: Path) -> Yardstick:
        """For a reference and a judge, on prompts that a seed decides.

        Args:
            reference: in evaluation mode, on tree attention.
            talk: its tokens.
            judge: the true preference.
            count: prompts.
            seed: of prompts and answers.
            folder: where answers are kept.
        """
        asked = prompts("measure", count, SEED, seed)
        heads = [talk.prompt(prompt) for prompt in asked]

        def draft(number: int) -> list[Completion]:
            key, name = f"{SEED}/{seed}/draft {number}", f"draft{number}-{count}-seed{seed}.json"
            return kept(folder / name, lambda: respond(reference, talk, heads, key))

        drafts = [draft(number) for number in range(DRAFTS)]
        return cls(reference, talk, judge, asked, drafts, judged(talk, judge, asked, *drafts[-2:]), seed)

    def measure(self, policy: nn.Module, loss: PreferenceLoss, *, whole: bool) -> dict[str, float]:
        """All of a policy.

        Args:
            policy: in evaluation mode, on tree attention.
            loss: that it was trained by.
            whole: whether as a reviser and as a judge too.

        Returns:
            Means, each with its standard error over prompts or pairs as ``NAME_se``: see :meth:`deployed`,
            :meth:`reviser` and :meth:`judged`.
        """
        said = self._said(policy, "answer")
        found = self.deployed(policy, said)
        if whole:
            found |= self.reviser(policy, said)
        return summed(found) | (self.judged(policy, loss) if whole else {})

    def deployed(self, policy: nn.Module, said: Sequence[Completion]) -> dict[str, np.ndarray]:
        """What a policy writes to the prompts alone.

        Returns:
            ``value``, the win rate over the drafts, and of these ``value_draft`` over the first and ``value_other``
            over the others; ``value_sentiment``, by a judge without the cycle; ``reward``, VADER's compound score,
            :data:`~experiments.smol.world.MALFORMED` of what is malformed, and ``reward_gained``, how much more that
            is than the drafts'; ``kl``, nats an answer; ``length``, words; ``malformed`` and the styles, shares.
        """
        kinds = self.kinds(said)
        usual = np.mean([[kind.sentiment for kind in column] for column in self.met], axis=0)
        return {
            "value": self._wins(kinds, range(DRAFTS)),
            "value_draft": self._wins(kinds, [0]),
            "value_other": self._wins(kinds, range(1, DRAFTS)),
            "reward_gained": np.array([kind.sentiment for kind in kinds]) - usual,
            "value_sentiment": self._wins(kinds, range(DRAFTS), replace(self.judge, cycle=0.0)),
            "reward": np.array([kind.sentiment for kind in kinds]),
            "kl": kl(policy, self.reference, self.talk, self._heads(), said).numpy(),
            "length": np.array([kind.length for kind in kinds], dtype=float),
            "malformed": np.array([kind.sentiment == MALFORMED for kind in kinds], dtype=float),
            **{name: np.array([kind.style == name for kind in kinds], dtype=float) for name in STYLES},
        }

    def reviser(self, policy: nn.Module, said: Sequence[Completion]) -> dict[str, np.ndarray]:
        """What a policy writes in view of the first draft.

        Args:
            policy: in evaluation mode.
            said: what it writes to the prompts alone.

        Returns:
            ``revised``, the win rate of revisions over their draft; ``gained``, how much more that is than the deployed
            policy's over the same draft; ``revised_other``, the win rate over the other drafts; ``revised_malformed``.
        """
        kinds = self.kinds(self._said(policy, "revision", self.drafts[0]))
        revised = self._wins(kinds, [0])
        return {
            "revised": revised,
            "gained": revised - self._wins(self.kinds(said), [0]),
            "revised_other": self._wins(kinds, range(1, DRAFTS)),
            "revised_malformed": np.array([kind.sentiment == MALFORMED for kind in kinds], dtype=float),
        }

    def judged(self, policy: nn.Module, loss: PreferenceLoss) -> dict[str, float]:
        """How well the margin says which of two answers of the reference is preferred, as :func:`judgment` has it."""
        unlike = [pair for pair in self.pairs if pair.responses[0].tokens != pair.responses[1].tokens]
        texts = [(pair.prompt, *pair.responses) for pair in unlike]
        pairs = [PreferencePair(self.talk.prompt(x), self._whole(y), self._whole(z)) for x, y, z in texts]
        needed = loss.reference_requests()
        asked = [request for request in needed if request not in self.scored]
        if asked:
            self.scored.update(logps(self.reference, self.talk.separator, pairs, asked))
        own = logps(policy, self.talk.separator, pairs, loss.requests())
        margin = log_odds(loss, pairs, own, {request: self.scored[request] for request in needed})
        return judgment(margin, np.array([pair.log_odds for pair in unlike]))

    @cached_property
    def met(self) -> list[list[Kind]]:
        """What the judge sees of the drafts: :data:`DRAFTS` times N."""
        return [self.kinds(column) for column in self.drafts]

    def kinds(self, said: Sequence[Completion]) -> list[Kind]:
        """What the judge sees of answers."""
        return [self.talk.kind(one) for one in said]

    def _wins(self, kinds: Sequence[Kind], against: Sequence[int], judge: Judge | None = None) -> np.ndarray:
        """(N,) P(answer > draft), exact for each pair of texts, over some drafts of its prompt."""
        judge = judge or self.judge
        columns = [self.met[number] for number in against]
        return np.array(
            [
                np.mean([judge.probability(kind, column[place]) for column in columns])
                for place, kind in enumerate(kinds)
            ]
        )

    def _heads(self) -> list[tuple[int, ...]]:
        return [self.talk.prompt(prompt) for prompt in self.prompts]

    def _said(self, policy: nn.Module, what: str, drafts: Sequence[Completion] | None = None) -> list[Completion]:
        asked = self._heads()
        if drafts is not None:
            asked = [self.talk.revision(prompt, draft) for prompt, draft in zip(self.prompts, drafts, strict=True)]
        return respond(policy, self.talk, asked, f"{SEED}/{self.seed}/{what}")

    def _whole(self, answer: Completion) -> tuple[int, ...]:
        """As training has it: with an end, also where it was cut off."""
        return (*answer.text_tokens, self.talk.end)

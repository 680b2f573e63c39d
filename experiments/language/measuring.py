"""What a policy is worth: three questions about one policy, which are never mixed.

    deployed   pi(. | x) against a fresh response of the reference
    reviser    pi(. | x, draft) against that draft, and against an independent response of the reference
    judge      sigma(margin) as a preference between two responses of the reference that it was not trained on

Policies that share reference and data seed are measured on the same prompts, the same responses of the reference and
the same random numbers, so that their differences have small errors; another seed has others, so that the spread over
seeds has all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from experiments.language.pairs import Drawn, draw_pairs
from experiments.language.samples import Words, kl, logps, prompts, respond
from experiments.language.world import MALFORMED, Judge, Kind, Prompt
from inspo.pairs import PreferencePair
from inspo.preference_loss import PreferenceLoss
from scaled.generation.interface import Completion

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
        drafts: N responses of the reference, which a reviser sees and all answers meet.
        others: N more, which nobody sees.
        pairs: N pairs of the reference's responses, for the judge.
        seed: of all of these, and of what policies write.
    """

    reference: nn.Module
    words: Words
    judge: Judge
    prompts: Sequence[Prompt]
    drafts: Sequence[Completion]
    others: Sequence[Completion]
    pairs: Sequence[Drawn]
    seed: int

    @classmethod
    def of(cls, reference: nn.Module, words: Words, judge: Judge, count: int, seed: int) -> Yardstick:
        """For a reference and a judge, on so many prompts and pairs that a seed decides."""
        asked = prompts(count, SEED, seed)
        heads = [words.prompt(prompt) for prompt in asked]
        drafts, others = (respond(reference, words, heads, f"{SEED}/{seed}/{what}") for what in ("draft", "other"))
        return cls(
            reference,
            words,
            judge,
            asked,
            drafts,
            others,
            draw_pairs(reference, words, judge, count, SEED, seed, 1),
            seed,
        )

    def wins(self, said: Sequence[Completion], against: Sequence[Completion], judge: Judge | None = None) -> np.ndarray:
        """(N,) P(said > against), exact for each pair of responses."""
        judge = judge or self.judge
        return np.array(
            [
                judge.probability(prompt.topic, self.words.kind(prompt, one), self.words.kind(prompt, other))
                for prompt, one, other in zip(self.prompts, said, against, strict=True)
            ]
        )

    def kinds(self, said: Sequence[Completion]) -> list[Kind]:
        """What the judge sees of responses to the prompts."""
        return [self.words.kind(prompt, one) for prompt, one in zip(self.prompts, said, strict=True)]

    def measure(self, policy: nn.Module, loss: PreferenceLoss) -> dict[str, float]:
        """All numbers of one policy.

        Args:
            policy: in evaluation mode, on tree attention.
            loss: that it was trained by, whose margin is its judgment.

        Returns:
            Means, each with its standard error as ``NAME_se``:

            - ``value``: win rate of the deployed policy over the drafts; ``value_even_length``: by a judge without a
              taste for length; ``kl``, nats a response; ``length``, words; ``malformed``, share; ``quality``;
            - ``revised``: win rate of revisions over their draft; ``gained``: how much more that is than the deployed
              policy's over the same drafts; ``revised_other``: win rate of revisions over independent responses;
              ``revised_length``, words;
            - ``agrees``: accuracy of the margin's sign against the likelier label; ``log_loss``: nats a pair of
              sigma(margin) under the true preference; ``log_loss_best``: that of the truth.
        """
        heads = [self.words.prompt(prompt) for prompt in self.prompts]
        said = respond(policy, self.words, heads, f"{SEED}/{self.seed}/answer")
        kinds, value = self.kinds(said), self.wins(said, self.drafts)
        found = {
            "value": value,
            "value_even_length": self.wins(said, self.drafts, replace(self.judge, length=0.0)),
            "kl": kl(policy, self.reference, self.words, heads, said).numpy(),
            "length": np.array([kind.length for kind in kinds], dtype=float),
            "malformed": np.array([kind.quality == MALFORMED for kind in kinds], dtype=float),
            "quality": np.array([kind.quality for kind in kinds]),
        }
        drafted = [self.words.revision(p, draft) for p, draft in zip(self.prompts, self.drafts, strict=True)]
        revisions = respond(policy, self.words, drafted, f"{SEED}/{self.seed}/revision")
        revised = self.wins(revisions, self.drafts)
        found |= {
            "revised": revised,
            "gained": revised - value,
            "revised_other": self.wins(revisions, self.others),
            "revised_length": np.array([kind.length for kind in self.kinds(revisions)], dtype=float),
        }
        return _summed(found | self.judged(policy, loss))

    def judged(self, policy: nn.Module, loss: PreferenceLoss) -> dict[str, np.ndarray]:
        """How well the margin that a loss compares says which response is preferred, pair by pair."""
        pairs = [
            PreferencePair(self.words.prompt(pair.prompt), pair.responses[0].tokens, pair.responses[1].tokens)
            for pair in self.pairs
        ]
        lengths = torch.tensor([[len(response.tokens) for response in pair.responses] for pair in self.pairs])
        terms = loss.terms(
            logps(policy, self.words, pairs, loss.requests()),
            logps(self.reference, self.words, pairs, loss.reference_requests()) if loss.reference_requests() else None,
            chosen_length=lengths[:, 0],
            rejected_length=lengths[:, 1],
        )
        chosen, rejected = loss.scores(terms)
        margin = ((chosen - rejected) * scale(loss)).numpy()
        truth = np.array([pair.log_odds for pair in self.pairs])
        return {
            "agrees": np.where(truth == 0, 0.5, (margin > 0) == (truth > 0)).astype(float),
            "log_loss": _cross_entropy(truth, margin),
            "log_loss_best": _cross_entropy(truth, truth),
        }


def scale(loss: PreferenceLoss) -> float:
    """What turns what a method compares into nats of log-odds: beta, and for IPO 4 tau about even preferences.

    IPO's margin is (2 P - 1) / (2 tau) at its minimum, and 4 (P - 1/2) the log-odds near 1/2. Methods whose score has
    no unit of log-odds have 1.
    """
    given = loss.hyperparameters
    return float(given.get("beta", 4 * given["tau"] if "tau" in given else 1.0))


def _cross_entropy(truth: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """Of sigma(margin) under labels with log-odds `truth`, nats."""
    p = 1 / (1 + np.exp(-truth))
    return np.asarray(p * np.logaddexp(0, -margin) + (1 - p) * np.logaddexp(0, margin))


def _summed(found: dict[str, np.ndarray]) -> dict[str, float]:
    """Means and their standard errors, by name."""
    numbers = {}
    for name, values in found.items():
        numbers[name] = float(np.mean(values))
        numbers[f"{name}_se"] = float(np.std(values, ddof=1) / len(values) ** 0.5)
    return numbers

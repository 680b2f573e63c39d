"""What a policy is worth: three questions about one policy, which are never mixed.

    deployed   pi(. | x) against a fresh response of the reference
    reviser    pi(. | x, draft) against that draft, and against an independent response of the reference
    judge      sigma(margin) as a preference between two responses that it was not trained on, and for choosing

Policies that share reference and data seed are measured on the same prompts, the same responses of the reference and
the same random numbers, so that their differences have small errors; another seed has others, so that the spread over
seeds has all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy.optimize import minimize
from torch import nn

from experiments.language.pairs import Drawn, draw_pairs
from experiments.language.samples import Words, kl, logps, prompts, respond
from experiments.language.world import MALFORMED, Judge, Kind, Prompt, Writer
from experiments.policies import held, judgment, log_odds, summed
from inspo.pairs import PreferencePair
from inspo.preference_loss import PreferenceLoss
from scaled.generation.interface import Completion

SEED = 1_000_003
"""Of everything that measures; no data has it."""

CANDIDATES = 8
CHOOSING = 96
"""Prompts with candidates to choose from: fewer, since each has 36 pairs."""

ABLE = Writer(mentions=0.9, strays=0.05, marks=0.9, fills=0.9)
"""Writes better and longer than the reference ever does: comparators that no training saw."""

Margins = Callable[[Sequence[PreferencePair]], np.ndarray]
"""A judge: (pairs,) log-odds of the chosen response, nats."""


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
        able: N responses by :data:`ABLE`.
        candidates: :data:`CANDIDATES` responses of the reference to each of the first :data:`CHOOSING` prompts.
        seed: of all of these, and of what policies write.
    """

    reference: nn.Module
    words: Words
    judge: Judge
    prompts: Sequence[Prompt]
    drafts: Sequence[Completion]
    others: Sequence[Completion]
    pairs: Sequence[Drawn]
    able: Sequence[Completion]
    candidates: Sequence[Sequence[Completion]]
    seed: int

    @classmethod
    def of(cls, reference: nn.Module, words: Words, judge: Judge, count: int, seed: int) -> Yardstick:
        """For a reference and a judge, on so many prompts and pairs that a seed decides."""
        asked = prompts(count, SEED, seed)
        heads = [words.prompt(prompt) for prompt in asked]
        drafts, others = (respond(reference, words, heads, f"{SEED}/{seed}/{what}") for what in ("draft", "other"))
        rng = np.random.default_rng([SEED, seed, 2])
        able = [words.completion(ABLE.write(rng, prompt)) for prompt in asked]
        columns = [
            respond(reference, words, heads[:CHOOSING], f"{SEED}/{seed}/candidate {number}")
            for number in range(CANDIDATES)
        ]
        pairs = draw_pairs(reference, words, judge, count, SEED, seed, 1)
        return cls(reference, words, judge, asked, drafts, others, pairs, able, list(zip(*columns, strict=True)), seed)

    def wins(self, said: Sequence[Completion], against: Sequence[Completion], judge: Judge | None = None) -> np.ndarray:
        """P(said > against), exact for each pair of responses to the first prompts, as many as there are answers."""
        judge = judge or self.judge
        return np.array(
            [
                judge.probability(self.words.kind(prompt, one), self.words.kind(prompt, other))
                for prompt, one, other in zip(self.prompts, said, against, strict=False)
            ]
        )

    def kinds(self, said: Sequence[Completion]) -> list[Kind]:
        """What the judge sees of responses to the prompts."""
        return [self.words.kind(prompt, one) for prompt, one in zip(self.prompts, said, strict=False)]

    def answers(self, policy: nn.Module) -> list[Completion]:
        """What a policy, in evaluation mode, writes to the prompts alone."""
        return self._said(policy, "answer")

    def deployed(self, policy: nn.Module, said: Sequence[Completion]) -> dict[str, float]:
        """What a policy's :meth:`answers` are worth.

        Returns:
            Means, each with its standard error as ``NAME_se``: ``value``, the win rate over the drafts;
            ``value_even_length``, by a judge without a taste for length; ``kl``, nats a response; ``length``, words;
            ``malformed``, share; ``quality``. And of what may be done where that judge is not at hand:
            ``value_strata`` and ``value_lc``, see :func:`stratified` and :func:`length_controlled`.
        """
        kinds, value = self.kinds(said), self.wins(said, self.drafts)
        lengths = np.array([kind.length for kind in kinds], dtype=float)
        drafts, others = (np.array([kind.length for kind in self.kinds(each)]) for each in (self.drafts, self.others))
        found = {
            "value": value,
            "value_even_length": self.wins(said, self.drafts, replace(self.judge, length=0.0)),
            "kl": kl(policy, self.reference, self.words, self._heads(), said).numpy(),
            "length": lengths,
            "malformed": np.array([kind.quality == MALFORMED for kind in kinds], dtype=float),
            "quality": np.array([kind.quality for kind in kinds]),
        }
        return summed(found) | {
            "value_strata": stratified(value, lengths - drafts, others - drafts),
            "value_lc": length_controlled(value, lengths - drafts, float(np.std(others - drafts))),
        }

    def reviser(self, policy: nn.Module, answers: Sequence[Completion]) -> dict[str, float]:
        """What a policy writes in view of a response, beside its :meth:`answers`.

        Returns:
            Means, each with its standard error: ``revised``, the win rate of revisions over their draft; ``gained``,
            how much more that is than the deployed policy's over the same drafts; ``revised_other``, the win rate of
            revisions over independent responses; ``revised_length``, words; and in view of responses by
            :data:`ABLE`, ``revised_able`` and ``gained_able``.
        """
        revisions, over_able = (self._said(policy, "revision", drafts) for drafts in (self.drafts, self.able))
        revised, revised_able = self.wins(revisions, self.drafts), self.wins(over_able, self.able)
        return summed(
            {
                "revised": revised,
                "gained": revised - self.wins(answers, self.drafts),
                "revised_other": self.wins(revisions, self.others),
                "revised_length": np.array([kind.length for kind in self.kinds(revisions)], dtype=float),
                "revised_able": revised_able,
                "gained_able": revised_able - self.wins(answers, self.able),
            }
        )

    def judged(self, margins: Margins) -> dict[str, float]:
        """How well a judge says which of two responses of the reference is preferred, as :func:`judgment` has it."""
        triples = [(pair.prompt, *pair.responses) for pair in self.pairs]
        return judgment(self._judged(margins, triples), np.array([pair.log_odds for pair in self.pairs]))

    def ranked(self, margins: Margins) -> dict[str, float]:
        """What a judge is good for beyond pairs like those it was trained on.

        Returns:
            Means, each with its standard error: ``able_agrees``, ``able_margin``, ``able_log_loss`` and
            ``able_log_loss_best``, as :meth:`judged`, between a response of the reference and one by :data:`ABLE`;
            ``best_of_2`` and ``best_of_8``, the win rate over independent responses of the candidate that it prefers
            most often to the others; ``counter_of_8``, that over the draft of the candidate that it likes best
            against this draft; and what the true judge's choices have: ``best_of_8_best``, ``counter_of_8_best``.
        """
        able = list(zip(self.prompts, self.others, self.able, strict=True))
        found = {
            f"able_{name}": values for name, values in held(self._judged(margins, able), self._truth(able)).items()
        }
        games = [
            (prompt, one, other)
            for prompt, said in zip(self.prompts, self.candidates, strict=False)
            for one, other in combinations(said, 2)
        ]
        counters = [
            (prompt, one, draft)
            for prompt, said, draft in zip(self.prompts, self.candidates, self.drafts, strict=False)
            for one in said
        ]
        for name, judge in (("", self._judged(margins, games)), ("_best", self._truth(games))):
            table = _borda(_sigmoid(judge), len(self.candidates))
            found[f"best_of_{CANDIDATES}{name}"] = self._chosen(table.argmax(1), self.others)
            if not name:
                first = _sigmoid(judge).reshape(len(self.candidates), -1)[:, 0]
                found["best_of_2"] = self._chosen((first < 0.5).astype(int), self.others)
        for name, judge in (("", self._judged(margins, counters)), ("_best", self._truth(counters))):
            choice = judge.reshape(-1, CANDIDATES).argmax(1)
            found[f"counter_of_{CANDIDATES}{name}"] = self._chosen(choice, self.drafts)
        return summed(found)

    def margins_of(self, policy: nn.Module, loss: PreferenceLoss) -> Margins:
        """The judge that a policy is: the margin that its loss compares, the first response in the chosen one's place.

        Args:
            policy: in evaluation mode, on tree attention.
            loss: that it was trained by.
        """

        def judge(pairs: Sequence[PreferencePair]) -> np.ndarray:
            needed = loss.reference_requests()
            return log_odds(
                loss,
                pairs,
                logps(policy, self.words, pairs, loss.requests()),
                logps(self.reference, self.words, pairs, needed) if needed else None,
            )

        return judge

    def _heads(self) -> list[tuple[int, ...]]:
        return [self.words.prompt(prompt) for prompt in self.prompts]

    def _said(self, policy: nn.Module, what: str, drafts: Sequence[Completion] | None = None) -> list[Completion]:
        asked = self._heads()
        if drafts is not None:
            asked = [self.words.revision(p, draft) for p, draft in zip(self.prompts, drafts, strict=True)]
        return respond(policy, self.words, asked, f"{SEED}/{self.seed}/{what}")

    def _judged(self, margins: Margins, triples: Sequence[tuple[Prompt, Completion, Completion]]) -> np.ndarray:
        """What a judge says of pairs; equal responses, of which no pair can be made, are even."""
        found = np.zeros(len(triples))
        unlike = [place for place, (_, one, other) in enumerate(triples) if one.tokens != other.tokens]
        asked = [triples[place] for place in unlike]
        found[unlike] = margins(
            [PreferencePair(self.words.prompt(p), one.tokens, other.tokens) for p, one, other in asked]
        )
        return found

    def _truth(self, triples: Sequence[tuple[Prompt, Completion, Completion]]) -> np.ndarray:
        kind = self.words.kind
        return np.array([self.judge.log_odds(kind(p, one), kind(p, other)) for p, one, other in triples])

    def _chosen(self, choice: np.ndarray, against: Sequence[Completion]) -> np.ndarray:
        said = [options[place] for options, place in zip(self.candidates, choice, strict=True)]
        return self.wins(said, against)


def stratified(value: np.ndarray, difference: np.ndarray, usual: np.ndarray) -> float:
    """A mean in strata of length, each as heavy as it is for the reference, so that no policy gains by length alone.

    Args:
        value: (N,) of answers.
        difference: (N,) words more than what they met.
        usual: (N,) the same of the reference's answers; the strata are its thirds.

    Returns:
        The mean; strata that the answers never reach are left out of both.
    """
    edges = np.quantile(usual, (1 / 3, 2 / 3))
    ours, theirs = np.digitize(difference, edges), np.digitize(usual, edges)
    reached = [stratum for stratum in range(3) if (ours == stratum).any()]
    weights = np.array([(theirs == stratum).mean() for stratum in reached])
    return float(weights @ [value[ours == stratum].mean() for stratum in reached] / weights.sum())


def length_controlled(value: np.ndarray, difference: np.ndarray, spread: float) -> float:
    """The win rate that answers as long as what they met would have, as AlpacaEval 2 has it (Dubois et al. 2024).

    A logistic regression of the win rate on tanh of the difference in length, in the reference's standard deviations,
    read where that is zero. AlpacaEval's term for an instruction's difficulty, which is fitted over many models, is
    not there.

    Args:
        value: (N,) win rates.
        difference: (N,) words more than what they met.
        spread: the standard deviation of that for the reference.
    """
    longer = np.tanh(difference / spread)

    def cost(given: np.ndarray) -> float:
        log_odds = given[0] + given[1] * longer
        return float(np.mean(np.logaddexp(0, log_odds) - value * log_odds))

    return float(_sigmoid(minimize(cost, np.zeros(2)).x[0]))


def _borda(wins: np.ndarray, prompts: int) -> np.ndarray:
    """(prompts, candidates) summed win probabilities, from those of each pair in the order of combinations."""
    table = np.zeros((prompts, CANDIDATES))
    for (one, other), probability in zip(combinations(range(CANDIDATES), 2), wins.reshape(prompts, -1).T, strict=True):
        table[:, one] += probability
        table[:, other] += 1 - probability
    return table


def _sigmoid(log_odds: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-log_odds)))

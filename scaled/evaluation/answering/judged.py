"""The best of several candidates by a judge: each against each, in both orders.

A candidate's score is its mean points over the others, its Borda count, as the margin's is the mean of its margins. A
knockout would ask 2 (n - 1) times in place of n (n - 1), but its winner depends on who meets whom where verdicts are
noisy or run in circles. Equal texts are a tie without being asked about, and so is an unreadable verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

from scaled.evaluation.benchmarks import pairwise
from scaled.evaluation.benchmarks.base import JudgeRequest
from scaled.evaluation.judging.budget import Budget
from scaled.evaluation.judging.client import ask
from scaled.evaluation.judging.endpoint import Judge
from scaled.evaluation.judging.store import Store
from scaled.generation.interface import Completion
from scaled.generation.ways import Choice


@dataclass(frozen=True, eq=False)
class Judged:
    """Scores choices, see :data:`scaled.generation.ways.TogetherChooser`.

    Attributes:
        model: what the answers call it.
        text: what a completion says.
        judge: who is asked.
        store: what it has answered.
        budget: what it may cost.
    """

    model: str
    text: Callable[[Completion], str]
    judge: Judge
    store: Store
    budget: Budget

    def __call__(self, choices: Sequence[Choice]) -> list[list[float]]:
        """Points from 0 to 1 of each choice's candidates.

        Raises:
            UserError: as `ask` has them.
        """
        texts = [[self.text(completion) for completion in choice.found] for choice in choices]
        games = [self._games(choice, said) for choice, said in zip(choices, texts, strict=True)]
        ask([request for each in games for request in each.values()], self.store, self.judge, budget=self.budget)
        return [self._scores(said, each) for said, each in zip(texts, games, strict=True)]

    def _games(self, choice: Choice, texts: Sequence[str]) -> dict[tuple[str, str], JudgeRequest]:
        """Both orders of every two different texts."""
        turns = [f"{turn['role']}: {turn['content']}" for turn in choice.asked.messages]
        prompt = "\n\n".join(turns) if len(turns) > 1 else str(choice.asked.messages[0]["content"])
        games = {}
        for (i, first), (j, second) in permutations(enumerate(dict.fromkeys(texts)), 2):
            values = {"prompt": prompt, "answer_a": first, "answer_b": second}
            message = {"role": "user", "content": pairwise.filled(pairwise.PAIRS_PROMPT, values)}
            part = f"text {i} before {j}"
            games[first, second] = JudgeRequest(choice.asked.key, self.model, part, (message,), pairwise.OPTIONS)
        return games

    def _scores(self, texts: Sequence[str], games: dict[tuple[str, str], JudgeRequest]) -> list[float]:
        second = {pair: self._second(request) for pair, request in games.items()}
        scores = []
        for place, text in enumerate(texts):
            others = [other for index, other in enumerate(texts) if index != place]
            points = [0.5 if other == text else (1 - second[text, other] + second[other, text]) / 2 for other in others]
            scores.append(sum(points) / max(1, len(points)))
        return scores

    def _second(self, request: JudgeRequest) -> float:
        """Points of the text that is shown second."""
        said = self.store.judgment((request.key(self.judge.name), self.judge.endpoint)).text
        points = pairwise.points(pairwise.PARTS[0], said)
        return 0.5 if points is None else points

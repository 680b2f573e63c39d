"""Who says which of two responses is preferred: a reward model, the policy's own margin, an endpoint, or a function.

Each gives P(the first is preferred) of every pair that is to be judged, None where it gave no verdict.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from inspo.command_line import UserError, one_line
from scaled.data.messages import Message
from scaled.evaluation.answering.progress_file import ProgressFile
from scaled.evaluation.benchmarks import pairwise
from scaled.evaluation.benchmarks.base import Answer, JudgeRequest, Question
from scaled.evaluation.judging.budget import Budget, Tokens
from scaled.evaluation.judging.client import ask
from scaled.evaluation.judging.options import judge_of
from scaled.evaluation.judging.store import Store, read
from scaled.generation.margins import Margins, scale
from scaled.generation.policy import Policy, load_model
from scaled.generation.rewards import RewardModel
from scaled.generation.ways import as_response
from scaled.model.loading import load_architecture
from scaled.online.config import OnlineConfig
from scaled.online.sampling import Actor, Drawn, finished
from scaled.progress import progress
from scaled.training.callbacks import load_function

Preference = Callable[[Any, str, str], float]
"""Of a prompt (its text, or its messages where they are more than one turn of the user's) and two responses: the
probability that the first one is preferred."""
Verdicts = list[list[float | None]]
"""For each prompt, for each of its pairs."""
Judge = Callable[[Actor, Sequence[Drawn], Path], Verdicts]
"""Of the policy that wrote, what it wrote, and a file to keep progress in."""


def judge_by(name: str, config: OnlineConfig, first: Policy) -> Judge:
    """The judge of a name, as far as it can be tried before there is anything to judge.

    Args:
        name: ``reward``, ``margin``, ``endpoint``, or ``module:function``.
        config: says the rest.
        first: the first policy.

    Raises:
        UserError: there is no such judge, or it cannot be used.
    """
    if name == "reward":
        _with_our_keys(lambda: RewardModel(str(config.reward_model), str, gpu=False, dtype=torch.float32))
        return by_reward(str(config.reward_model))
    if name == "margin":
        loss = (first.trained or config.options).preference_loss()
        if loss.reads.needs_reference and first.reference is not None:
            load_architecture(*first.reference)
        elif loss.reads.needs_reference:
            raise UserError(
                f"judge = margin: model = {config.model} was not trained by us, so that its margin has no reference; "
                "train it on labeled pairs first, and name that run's folder"
            )
        return by_margin(config)
    if name == "endpoint":
        return by_endpoint(config)
    if ":" not in name:
        raise UserError(f"judge = {name} must be reward, margin, endpoint, or module:function")
    return by_function(load_function(name, "judge"), name)


def by_function(preference: Preference, name: str = "the judge") -> Judge:
    """A judge that is known: a function of a prompt and two responses."""

    def of(one: Drawn) -> list[float]:
        found = []
        for i, j in one.pairs:
            said: Any = preference(_said(one.asked.messages), one.texts[i], one.texts[j])
            try:
                probability = float(said)
            except (TypeError, ValueError):
                probability = math.nan
            if not 0 <= probability <= 1:
                raise UserError(f"{name} gave {said!r} for {one.asked.key}: it must give a probability in [0, 1]")
            found.append(probability)
        return found

    return lambda _actor, drawn, path: _one_by_one(of, drawn, path)


def by_reward(source: str) -> Judge:
    """P = sigma(difference of rewards), by a reward model in a folder or on the hub."""

    def judge(actor: Actor, drawn: Sequence[Drawn], path: Path) -> Verdicts:
        @cache
        def model() -> RewardModel:
            return RewardModel(source, actor.policy.text, gpu=actor.gpu, dtype=actor.dtype)

        def of(one: Drawn) -> list[float]:
            rewards = model()(one.asked, one.found)
            return [_sigma(rewards[i] - rewards[j]) for i, j in one.pairs]

        return _one_by_one(of, drawn, path)

    return judge


def by_margin(config: OnlineConfig) -> Judge:
    """P = sigma(margin in nats of log-odds) of the policy that wrote: what its own training compared.

    Without a conditioning that is DPO's implicit reward.
    """

    def judge(actor: Actor, drawn: Sequence[Drawn], path: Path) -> Verdicts:
        policy, end = actor.policy, actor.policy.template.end_of_turn
        loss = (policy.trained or config.options).preference_loss()

        @cache
        def margins() -> Margins:
            reference = None
            if loss.reads.needs_reference and policy.reference is not None:
                reference = load_model(*policy.reference, gpu=actor.gpu, dtype=actor.dtype)
            return Margins(actor.model, loss, end, policy.separator(), policy.draft_cap(), reference)

        def of(one: Drawn) -> list[float]:
            responses = [as_response(each, end) for each in one.found]
            distinct = list(dict.fromkeys(responses))
            matrix = margins().matrix(one.asked.prompt, distinct) * scale(loss)
            places = [distinct.index(response) for response in responses]
            return [_sigma(float(matrix[places[i], places[j]])) for i, j in one.pairs]

        return _one_by_one(of, drawn, path)

    return judge


def by_endpoint(config: OnlineConfig) -> Judge:
    """The mean of both orders' verdicts, of a judge behind an OpenAI-compatible endpoint; every answer is kept.

    Raises:
        UserError: no key, no base URL, or the package `openai` is missing.
    """
    names = dict.fromkeys(("timeout", "attempts", "requests_per_minute", "tokens_per_minute"))
    given = {name: getattr(config, name) for name in ("endpoint", "key_variable", "in_flight")}
    given |= names | {"judge": config.judge_model, "timeout": 180.0, "attempts": 10}
    asked_one = _with_our_keys(lambda: judge_of(argparse.Namespace(**given)))

    def judge(_actor: Actor, drawn: Sequence[Drawn], path: Path) -> Verdicts:
        requests = [[_requests(one, i, j) for i, j in one.pairs] for one in drawn]
        flat = [request for pairs in requests for both in pairs for request in both]
        with Store(path.with_name(path.name.replace("progress", "judgments"))) as store:
            spent = Tokens(store.prompt_tokens, store.completion_tokens)
            budget = Budget(tokens=config.max_judge_tokens, spent=spent)
            _with_our_keys(lambda: ask(flat, store, asked_one, budget=budget))

            def points(both: Sequence[JudgeRequest]) -> float | None:
                said = [
                    (each.part, store.judgment((each.key(asked_one.name), asked_one.endpoint)).text) for each in both
                ]
                found = [point for part, text in said if (point := pairwise.points(part, text)) is not None]
                return sum(found) / len(found) if found else None

            return [[points(both) for both in pairs] for pairs in requests]

    return judge


def verdicts(judge: Judge, actor: Actor, drawn: Sequence[Drawn], path: Path) -> Verdicts:
    """What a judge says of every pair, from a file, which is made where it is not there."""

    def make(kept: Path) -> list[dict[str, Any]]:
        found = judge(actor, drawn, kept)
        return [
            {"key": one.asked.key, "pairs": one.pairs, "first_preferred": each}
            for one, each in zip(drawn, found, strict=True)
        ]

    return [line["first_preferred"] for line in finished(path, make)]


def judge_tokens(folder: Path) -> int:
    """What an endpoint took for the judgments in a folder."""
    kept = [line["answer"] for path in sorted(folder.glob("*.judgments.jsonl")) for line in read(path)]
    return sum(answer["prompt_tokens"] + answer["completion_tokens"] for answer in kept)


def _one_by_one(judge: Callable[[Drawn], list[float]], drawn: Sequence[Drawn], path: Path) -> Verdicts:
    """Prompt by prompt; what is in the file is not judged again."""
    by_key = {one.asked.key: one for one in drawn}
    found: Verdicts = []
    with ProgressFile(path) as kept, progress(len(drawn), "judge", "prompt") as bar:
        remembered = kept.remembered(lambda asked, _found: judge(by_key[asked.key]))
        for one in drawn:
            found.append(list(remembered(one.asked, one.found)) if one.pairs else [])
            bar.update()
    return found


def _requests(one: Drawn, i: int, j: int) -> list[JudgeRequest]:
    said = _said(one.asked.messages)
    text = said if isinstance(said, str) else "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in said)
    question = Question(f"{one.asked.key}, {i} and {j}", (text,))
    answer = Answer(question.name, "policy", (one.texts[i],))
    return pairwise.comparisons(pairwise.PAIRS_PROMPT, question, answer, one.texts[j])


def _said(messages: Sequence[Message]) -> Any:
    """A prompt as a judge is given it."""
    alone = len(messages) == 1 and messages[0]["role"] == "user"
    return messages[0]["content"] if alone else [dict(turn) for turn in messages]


def _with_our_keys(act: Callable[[], Any]) -> Any:
    """What it does; an option that it speaks of is a key here."""
    try:
        return act()
    except UserError as error:
        keys = {"--max-tokens": "max_judge_tokens"}
        text = re.sub(r"--[a-z-]+", lambda found: keys.get(found[0], found[0][2:].replace("-", "_")), one_line(error))
        raise UserError(text) from None


def _sigma(nats: float) -> float:
    return 0.5 * (1 + math.tanh(nats / 2))

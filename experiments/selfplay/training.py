"""One cell of self-play: draw, label, train by the trainer of ``scaled/``, measure, and again.

The rounds are those of :mod:`scaled.online`, with `labels: drawn` and `reference: previous`; they stand here by their
parts, since INPO's reference is none of a folder.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from experiments.language import training as language
from experiments.language.pairs import Drawn, write_records
from experiments.language.samples import Words, logps, prompts, respond
from experiments.language.training import configuration, load, yardstick
from experiments.language.world import Judge
from experiments.policies import labels, log_odds
from experiments.selfplay.cells import Cell
from experiments.selfplay.measuring import deployed
from inspo.conditioning import LogpRequest
from inspo.hf.rows import enable_tree_rows
from inspo.pairs import PreferencePair
from inspo.preference_loss import PreferenceLoss
from scaled.config import TrainConfig
from scaled.run.prepare import prepare_run
from scaled.run.run import assemble
from scaled.training.loop import train


@dataclass(frozen=True, eq=False)
class Reference:
    """What a round's policy is compared with: the geometric mean of the policy before it and the first one.

    INPO's loss is the squared difference of h(w, l) = log pi(w) / pi(l) - (tau / eta) log pi_1(w) / pi_1(l)
    - (1 - tau / eta) log pi_t(w) / pi_t(l) from 1 / (2 eta): IPO's, the log-probs of its reference being this mean's.

    Source: Zhang et al. 2024 (arXiv:2407.00617).

    Attributes:
        previous: pi_t, which the round starts from.
        first: pi_1.
        pull: tau / eta, the first policy's share; 0 leaves the previous one alone.
    """

    previous: nn.Module
    first: nn.Module
    pull: float

    def logps(
        self, words: Words, pairs: Sequence[PreferencePair], requests: Sequence[LogpRequest]
    ) -> dict[LogpRequest, Tensor]:
        """For each request (pairs,) float64, nats, up to what all responses to a prompt share."""
        previous = logps(self.previous, words, pairs, requests)
        return mixed(previous, logps(self.first, words, pairs, requests), self.pull) if self.pull else previous


def mixed(
    previous: Mapping[LogpRequest, Tensor], first: Mapping[LogpRequest, Tensor], pull: float
) -> dict[LogpRequest, Tensor]:
    """Log-probs of the geometric mean, see :class:`Reference`."""
    return {request: (1 - pull) * previous[request] + pull * first[request] for request in previous}


@dataclass(frozen=True, eq=False)
class Player:
    """A policy, in evaluation mode, and what it was trained by."""

    policy: nn.Module
    loss: PreferenceLoss
    reference: Reference

    def log_odds(self, words: Words, drawn: Sequence[Drawn]) -> np.ndarray:
        """(pairs,) its margins for the first of two responses, nats of log-odds."""
        pairs = [PreferencePair(words.prompt(p.prompt), p.responses[0].tokens, p.responses[1].tokens) for p in drawn]
        own = logps(self.policy, words, pairs, self.loss.requests())
        return log_odds(self.loss, pairs, own, self.reference.logps(words, pairs, self.loss.reference_requests()))


def reference_of(cell: Cell, work: Path) -> Path:
    """The folder of the first policy, which is the language world's, made where it is not there."""
    return language.reference_of(cell.training(), work.parent / "language")


def run(cell: Cell, work: Path) -> tuple[list[dict[str, float]], float]:
    """All rounds of a cell.

    Args:
        cell: what is run.
        work: folder for what is removed afterwards; the first policies are in the language world's, beside it.

    Returns:
        A point for each round, counted from 1 as ``round``; and seconds, without what cells share.

    Raises:
        ValueError: a round has no update's worth of pairs, such as of a policy that says one thing only.
    """
    folder = reference_of(cell, work)
    first, words = load(folder)
    measure = yardstick(folder, Judge(cycle=cell.cycle), cell.seed)
    started = time.monotonic()
    out = work / "runs" / cell.key()
    shutil.rmtree(out, ignore_errors=True)
    source, player, points = folder, None, []
    for number in range(1, cell.rounds + 1):
        policy = first if player is None else player.policy
        drawn = draw(policy, words, measure.judge, cell.training(number).pairs, cell.seed, number)
        judged = drawn
        if player is not None and cell.labeler == "margin":
            own = player.log_odds(words, drawn)
            judged = [replace(pair, log_odds=float(nats)) for pair, nats in zip(drawn, own, strict=True)]
        records = out / f"{number}.jsonl"
        write_records(records, words, drawn, labels(judged, cell.seed, number))
        config = configuration(cell.training(number), source, records, records.with_suffix(""))
        source, player = update(config, Reference(policy, first, cell.pull()), words)
        points.append({"round": number, "pairs": len(drawn), "agrees": agreement(drawn, judged)})
        points[-1] |= deployed(measure, player.policy)
    shutil.rmtree(out)
    return points, time.monotonic() - started


def agreement(drawn: Sequence[Drawn], judged: Sequence[Drawn]) -> float:
    """Share of pairs with a likelier label in which the labeler has the same one."""
    truth, said = (np.sign([pair.log_odds for pair in pairs]) for pairs in (drawn, judged))
    return float((truth == said)[truth != 0].mean())


def draw(policy: nn.Module, words: Words, judge: Judge, count: int, seed: int, number: int) -> list[Drawn]:
    """A round's pairs, of prompts that seed and round decide; without equal, empty and cut off ones, as there."""
    asked = prompts(count, seed, number)
    heads = [words.prompt(prompt) for prompt in asked]
    one, other = (respond(policy, words, heads, f"{seed}/round {number}/{place}") for place in range(2))
    return [
        Drawn(prompt, both, judge.log_odds(*(words.kind(prompt, said) for said in both)))
        for prompt, both in zip(asked, zip(one, other, strict=True), strict=True)
        if all(said.ended and said.text_tokens for said in both) and both[0].tokens != both[1].tokens
    ]


def update(config: TrainConfig, reference: Reference, words: Words) -> tuple[Path, Player]:
    """A round's training with a reference; the new policy's folder, and the policy."""
    ready = prepare_run(config)
    if not ready.plan.updates:
        raise ValueError(
            f"{config.data}: {len(ready.train)} pairs are less than one update's: the policy repeats itself"
        )
    training = assemble(config, ready)
    if reference.pull:
        examples = training.examples
        scored = reference.logps(words, examples.pairs, examples.layout.reference)
        scored = {request: values.float() for request, values in scored.items()}
        training = replace(training, examples=replace(examples, reference=scored))
    train(training)
    trained: Any = training.accelerator.unwrap_model(training.model)
    model = Path(config.out) / "model"
    trained.save_pretrained(model)
    words.tokenizer.save_pretrained(model)
    policy: Any = AutoModelForCausalLM.from_pretrained(model)
    enable_tree_rows(policy.eval())
    return model, Player(policy, training.loss, reference)

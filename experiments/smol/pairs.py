"""Answers of a reference, drawn once and kept, and preference pairs of them with the judge's labels."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.smol.samples import Talk, messages
from experiments.smol.world import Judge
from scaled.generation.interface import Completion


@dataclass(frozen=True)
class Drawn:
    """Two answers to one prompt, and what the judge thinks of them.

    Attributes:
        prompt: of both.
        responses: two.
        log_odds: of the first being preferred, nats.
    """

    prompt: str
    responses: tuple[Completion, Completion]
    log_odds: float


def kept(path: Path, make: Callable[[], Sequence[Completion]]) -> list[Completion]:
    """Answers from a file, which is written where it is not there; it appears whole or not at all."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}.new")
        fresh.write_text(json.dumps([[one.tokens, one.ended] for one in make()]) + "\n")
        fresh.replace(path)
    return [Completion(tuple(tokens), ended) for tokens, ended in json.loads(path.read_text())]


def judged(
    talk: Talk, judge: Judge, asked: Sequence[str], first: Sequence[Completion], second: Sequence[Completion]
) -> list[Drawn]:
    """Pairs of answers with the judge's log-odds."""
    return [
        Drawn(prompt, (one, other), judge.log_odds(talk.kind(one), talk.kind(other)))
        for prompt, one, other in zip(asked, first, second, strict=True)
    ]


def write_records(path: Path, talk: Talk, drawn: Sequence[Drawn], first_wins: Sequence[bool]) -> int:
    """Pairs as the trainer reads them; those with an answer that is no text are left out.

    Args:
        path: of the file.
        talk: the tokens.
        drawn: the pairs.
        first_wins: the label of each.

    Returns:
        How many were left out: an answer was empty or had a control token within, or both were the same text.
    """
    lines, control = [], set(talk.tokenizer.all_special_ids)
    for pair, wins in zip(drawn, first_wins, strict=True):
        texts = [talk.text(response).strip() for response in pair.responses]
        if all(texts) and texts[0] != texts[1] and all(control.isdisjoint(one.text_tokens) for one in pair.responses):
            chosen, rejected = texts if wins else texts[::-1]
            record = {"prompt": messages(pair.prompt), "chosen": chosen, "rejected": rejected}
            lines.append(json.dumps(record) + "\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8")
    return len(drawn) - len(lines)

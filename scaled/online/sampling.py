"""Responses of a policy to prompts, each with random numbers of its own; going on after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inspo.command_line import UserError
from inspo.conditioning import LogpRequest, Role
from inspo.hf.rows import request_logps
from inspo.pairs import PreferencePair
from inspo.prefix_tree import build_row, pack
from scaled.data.messages import Message
from scaled.evaluation.answering.progress_file import ProgressFile
from scaled.files import write_atomically
from scaled.generation.batching import TransformersBackend
from scaled.generation.interface import Completion, Settings
from scaled.generation.policy import Policy
from scaled.generation.ways import Asked, Steps, drive
from scaled.progress import progress

ROW_TOKENS = 4096
_OWN = LogpRequest(Role.CHOSEN)
Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Actor:
    """A policy whose weights are loaded when they are first needed.

    Attributes:
        policy: tokenizer, template and how it was trained.
        gpu: whether it is on the GPU.
        dtype: of its weights.
        slots: responses that it writes at once.
    """

    policy: Policy
    gpu: bool
    dtype: torch.dtype
    slots: int

    @cached_property
    def model(self) -> Any:
        """Its weights, in evaluation mode, scoring tree rows."""
        return self.policy.model(gpu=self.gpu, dtype=self.dtype)

    def asked(self, key: str, prompt: Sequence[Message], settings: Settings) -> Asked:
        """A prompt, with what its responses' random numbers depend on."""
        return Asked(key, tuple(prompt), self.policy.prompt(prompt), settings)


@dataclass(frozen=True)
class Drawn:
    """Responses to one prompt.

    Attributes:
        asked: the prompt.
        found: the responses.
        texts: what each says.
        pairs: places of two responses each that are to be judged against each other.
    """

    asked: Asked
    found: tuple[Completion, ...]
    texts: tuple[str, ...]
    pairs: Pairs = ()


def finished(path: Path, make: Callable[[Path], Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The lines of a file, which is made where it is not there, whole or not at all.

    Args:
        path: a file of one line of JSON each.
        make: its lines, given a file to keep progress in, which is removed afterwards.
    """
    kept = path.with_name(f"{path.stem}.progress.jsonl")
    if not path.is_file():
        lines = make(kept)
        write_atomically(path, "".join(f"{json.dumps(line)}\n" for line in lines))
    kept.unlink(missing_ok=True)
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except ValueError:
        raise UserError(f"{path}: is not as it was written; remove it to have it made again") from None


def draw(actor: Actor, asked: Sequence[Asked], count: int, path: Path) -> list[Drawn]:
    """So many responses to each prompt, from a file, which is made where it is not there."""

    def make(progress_file: Path) -> list[dict[str, Any]]:
        backend = TransformersBackend(actor.model, actor.policy.ends, slots=actor.slots)
        found: dict[str, tuple[Completion, ...]] = {}
        total = len(asked) * count
        with ProgressFile(progress_file) as kept, progress(total, "generate", "response", len(kept)) as bar:

            def note(*written: Any) -> None:
                kept.note(*written)
                bar.update()

            talks = {one.key: _samples(one, count) for one in asked}
            found.update(drive(backend, talks, known=kept.known, note=note))
        return [_line(actor.policy, one, found[one.key]) for one in asked]

    lines = finished(path, make)
    if [line["key"] for line in lines] != [one.key for one in asked]:
        raise UserError(f"{path}: is of other prompts; remove it to have it made again")
    return [
        Drawn(
            one,
            tuple(Completion(tuple(each["tokens"]), each["ended"]) for each in line["responses"]),
            tuple(each["text"] for each in line["responses"]),
        )
        for one, line in zip(asked, lines, strict=True)
    ]


def _samples(asked: Asked, count: int) -> Steps[tuple[Completion, ...]]:
    found = yield [asked.request(f"sample {number}") for number in range(count)]
    return tuple(found)


def _line(policy: Policy, asked: Asked, found: Sequence[Completion]) -> dict[str, Any]:
    responses = [{"text": policy.text(each), "tokens": each.tokens, "ended": each.ended} for each in found]
    return {"key": asked.key, "prompt": asked.messages, "responses": responses}


def pairings(samples: int, count: int) -> Pairs:
    """The first pairs of so many responses, which share none as long as that is possible.

    >>> pairings(4, 3)
    ((0, 1), (2, 3), (0, 2))
    """
    every = [(i, j) for i in range(samples) for j in range(i + 1, samples)]
    return tuple(sorted(every, key=lambda pair: ((sum(pair) - 1) % samples, pair))[:count])


@torch.no_grad()
def response_logps(actor: Actor, drawn: Sequence[Drawn]) -> Tensor:
    """(prompts,) float64, log pi(y | x) of the first response to each, nats."""
    trees = []
    for one in drawn:
        response = one.found[0].tokens
        # The second response of a pair is not asked for; it only has to be another one.
        trees.append(build_row([PreferencePair(one.asked.prompt, response, (*response, 0))], [_OWN]))
    rows = pack(trees, max(ROW_TOKENS, *map(len, trees)), in_order=True)
    return torch.cat([request_logps(actor.model, row)[_OWN].double().cpu() for row in rows])

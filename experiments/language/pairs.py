"""Preference pairs of the language world: two responses of the reference, one label of the judge's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from experiments.language.samples import Words, prompts, respond
from experiments.language.world import Judge, Prompt
from scaled.generation.interface import Completion


@dataclass(frozen=True)
class Drawn:
    """Two responses to one prompt, and what the judge thinks of them.

    Attributes:
        prompt: of both.
        responses: two, which differ.
        log_odds: of the first being preferred, nats.
    """

    prompt: Prompt
    responses: tuple[Completion, Completion]
    log_odds: float


def draw_pairs(reference: nn.Module, words: Words, judge: Judge, count: int, *seed: int) -> list[Drawn]:
    """Pairs of responses drawn independently from the reference; equal ones are drawn again.

    Args:
        reference: in evaluation mode.
        words: its tokens.
        judge: whose preference it is.
        count: how many.
        seed: decides prompts and responses.
    """
    asked = prompts(count, *seed)
    heads = [words.prompt(prompt) for prompt in asked]
    key = "/".join(map(str, seed))
    first = respond(reference, words, heads, f"first/{key}")
    second = respond(reference, words, heads, f"second/{key}")
    again = 0
    while same := [place for place in range(count) if first[place].tokens == second[place].tokens]:
        again += 1
        drawn = respond(reference, words, [heads[place] for place in same], f"second/{key}/again {again}")
        for place, completion in zip(same, drawn, strict=True):
            second[place] = completion
    return [
        Drawn(
            prompt,
            (one, other),
            judge.log_odds(words.kind(prompt, one), words.kind(prompt, other)),
        )
        for prompt, one, other in zip(asked, first, second, strict=True)
    ]


def write_records(
    path: Path, words: Words, drawn: Sequence[Drawn], first_wins: Sequence[bool], *, unrelated: bool = False
) -> int:
    """Pairs as the trainer reads them; those with a response that is no text are left out.

    Args:
        path: of the file.
        words: the tokens.
        drawn: the pairs.
        first_wins: the label of each.
        unrelated: whether both responses follow another one, the first of the next pair and so to another prompt, laid
            out as a context is.

    Returns:
        How many were left out: a response was empty, had a control token within, or both differed in their end alone.
    """
    lines = []
    control = set(words.tokenizer.all_special_tokens)
    for place, (pair, wins) in enumerate(zip(drawn, first_wins, strict=True)):
        said = [words.text(response) for response in pair.responses]
        texts = [" ".join(each) for each in said]
        other = words.text(drawn[(place + 1) % len(drawn)].responses[0]) if unrelated else []
        if all(texts) and texts[0] != texts[1] and control.isdisjoint(said[0] + said[1] + other):
            chosen, rejected = texts if wins else texts[::-1]
            asked: Any = pair.prompt.text()
            if other:
                turns = (("user", asked), ("assistant", " ".join(other)))
                asked = [{"role": role, "content": content} for role, content in turns]
            lines.append(json.dumps({"prompt": asked, "chosen": chosen, "rejected": rejected}) + "\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))
    return len(drawn) - len(lines)

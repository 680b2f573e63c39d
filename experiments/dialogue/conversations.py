"""Conversations of a policy with the language's user: a prompt, a reply, what the user asks then, a second reply."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from experiments.language import samples
from experiments.language.samples import Words, prompts, respond
from experiments.language.world import Judge, Kind, Prompt, follow_up
from inspo.pairs import PreferencePair
from scaled.generation.interface import Completion


@dataclass(frozen=True)
class Conversation:
    """A response of two replies.

    Attributes:
        prompt: what is asked first.
        first: the reply.
        then: what the user asks next.
        second: the reply to that.
    """

    prompt: Prompt
    first: Completion
    then: Prompt
    second: Completion

    def parts(self, words: Words) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Tokens as training has them: a reply with its end, also where it was cut off, the turn between, a reply."""
        first, second = ((*reply.text_tokens, words.end) for reply in (self.first, self.second))
        return first, words.prompt(self.then), second

    def tokens(self, words: Words) -> tuple[int, ...]:
        """All of it behind the prompt."""
        return tuple(token for part in self.parts(words) for token in part)

    def texts(self, words: Words) -> tuple[list[str], list[str]]:
        """The words of both replies."""
        return words.text(self.first), words.text(self.second)

    def kind(self, words: Words) -> Kind:
        """What the judge sees: the mean of both replies' qualities, the style of the second, the words of both."""
        first, second = words.kind(self.prompt, self.first), words.kind(self.then, self.second)
        return Kind((first.quality + second.quality) / 2, second.style, first.length + second.length)


def converse(
    policy: nn.Module,
    words: Words,
    asked: Sequence[Prompt],
    key: str,
    *seed: int,
    drafts: Sequence[Conversation] | None = None,
) -> list[Conversation]:
    """One conversation on each prompt, at temperature 1.

    Args:
        policy: in evaluation mode.
        words: its tokens.
        asked: what each begins with.
        key: with its place, what the random numbers of its replies depend on.
        seed: of the user, who at each place asks for the same new things, whoever replies.
        drafts: of each prompt, a conversation that the policy sees before, as training lays it out; None for none.
    """
    heads = [words.prompt(prompt) for prompt in asked]
    if drafts is not None:
        heads = [(*head, *draft.tokens(words), *words.header) for head, draft in zip(heads, drafts, strict=True)]
    first = respond(policy, words, heads, f"{key}/first")
    then = [
        follow_up(np.random.default_rng([*seed, place]), prompt, words.text(reply))
        for place, (prompt, reply) in enumerate(zip(asked, first, strict=True))
    ]
    heads = [
        (*head, *reply.text_tokens, words.end, *words.prompt(more))
        for head, reply, more in zip(heads, first, then, strict=True)
    ]
    second = respond(policy, words, heads, f"{key}/second")
    return list(map(Conversation, asked, first, then, second))


def kl(policy: nn.Module, reference: nn.Module, words: Words, said: Sequence[Conversation]) -> Tensor:
    """(N,) KL(policy || reference) of conversations' replies, summed, see :func:`experiments.language.samples.kl`."""
    heads = [words.prompt(one.prompt) for one in said]
    parts = [one.parts(words) for one in said]
    later = [(*head, *first, *then) for head, (first, then, _) in zip(heads, parts, strict=True)]
    first, second = [one.first for one in said], [one.second for one in said]
    return samples.kl(policy, reference, words, heads, first) + samples.kl(policy, reference, words, later, second)


@dataclass(frozen=True)
class Drawn:
    """Two conversations on one prompt.

    Attributes:
        both: the two.
        log_odds: of the first being preferred, nats.
    """

    both: tuple[Conversation, Conversation]
    log_odds: float

    def pair(self, words: Words) -> PreferencePair:
        """In tokens, the first in the chosen one's place; what the user says in between is masked."""
        (one, other), spans = self.both, []
        for each in self.both:
            first, then, _ = each.parts(words)
            spans.append(((len(first), len(first) + len(then)),))
        return PreferencePair(
            words.prompt(one.prompt),
            one.tokens(words),
            other.tokens(words),
            chosen_masked=spans[0],
            rejected_masked=spans[1],
        )


def draw_pairs(reference: nn.Module, words: Words, judge: Judge, count: int, *seed: int) -> list[Drawn]:
    """Pairs of conversations drawn independently from the reference, but for pairs of equal ones.

    Args:
        reference: in evaluation mode.
        words: its tokens.
        judge: whose preference it is.
        count: how many are drawn.
        seed: decides prompts, replies and what the users ask.
    """
    asked, key = prompts(count, *seed), "/".join(map(str, seed))
    first, second = (
        converse(reference, words, asked, f"{which}/{key}", *seed, number)
        for number, which in enumerate(("first", "second"))
    )
    return [
        Drawn((one, other), judge.log_odds(one.kind(words), other.kind(words)))
        for one, other in zip(first, second, strict=True)
        if one.tokens(words) != other.tokens(words)
    ]


def write_records(path: Path, words: Words, drawn: Sequence[Drawn], first_wins: Sequence[bool]) -> int:
    """Pairs as the trainer reads them; those with a reply that is no text are left out.

    Returns:
        How many were left out: a reply was empty, or had a control token within.
    """
    lines = []
    control = set(words.tokenizer.all_special_tokens)
    for pair, wins in zip(drawn, first_wins, strict=True):
        said = [text for one in pair.both for text in one.texts(words)]
        if all(said) and control.isdisjoint(word for text in said for word in text):
            chosen, rejected = (_messages(one, words) for one in (pair.both if wins else pair.both[::-1]))
            row = {"prompt": pair.both[0].prompt.text(), "chosen": chosen, "rejected": rejected}
            lines.append(json.dumps(row) + "\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))
    return len(drawn) - len(lines)


def _messages(one: Conversation, words: Words) -> list[dict[str, str]]:
    first, second = (" ".join(text) for text in one.texts(words))
    turns = (("assistant", first), ("user", one.then.text()), ("assistant", second))
    return [{"role": role, "content": content} for role, content in turns]

"""Answers of a policy in the world of a real model, and their log-probs. Each has random numbers of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from experiments import policies
from experiments.smol.world import Kind, read
from inspo.hf.rows import causal_lm
from inspo.sequences import Separator
from scaled.data.messages import Message
from scaled.data.templates import Template
from scaled.data.tokens import prompt_tokens
from scaled.generation.batching import TransformersBackend
from scaled.generation.interface import Completion, Settings

MAX_TOKENS = 24
"""Of an answer, with its end."""

SLOTS = 64

PLAIN = Settings(max_tokens=MAX_TOKENS)
"""Temperature 1: the policy as it is."""

SYSTEM = "Be brief."
"""In place of the template's own system message, which is longer than most answers."""


def messages(prompt: str) -> list[Message]:
    """A prompt as a conversation."""
    return [Message(role="system", content=SYSTEM), Message(role="user", content=prompt)]


@dataclass(frozen=True, eq=False)
class Talk:
    """Token ids of conversations, as the tokenizer's chat template writes them."""

    tokenizer: PreTrainedTokenizerBase

    @cached_property
    def template(self) -> Template:
        """How conversations are written."""
        return Template.of(self.tokenizer)

    @cached_property
    def end(self) -> int:
        """What ends an answer."""
        return self.template.end_of_turn

    @cached_property
    def separator(self) -> Separator:
        """What stands between a context and the answer after it."""
        return Separator.parse("turn", header_tokens=self.template.header)

    def ids(self, text: str) -> tuple[int, ...]:
        """Of a text."""
        ids: Any = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return tuple(ids)

    def prompt(self, prompt: str) -> tuple[int, ...]:
        """A prompt with all that an answer follows."""
        return tuple(prompt_tokens(messages(prompt), self.tokenizer, self.template))

    def revision(self, prompt: str, draft: Completion) -> tuple[int, ...]:
        """A prompt and a draft with all that the next answer follows, as training lays them out."""
        return (*self.prompt(prompt), *draft.text_tokens, self.end, *self.template.header)

    def completion(self, text: str) -> Completion:
        """A text as if a policy had written it."""
        return Completion((*self.ids(text), self.end), ended=True)

    def text(self, completion: Completion) -> str:
        """An answer without its end."""
        return str(self.tokenizer.decode(list(completion.text_tokens)))

    def kind(self, completion: Completion) -> Kind:
        """What the judge sees of an answer; with a control token in it, it is malformed."""
        control = set(self.tokenizer.all_special_ids).intersection(completion.text_tokens)
        return read(self.text(completion), ended=completion.ended and not control)


class _Backend(TransformersBackend):
    """Without choices made anew alone where rounding could decide, which cost more than all else in so many words.

    So an answer may depend on those that are written beside it: the same requests always come together here.
    """

    def _tolerance(self, logits: Tensor) -> float:  # noqa: ARG002  # none for any logits
        return 0.0


def respond(
    model: nn.Module,
    talk: Talk,
    asked: Sequence[tuple[int, ...]],
    key: str,
    settings: Settings = PLAIN,
) -> list[Completion]:
    """One answer to each.

    Args:
        model: a policy in evaluation mode.
        talk: its tokens.
        asked: what each answer follows.
        key: with its place, what an answer's random numbers depend on.
        settings: temperature 1 unless told otherwise.
    """
    return policies.respond(_Backend(model, [talk.end], slots=SLOTS), asked, key, settings)


@torch.no_grad()
def kl(
    policy: nn.Module,
    reference: nn.Module,
    talk: Talk,
    asked: Sequence[tuple[int, ...]],
    said: Sequence[Completion],
    batch: int = 16,
) -> Tensor:
    """KL(policy || reference) of the answers that follow, estimated from the policy's own.

    At each token of an answer the divergence of the two distributions is exact; only where the answer goes is drawn.
    That has the expectation of the plain log-ratio and less variance.

    Args:
        policy: on plain or tree attention, in evaluation mode.
        reference: likewise.
        talk: their tokens.
        asked: what each answer follows.
        said: the policy's answers.
        batch: answers at once.

    Returns:
        (answers,) float64, nats an answer.
    """
    found = torch.zeros(len(asked), dtype=torch.float64)
    order = sorted(range(len(asked)), key=lambda place: (len(said[place].tokens), len(asked[place])))
    for start in range(0, len(order), batch):
        members = order[start : start + batch]
        before, after = (max(len(each[place]) for place in members) for each in (asked, [one.tokens for one in said]))
        tokens, seen = torch.full((2, len(members), before + after - 1), talk.end)
        seen.zero_()
        for row, place in enumerate(members):  # answers begin in one column
            first, answer = before - len(asked[place]), said[place].tokens[:-1]
            tokens[row, first : before + len(answer)] = torch.tensor((*asked[place], *answer))
            seen[row, first : before + len(answer)] = 1
        own, other = (
            causal_lm(model)(
                input_ids=tokens,
                attention_mask=seen,
                position_ids=(seen.cumsum(-1) - 1).clamp(min=0),
                logits_to_keep=after,
                use_cache=False,
            )
            .logits.float()
            .log_softmax(-1)
            for model in (policy, reference)
        )
        each = (own.exp() * (own - other)).sum(-1)
        found[members] = (each * seen[:, -after:]).double().sum(-1)
    return found

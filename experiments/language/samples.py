"""Responses of a policy in the language world, and their log-probs. Each has random numbers of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from experiments import policies
from experiments.language.world import Kind, Prompt, draw_prompt, read
from inspo.conditioning import LogpRequest
from inspo.pairs import PreferencePair
from inspo.sequences import Separator
from scaled.generation.batching import TransformersBackend
from scaled.generation.interface import Completion, Settings

MAX_TOKENS = 32
"""Of a response; the writer's longest has 16 words and an end."""

SLOTS = 128


@dataclass(frozen=True)
class Words:
    """Token ids of conversations, as the template writes them."""

    tokenizer: PreTrainedTokenizerBase

    def ids(self, words: Sequence[str]) -> tuple[int, ...]:
        """Of words."""
        ids: Any = self.tokenizer.convert_tokens_to_ids(list(words))
        return tuple(map(int, ids))

    @cached_property
    def header(self) -> tuple[int, ...]:
        """What opens the assistant's turn."""
        return self.ids(["<assistant>"])

    @cached_property
    def end(self) -> int:
        """What ends a turn."""
        return self.ids(["<end>"])[0]

    def prompt(self, prompt: Prompt) -> tuple[int, ...]:
        """A prompt with all that a response follows."""
        return self.ids(["<user>", *prompt.text().split(), "<end>", "<assistant>"])

    def revision(self, prompt: Prompt, draft: Completion) -> tuple[int, ...]:
        """A prompt and a draft with all that the next response follows, as training lays them out."""
        return (*self.prompt(prompt), *draft.tokens, *self.header)

    def completion(self, words: Sequence[str]) -> Completion:
        """A response of these words, as if a policy had written it."""
        return Completion((*self.ids(words), self.end), ended=True)

    def text(self, completion: Completion) -> list[str]:
        """The words of a response, without its end."""
        return [str(word) for word in self.tokenizer.convert_ids_to_tokens(list(completion.text_tokens))]

    def kind(self, prompt: Prompt, completion: Completion) -> Kind:
        """What the judge sees of a response."""
        return read(prompt, self.text(completion), ended=completion.ended)

    @property
    def separator(self) -> Separator:
        """What stands between a context and the response after it."""
        return Separator.parse("turn", header_tokens=self.header)


def prompts(count: int, *seed: int) -> list[Prompt]:
    """Prompts that a seed decides."""
    rng = np.random.default_rng(seed)
    return [draw_prompt(rng) for _ in range(count)]


def respond(model: nn.Module, words: Words, asked: Sequence[tuple[int, ...]], key: str) -> list[Completion]:
    """One response to each, at temperature 1.

    Args:
        model: a policy in evaluation mode.
        words: its tokens.
        asked: what each response follows.
        key: with its place, what a response's random numbers depend on.
    """
    backend = TransformersBackend(model, [words.end], slots=SLOTS)
    return policies.respond(backend, asked, key, Settings(max_tokens=MAX_TOKENS))


def logps(
    model: nn.Module, words: Words, pairs: Sequence[PreferencePair], requests: Sequence[LogpRequest]
) -> dict[LogpRequest, Tensor]:
    """Log-probs of pairs, as :func:`experiments.policies.logps`."""
    return policies.logps(model, words.separator, pairs, requests)


@torch.no_grad()
def kl(
    policy: Any, reference: Any, words: Words, asked: Sequence[tuple[int, ...]], said: Sequence[Completion]
) -> Tensor:
    """KL(policy || reference) of the responses that follow, estimated from the policy's own.

    At each token of a response the divergence of the two distributions is exact; only where the response goes is drawn.
    That has the expectation of the plain log-ratio and less variance.

    Args:
        policy: on plain or tree attention, in evaluation mode.
        reference: likewise.
        words: their tokens.
        asked: what each response follows.
        said: the policy's responses.

    Returns:
        (responses,) float64, nats a response.
    """
    found = torch.zeros(len(asked), dtype=torch.float64)
    order = sorted(range(len(asked)), key=lambda place: len(asked[place]) + len(said[place].tokens))
    for start in range(0, len(order), SLOTS):
        members = order[start : start + SLOTS]
        sequences = [(*asked[place], *said[place].tokens[:-1]) for place in members]
        width = max(map(len, sequences))
        tokens, seen = torch.full((len(members), width), words.end), torch.zeros(len(members), width, dtype=torch.bool)
        for row, (place, sequence) in enumerate(zip(members, sequences, strict=True)):
            tokens[row, : len(sequence)] = torch.tensor(sequence)
            seen[row, len(asked[place]) - 1 : len(sequence)] = True
        own, other = (model(input_ids=tokens).logits.double().log_softmax(-1) for model in (policy, reference))
        each = (own.exp() * (own - other)).sum(-1)
        found[members] = (each * seen).sum(-1)
    return found

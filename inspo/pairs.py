"""A preference pair in tokens, and what a loss needs to know of a batch of pairs.

Shapes: B pairs. Any common shape works, since every loss is elementwise; the toy uses (N, K, K).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor

Span = tuple[int, int]
"""First and past-the-last of some tokens in a row."""


def next_others(prompts: Sequence[Any]) -> list[int]:
    """For each prompt the index of the next one that differs, round the end; empty where all are the same.

    Which pairs' responses each prompt is mismatched with, for KTO's estimate of the KL divergence.

    >>> next_others(["a", "a", "b"])
    [2, 2, 0]
    """
    count = len(prompts)
    found = (
        next((i for step in range(1, count) if prompts[i := (index + step) % count] != prompt), None)
        for index, prompt in enumerate(prompts)
    )
    return [index for index in found if index is not None]


@dataclass(frozen=True)
class PreferencePair:
    """One prompt and two responses to it, in token ids. The responses may be any integer sequence.

    A response may be a conversation of several replies. What stands between these, the user's turns and the headers of
    the next replies, is masked: read as what it is, in the target as in the context, and never scored.

    Attributes:
        prompt: everything before the response, down to the header that opens the assistant's turn:
            beginning-of-text token, system message, earlier turns. At least one token, since the
            first response token is predicted from the last prompt token.
        chosen: the preferred response with its own end-of-turn token, as the model would emit it.
        rejected: the dispreferred response, likewise.
        record: name or number of the data record, for messages.
        preference: probability in [0, 1] that `chosen` really is the better one; 1 for a hard label.
        cuttable: first and past-the-last token of the prompt's part that may be cut where the pair is too long, such as
            the beginning of a long question; what is outside of it, the headers of turns, stays. None: all but the
            last token.
        chosen_masked: spans of tokens of `chosen` that are not scored, in order, neither its first token nor its last.
        rejected_masked: likewise of `rejected`.

    Raises:
        ValueError: an empty prompt or response, two equal responses, something that is not a token id, a preference
            outside [0, 1], a part outside of the prompt or spans that are not within a response; the message names the
            record.

    >>> PreferencePair([1, 2], [3, 9], [4, 9], record=17).chosen
    (3, 9)
    >>> PreferencePair([1, 2], [3, 9], [], record=17)
    Traceback (most recent call last):
    ValueError: record 17: the rejected response is empty
    """

    prompt: Sequence[int]
    chosen: Sequence[int]
    rejected: Sequence[int]
    record: int | str = 0
    preference: float = 1.0
    cuttable: Span | None = None
    chosen_masked: tuple[Span, ...] = ()
    rejected_masked: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        for name, what in (("prompt", "prompt"), ("chosen", "chosen response"), ("rejected", "rejected response")):
            tokens = np.asarray(getattr(self, name))
            if tokens.size == 0:
                raise ValueError(f"record {self.record}: the {what} is empty")
            if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
                raise ValueError(f"record {self.record}: the {what} must be a flat sequence of token ids")
            if tokens.min() < 0:
                raise ValueError(f"record {self.record}: the {what} holds the negative token id {tokens.min()}")
            object.__setattr__(self, name, tuple(tokens.tolist()))
        if self.chosen == self.rejected:
            raise ValueError(f"record {self.record}: chosen and rejected are the same response")
        if not 0 <= self.preference <= 1:
            raise ValueError(f"record {self.record}: preference = {self.preference} is not a probability in [0, 1]")
        if self.cuttable is not None and not 0 <= self.cuttable[0] <= self.cuttable[1] <= len(self.prompt):
            raise ValueError(
                f"record {self.record}: cuttable = {self.cuttable} is no part of the prompt's {len(self.prompt)} tokens"
            )
        for name, response, masked in (
            ("chosen_masked", self.chosen, self.chosen_masked),
            ("rejected_masked", self.rejected, self.rejected_masked),
        ):
            edges = [0, *(edge for span in masked for edge in span), len(response)]
            if masked and not all(left < right for left, right in pairwise(edges)):
                raise ValueError(
                    f"record {self.record}: {name} = {masked} must be spans in order, apart, within {len(response)} "
                    "tokens, and neither the first nor the last of these"
                )

    @property
    def scored_lengths(self) -> tuple[int, int]:
        """Scored tokens of the chosen and of the rejected response.

        >>> PreferencePair([1], [2, 3, 4], [2, 9], chosen_masked=((1, 2),)).scored_lengths
        (2, 2)
        """
        masked = self.chosen_masked, self.rejected_masked
        chosen, rejected = (sum(end - start for start, end in spans) for spans in masked)
        return len(self.chosen) - chosen, len(self.rejected) - rejected

    def check_vocabulary(self, vocab_size: int) -> None:
        """Check that the model has every token.

        Raises:
            ValueError: a token id >= `vocab_size`, naming the record.
        """
        largest = max(*self.prompt, *self.chosen, *self.rejected)
        if largest >= vocab_size:
            raise ValueError(f"record {self.record}: token id {largest} is outside the vocabulary of {vocab_size}")


@dataclass(frozen=True)
class PairLogps:
    """Log-probs of the chosen and the rejected responses, however they are conditioned.

    Attributes:
        chosen_logps: (B,) log pi(chosen | ...), in nats, summed over the response's tokens.
        rejected_logps: (B,) log pi(rejected | ...), in nats, summed over the response's tokens.
        ref_chosen_logps: (B,) the same under the reference policy, or None for reference-free losses.
        ref_rejected_logps: (B,) the same under the reference policy, or None.
        chosen_length: (B,) length of the chosen response in tokens, or None where no loss needs it.
        rejected_length: (B,) length of the rejected response in tokens, or None.

    Raises:
        ValueError: shapes that differ, log-probs that are not floating point, a length below one,
            or only one response's reference or length given.

    Source: the quantities of Table 1 and Algorithm 1 (paper, arXiv:2512.23126).

    >>> import torch
    >>> pairs = PairLogps(torch.tensor([-1.0]), torch.tensor([-3.0]))
    >>> pairs.swapped().chosen_logps
    tensor([-3.])
    """

    chosen_logps: Tensor
    rejected_logps: Tensor
    ref_chosen_logps: Tensor | None = None
    ref_rejected_logps: Tensor | None = None
    chosen_length: Tensor | None = None
    rejected_length: Tensor | None = None

    def __post_init__(self) -> None:
        shape = self.chosen_logps.shape
        for field in fields(self):
            tensor = getattr(self, field.name)
            if tensor is None:
                continue
            if tensor.shape != shape:
                raise ValueError(f"{field.name} has shape {tuple(tensor.shape)}, but chosen_logps has {tuple(shape)}")
            if field.name.endswith("_logps") and not tensor.is_floating_point():
                raise ValueError(f"{field.name} must be floating point, got {tensor.dtype}")
            if field.name.endswith("_length") and bool((tensor < 1).any()):
                raise ValueError(f"{field.name} holds an empty response: lengths are at least one token")
        if (self.ref_chosen_logps is None) != (self.ref_rejected_logps is None):
            raise ValueError("give reference log-probs of both responses or of neither")
        if (self.chosen_length is None) != (self.rejected_length is None):
            raise ValueError("give the lengths of both responses or of neither")

    def swapped(self) -> PairLogps:
        """The same pairs with the preference reversed."""
        return PairLogps(
            self.rejected_logps,
            self.chosen_logps,
            self.ref_rejected_logps,
            self.ref_chosen_logps,
            self.rejected_length,
            self.chosen_length,
        )

    def logps(self) -> tuple[Tensor, Tensor]:
        """Chosen and rejected log-probs, each (B,), nats, summed over tokens."""
        return self.chosen_logps, self.rejected_logps

    def logratios(self) -> tuple[Tensor, Tensor]:
        """Chosen and rejected log(pi / pi_ref), each (B,), nats, summed over tokens.

        Raises:
            ValueError: no reference log-probs.
        """
        if self.ref_chosen_logps is None or self.ref_rejected_logps is None:
            raise ValueError("this loss compares with a reference policy: give ref_chosen_logps and ref_rejected_logps")
        return self.chosen_logps - self.ref_chosen_logps, self.rejected_logps - self.ref_rejected_logps

    def lengths(self) -> tuple[Tensor, Tensor]:
        """Chosen and rejected lengths in tokens, each (B,), in the dtype of the log-probs.

        Raises:
            ValueError: no lengths.
        """
        if self.chosen_length is None or self.rejected_length is None:
            raise ValueError("this loss needs the responses' lengths: give chosen_length and rejected_length")
        dtype = self.chosen_logps.dtype
        return self.chosen_length.to(dtype), self.rejected_length.to(dtype)

    def length_means(self) -> tuple[Tensor, Tensor]:
        """Chosen and rejected log-probs per token, Eq. (12), each (B,), nats per token.

        Raises:
            ValueError: no lengths.
        """
        chosen_length, rejected_length = self.lengths()
        return self.chosen_logps / chosen_length, self.rejected_logps / rejected_length

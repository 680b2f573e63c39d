"""Pairs of tokens -> examples: what is known of a pair before training, and its tree.

Shapes: n pairs, B pairs of a row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain, groupby
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from inspo.conditioning import Conditioning, LogpRequest
from inspo.pairs import PreferencePair, next_others
from inspo.prefix_tree import PackedRow, build_row, concatenate, restrict
from inspo.sequences import NO_SEPARATOR, Limits, Separator, scored_parts
from inspo.tree_size import tree_size
from scaled.config import SequenceOptions
from scaled.data.digests import digest, first_equal
from scaled.data.packing import Integers, SharedPrompts
from scaled.data.pairs import Chosen, InMemory, Mismatched, Pairs, Tokens, fitted, longest_sequences
from scaled.data.templates import Template
from scaled.data.tokens import fingerprint

logger = logging.getLogger(__name__)

KEPT_TREES = 1024
"""Trees that are built once, some 40 MiB of long ones; others are built where they are used."""

PLAIN = Conditioning.NONE.requests()
"""log pi(chosen | x) and log pi(rejected | x): what the deployed policy says."""


@dataclass(frozen=True)
class Layout:
    """Which log-probs are wanted of every pair, and how its tokens are laid out for them.

    Attributes:
        policy: what the policy scores; the limits hold for these.
        reference: what the reference scores.
        limits: how long sequences may be.
        separator: tokens around a context.
        mismatched: whether each prompt is also needed with another prompt's responses, for KTO.
    """

    policy: tuple[LogpRequest, ...]
    reference: tuple[LogpRequest, ...] = ()
    limits: Limits = field(default_factory=Limits)
    separator: Separator = NO_SEPARATOR
    mismatched: bool = False

    @property
    def requests(self) -> tuple[LogpRequest, ...]:
        """What either scores, each once."""
        return tuple(dict.fromkeys((*self.policy, *self.reference)))

    @property
    def draft_cap(self) -> int | None:
        """Maximum tokens of a context; None for no cap."""
        return self.limits.draft_tokens


@dataclass(frozen=True, eq=False)
class Examples:
    """The training pairs, or the validation pairs, with what is known of them before training.

    Pairs may be on disk, and few trees are kept, so that memory does not grow with their number but for some numbers
    of each.

    Attributes:
        pairs: n pairs within their limits.
        layout: which log-probs, and how.
        counts: what happened on the way -> how often: see :func:`inspo.sequences.fit` and
            :func:`scaled.data.tokens.tokenize`; for KTO ``dropped_without_mismatch``, pairs left out for want of one.
        mismatched: for KTO, n examples of each prompt with another prompt's responses; else None.
        reference: for each reference request (n,) log-probs in nats; empty until the reference has filled it in.
    """

    pairs: Pairs
    layout: Layout
    counts: Mapping[str, int] = field(default_factory=dict)
    mismatched: Examples | None = None
    reference: Mapping[LogpRequest, Tensor] = field(default_factory=dict)
    _trees: dict[tuple[int, ...], PackedRow] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.pairs)

    def tree(self, *indices: int) -> PackedRow:
        """The prefix tree of a pair, or of several, which scores every request of the layout."""
        if (kept := self._trees.get(indices)) is not None:
            return kept
        layout, pairs = self.layout, [self.pairs[index] for index in indices]
        tree = build_row(pairs, layout.requests, separator=layout.separator, draft_cap=layout.draft_cap)
        if len(self._trees) < KEPT_TREES:
            self._trees[indices] = tree
        return tree

    def row(self, indices: Iterable[int], requests: Sequence[LogpRequest]) -> PackedRow:
        """Some pairs' trees, one after another in one row, as far as they score `requests`.

        Pairs of one prompt that follow each other have a tree in common.
        """
        return restrict(concatenate([self.tree(*run) for run in self._runs(indices)]), requests)

    def row_length(self, indices: Iterable[int]) -> int:
        """Tokens of such a row under the policy."""
        shared = self.shared(self.layout.policy)
        return sum(
            self.lengths[run[0]] if len(run) == 1 else tree_size(chain.from_iterable(map(shared.sequences, run)))
            for run in self._runs(indices)
        )

    def _runs(self, indices: Iterable[int]) -> list[tuple[int, ...]]:
        return [tuple(run) for _, run in groupby(indices, self.prompts.__getitem__)]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each pair's own tree under the policy."""
        return self._measured[0]

    @property
    def prompts(self) -> Integers:
        """(n,) for each pair the first one of the same prompt."""
        return self._measured[1]

    @cached_property
    def _measured(self) -> tuple[list[int], Integers]:
        lengths, prompts = [], []
        for tokens in self.pairs.all_tokens():
            lengths.append(tree_size(self._sequences(self.layout.policy, tokens)))
            prompts.append(digest(tokens.prompt))
        return lengths, first_equal(prompts)

    def shared(self, requests: Sequence[LogpRequest]) -> SharedPrompts:
        """Which pairs are of one prompt, and what a tree that scores `requests` of them grows by."""
        return SharedPrompts(self.prompts, lambda pair: self._sequences(requests, self.pairs.tokens(pair)))

    def _sequences(self, requests: Sequence[LogpRequest], tokens: Tokens) -> list[npt.NDArray[Any]]:
        """What is scored of a pair, an array for each request."""
        parts = partial(scored_parts, separator=self.layout.separator, draft_cap=self.layout.draft_cap)
        return [np.concatenate([part for part in parts(tokens, each) if len(part)]) for each in requests]

    @property
    def depth(self) -> int:
        """Tokens of the longest sequence that is scored, but for its last token."""
        layout = self.layout
        longest = longest_sequences(self.pairs.sizes, layout.requests, layout.limits, layout.separator)
        own = int(longest.max(initial=1)) - 1
        return own if self.mismatched is None else max(own, self.mismatched.depth)

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 of the pairs' tokens and preferences."""
        return fingerprint(self.pairs.all_tokens())


def make_examples(
    pairs: Iterable[PreferencePair], layout: Layout, what: str, counts: Mapping[str, int] | None = None
) -> Examples:
    """Cut pairs to their limits.

    Args:
        pairs: the tokenized pairs; where they are :class:`~scaled.data.pairs.Pairs`, they stay where they are.
        layout: which log-probs, and how.
        what: the pairs are, for messages.
        counts: what happened while they were tokenized -> how often.

    Raises:
        ValueError: see :func:`inspo.sequences.fit`; or, for KTO, all prompts are the same.
    """
    given = pairs if isinstance(pairs, Pairs) else InMemory(pairs)
    kept, _, happened = fitted(given, layout.policy, layout.limits, layout.separator)
    others = None
    if layout.mismatched and len(kept):
        before = len(kept)
        kept, others = _mismatched(kept, layout, what)
        happened["dropped_without_mismatch"] = before - len(kept)
    changed = ", ".join(f"{event.replace('_', ' ')} {count}" for event, count in happened.items() if count)
    if changed:
        logger.warning("%s pairs: %s", what, changed)
    return Examples(kept, layout, dict(counts or {}) | happened, others)


def _mismatched(pairs: Pairs, layout: Layout, what: str) -> tuple[Pairs, Examples]:
    """Each prompt with the responses to the next other prompt, cut to the limits, for KTO's KL estimate.

    Returns:
        The pairs but for those whose mismatched responses do not fit behind the prompt, or are equal once cut to fit;
        and for each of them its mismatched example.
    """
    others = next_others([digest(tokens.prompt) for tokens in pairs.all_tokens()])
    if not others:
        raise ValueError(
            f"kto estimates its KL from mismatched prompts, but all prompts of the {len(pairs)} {what} pairs are "
            f"the same: {'use another method' if what == 'training' else 'raise validation_size, or set it to 0'}"
        )
    limits = replace(layout.limits, over_length=("cut_prompt", "cut_responses", "drop"), draft_cap=None)
    mismatched, kept, _ = fitted(Mismatched(pairs, np.array(others)), PLAIN, limits, NO_SEPARATOR)
    if not len(kept):
        raise ValueError(f"no mismatched responses of the {len(pairs)} {what} pairs fit: raise max_length")
    return Chosen(pairs, kept), Examples(mismatched, Layout(PLAIN, PLAIN, limits))


def sequence_limits(options: SequenceOptions, *, conditioned: bool) -> Limits:
    """The limits of a configuration.

    Args:
        options: gives them.
        conditioned: whether there are contexts that a cap could apply to.
    """
    return Limits(
        max_length=options.max_length,
        over_length=options.over_length,
        draft_cap=options.draft_cap if conditioned else None,
        over_cap=options.over_cap,
    )


def context_separator(options: SequenceOptions, template: Template, token_id: Callable[[str], int | None]) -> Separator:
    """The separator of a configuration; `token_id` looks a token up in the vocabulary."""
    return Separator.parse(options.separator, token_id, template.header)

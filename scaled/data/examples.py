"""Pairs of tokens -> examples: what is known of a pair before training. Its tree is built here, once.

Shapes: n pairs, B pairs of a row.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from torch import Tensor

from inspo.conditioning import Conditioning, LogpRequest
from inspo.pairs import PreferencePair, next_others
from inspo.prefix_tree import PackedRow, build_row, concatenate, restrict
from inspo.sequences import NO_SEPARATOR, Limits, Separator, fit
from scaled.config import SequenceOptions
from scaled.data.templates import Template
from scaled.data.tokens import fingerprint

logger = logging.getLogger(__name__)

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
    def draft_cap(self) -> int | None:
        """Maximum tokens of a context; None for no cap."""
        return self.limits.draft_tokens


@dataclass(frozen=True, eq=False)
class Examples:
    """The training pairs, or the validation pairs, with what is known of them before training.

    Attributes:
        pairs: n pairs within their limits.
        trees: n prefix trees, one per pair, that score every request of the layout.
        layout: which log-probs, and how.
        counts: what happened on the way -> how often: see :func:`inspo.sequences.fit` and
            :func:`scaled.data.tokens.tokenize`; for KTO ``dropped_without_mismatch``, pairs left out for want of one.
        mismatched: for KTO, n examples of each prompt with another prompt's responses; else None.
        reference: for each reference request (n,) log-probs in nats; empty until the reference has filled it in.
    """

    pairs: tuple[PreferencePair, ...]
    trees: tuple[PackedRow, ...]
    layout: Layout
    counts: Mapping[str, int] = field(default_factory=dict)
    mismatched: Examples | None = None
    reference: Mapping[LogpRequest, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pairs)

    def row(self, indices: Iterable[int], requests: Sequence[LogpRequest]) -> PackedRow:
        """Some pairs' trees, one after another in one row, as far as they score `requests`."""
        return restrict(concatenate([self.trees[index] for index in indices]), requests)

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each pair's tree under the policy."""
        return [len(restrict(tree, self.layout.policy)) for tree in self.trees]

    @property
    def depth(self) -> int:
        """Tokens of the longest sequence that is scored, but for its last token."""
        own = max((int(tree.positions.max()) + 1 for tree in self.trees), default=0)
        return own if self.mismatched is None else max(own, self.mismatched.depth)

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 of the pairs' tokens and preferences."""
        return fingerprint(self.pairs)


def make_examples(
    pairs: Iterable[PreferencePair], layout: Layout, what: str, counts: Counter[str] | None = None
) -> Examples:
    """Cut pairs to their limits and build their trees.

    Args:
        pairs: the tokenized pairs.
        layout: which log-probs, and how.
        what: the pairs are, for messages.
        counts: what happened while they were tokenized -> how often.

    Raises:
        ValueError: see :func:`inspo.sequences.fit`; or, for KTO, all prompts are the same.
    """
    fitted = fit(pairs, layout.policy, layout.limits, separator=layout.separator)
    kept, happened, others = fitted.pairs, dict(fitted.counts), None
    if layout.mismatched and kept:
        kept, others = _mismatched(kept, layout, what)
        happened["dropped_without_mismatch"] = len(fitted.pairs) - len(kept)
    changed = ", ".join(f"{event.replace('_', ' ')} {count}" for event, count in happened.items() if count)
    if changed:
        logger.warning("%s pairs: %s", what, changed)
    return _with_trees(kept, layout, dict(counts or {}) | happened, others)


def _with_trees(
    pairs: tuple[PreferencePair, ...], layout: Layout, counts: Mapping[str, int], mismatched: Examples | None = None
) -> Examples:
    requests = tuple(dict.fromkeys((*layout.policy, *layout.reference)))
    trees = tuple(build_row([pair], requests, separator=layout.separator, draft_cap=layout.draft_cap) for pair in pairs)
    return Examples(pairs, trees, layout, counts, mismatched)


def _mismatched(
    pairs: Sequence[PreferencePair], layout: Layout, what: str
) -> tuple[tuple[PreferencePair, ...], Examples]:
    """Each prompt with the responses to the next other prompt, cut to the limits, for KTO's KL estimate.

    Returns:
        The pairs but for those whose mismatched responses do not fit behind the prompt, or are equal once cut to fit;
        and for each of them its mismatched example.
    """
    others = next_others([pair.prompt for pair in pairs])
    if not others:
        raise ValueError(
            f"kto estimates its KL from mismatched prompts, but all prompts of the {len(pairs)} {what} pairs are "
            f"the same: {'use another method' if what == 'training' else 'raise validation_size, or set it to 0'}"
        )
    made = [
        replace(pairs[other], prompt=pair.prompt, record=pair.record, cuttable=pair.cuttable)
        for pair, other in zip(pairs, others, strict=True)
    ]
    limits = replace(layout.limits, over_length=("cut_prompt", "cut_responses", "drop"), draft_cap=None)
    fitted = [fit([one], PLAIN, limits).pairs for one in made]
    kept = tuple(pair for pair, found in zip(pairs, fitted, strict=True) if found)
    mismatched = tuple(one for found in fitted for one in found)
    if not kept:
        raise ValueError(f"no mismatched responses of the {len(pairs)} {what} pairs fit: raise max_length")
    return kept, _with_trees(mismatched, Layout(PLAIN, PLAIN, limits), {})


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

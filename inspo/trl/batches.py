"""Pairs within their limits, and a batch of them in the form that TRL's loss reads.

TRL's loss takes rows, the first half chosen and the second half rejected, each with a mask of the tokens to score.
A :class:`View` is one such contrast of a pair; a conditioning compares one or two of them.

``rows``
    A row is prompt, context and response, padded: :func:`inspo.sequences.scored_sequence`.
``tree``
    A row holds the scored tokens alone, after one place that stands for what comes before; the batch's trees
    beside it say where the hidden states that predict them are.

Shapes: B pairs, V views, R = 2 B V rows, L tokens of the longest row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from inspo.conditioning import Conditioning, LogpRequest, Role
from inspo.pairs import PreferencePair, next_others
from inspo.prefix_tree import PackedRow, build_row, concatenate
from inspo.sequences import Limits, Separator, fit, response, scored_sequence

Columns = dict[str, list[Any]]
IDS = ("prompt_ids", "chosen_ids", "rejected_ids")


class View(NamedTuple):
    """One contrast of a pair: its chosen and its rejected response, each with what it is given.

    Attributes:
        name: of the view.
        chosen: the chosen response's request.
        rejected: the rejected one's.
        columns: the pair's columns of token ids.
    """

    name: str
    chosen: LogpRequest
    rejected: LogpRequest
    columns: tuple[str, str, str] = IDS

    @property
    def reference_columns(self) -> tuple[str, str]:
        """Where precomputed log-probs of the reference stand: for the plain view where TRL has them."""
        middle = "" if self.name == PLAIN.name else f"{self.name}_"
        return f"ref_{middle}chosen_logps", f"ref_{middle}rejected_logps"


PLAIN = View("plain", LogpRequest(Role.CHOSEN), LogpRequest(Role.REJECTED))
"""Each response given the prompt alone, as the policy is deployed."""

MISMATCHED = PLAIN._replace(name="mismatched", columns=("prompt_ids", "other_chosen_ids", "other_rejected_ids"))
"""Each prompt with the responses to another one, for KTO's estimate of the KL divergence."""


def views_of(conditioning: Conditioning) -> tuple[View, ...]:
    """What an objective compares, in the order of its contrasts."""
    return tuple(
        PLAIN if contrast.chosen.context is None else View(f"contrast_{number}", contrast.chosen, contrast.rejected)
        for number, contrast in enumerate(conditioning.contrasts, 1)
    )


@dataclass(frozen=True)
class TreeRow:
    """The trees of a batch, and where they predict the tokens of the batch's rows.

    Attributes:
        row: the trees, in one packed row of T tokens.
        index: (R, L) int64, rows of the packed row; [i, j] predicts token j + 1 of row i.
    """

    row: PackedRow
    index: npt.NDArray[np.int64]


@dataclass(frozen=True)
class PreferenceCollator:
    """Examples of TRL's prepared data set -> a batch.

    Attributes:
        views: what the loss compares.
        others: views that are scored apart: for the reference, for the deployed policy, for KTO.
        separator: tokens around a context.
        draft_cap: longest context in tokens, or None.
        tree: whether a batch is laid out as trees.
        pad_token_id: what rows are padded with.
        pad_to_multiple_of: what their length is a multiple of, or None.
    """

    views: tuple[View, ...]
    others: tuple[View, ...]
    separator: Separator
    draft_cap: int | None
    tree: bool
    pad_token_id: int
    pad_to_multiple_of: int | None = None

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Lay out a batch.

        Returns:
            The rows of what the loss compares, (R, L) `input_ids`, `attention_mask` and `completion_mask`, and a
            `tree`; under `views` the same of each other view; under `references` precomputed log-probs, (B,) each.
        """
        known = [name for view in (*self.views, *self.others) for name in view.reference_columns if name in examples[0]]
        return {
            **self.lay_out(examples, self.views),
            "views": {view.name: self.lay_out(examples, [view]) for view in self.others},
            "references": {name: torch.tensor([example[name] for example in examples]) for name in known},
        }

    def lay_out(self, examples: Sequence[dict[str, Any]], views: Sequence[View]) -> dict[str, Any]:
        """The rows of some views: chosen of each view and pair, then rejected."""
        pairs = [_pair(example, views[0].columns, number) for number, example in enumerate(examples)]
        requests = [view.chosen for view in views] + [view.rejected for view in views]
        if self.tree:
            return self._as_tree(pairs, requests)
        options: dict[str, Any] = {"separator": self.separator, "draft_cap": self.draft_cap}
        rows = [scored_sequence(pair, request, **options) for request in requests for pair in pairs]
        scored = [len(response(pair, request.target)) for request in requests for pair in pairs]
        return self._padded(rows, scored)

    def _as_tree(self, pairs: Sequence[PreferencePair], requests: Sequence[LogpRequest]) -> dict[str, Any]:
        options: dict[str, Any] = {"separator": self.separator, "draft_cap": self.draft_cap}
        row = concatenate([build_row([pair], dict.fromkeys(requests), **options) for pair in pairs])
        found = {(target.pair, target.request): target for target in row.targets}
        targets = [found[number, request] for request in requests for number in range(len(pairs))]
        rows = [(self.pad_token_id, *target.labels.tolist()) for target in targets]
        batch = self._padded(rows, [len(target.labels) for target in targets])
        index = np.zeros(batch["input_ids"].shape, dtype=np.int64)
        for place, target in zip(index, targets, strict=True):
            place[: len(target.rows)] = target.rows
        # What is attended to is the packed row; TRL counts its tokens by this mask.
        return batch | {"attention_mask": torch.ones(1, len(row), dtype=torch.long), "tree": TreeRow(row, index)}

    def _padded(self, rows: Sequence[Sequence[int]], scored: Sequence[int]) -> dict[str, Tensor]:
        longest = max(map(len, rows))
        multiple = self.pad_to_multiple_of or 1
        width = -(-longest // multiple) * multiple
        ids = torch.full((len(rows), width), self.pad_token_id)
        for place, row in zip(ids, rows, strict=True):
            place[: len(row)] = torch.tensor(row)
        ends, counts = torch.tensor([list(map(len, rows)), list(scored)])[..., None]
        position = torch.arange(width)
        seen = position < ends
        return {
            "input_ids": ids,
            "attention_mask": seen.long(),
            "completion_mask": (seen & (position >= ends - counts)).long(),
        }


def _pair(example: dict[str, Any], columns: tuple[str, str, str], number: int) -> PreferencePair:
    prompt, chosen, rejected = (example[name] for name in columns)
    return PreferencePair(prompt, chosen, rejected, number)


def fitted(columns: Columns, conditioning: Conditioning, limits: Limits, separator: Separator) -> Columns:
    """Pairs within their limits: a batched function for ``datasets.map``.

    Args:
        columns: name -> values, of TRL's prepared data set.
        conditioning: whose sequences the limits hold for.
        limits: of the sequences.
        separator: tokens around a context, which count.

    Returns:
        The same columns without the pairs that no cut makes fit, and without those that compare nothing: with an empty
        prompt, an empty response or two equal ones. `was_cut` says of each pair whether its responses were cut.
    """
    ids = zip(*(columns[name] for name in IDS), strict=True)
    pairs = [
        PreferencePair(prompt, chosen, rejected, record)
        for record, (prompt, chosen, rejected) in enumerate(ids)
        if prompt and chosen and rejected and chosen != rejected
    ]
    kept = fit(pairs, conditioning, limits, separator=separator).pairs
    rows = {name: [values[int(pair.record)] for pair in kept] for name, values in columns.items()}
    lengths = [[len(getattr(pair, role)) for pair in kept] for role in ("chosen", "rejected")]
    before = [[len(response) for response in rows[name]] for name in IDS[1:]]
    cut = [lengths[0][i] < before[0][i] or lengths[1][i] < before[1][i] for i in range(len(kept))]
    tokens_of = {name: [list(getattr(pair, name.removesuffix("_ids"))) for pair in kept] for name in IDS}
    return rows | tokens_of | {"was_cut": cut}


def with_mismatched(columns: Columns, max_length: int | None) -> Columns:
    """Each prompt with the responses to the next other prompt, cut to a length: for ``datasets.map`` over all at once.

    Raises:
        ValueError: all prompts are the same.
    """
    prompts = columns["prompt_ids"]
    others = next_others(prompts)
    if not others:
        raise ValueError(
            f"inspo:kto estimates its KL from mismatched prompts, but all {len(prompts)} prompts are the same: "
            "use another loss"
        )
    added: Columns = {name: [] for name in MISMATCHED.columns[1:]}
    for prompt, other in zip(prompts, others, strict=True):
        room = None if max_length is None else max_length - len(prompt)
        for name, source in zip(MISMATCHED.columns[1:], IDS[1:], strict=True):
            added[name].append(columns[source][other][:room])
    return added

"""The best of several candidates by the policy's own pairwise margin, all of them in one packed tree.

The margin of y_i over y_j is what the policy's loss compares of that pair (:meth:`PreferenceLoss.scores`), such as
log pi(y_i | x, y_j) / pi_ref(y_i | x) - log pi(y_j | x, y_i) / pi_ref(y_j | x) for INS-DPO. A candidate's score is
its mean margin over the others, its Borda count with margins in the place of wins; an equal candidate counts as a
margin of zero. A tree has the prompt once and each candidate once as a context, where pairs one by one have them
once for each pair.

Shapes: n candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from inspo.conditioning import LogpRequest, Role
from inspo.hf.rows import request_logps
from inspo.pairs import PreferencePair
from inspo.preference_loss import PreferenceLoss
from inspo.prefix_tree import PackedRow, build_row
from inspo.sequences import NO_SEPARATOR, Separator
from scaled.generation.interface import Completion
from scaled.generation.ways import Asked, as_response

Wanted = tuple[int, int | None]
"""A log-prob: of which candidate, given which one."""

Tokens = tuple[int, ...]


def scale(loss: PreferenceLoss) -> float:
    """What turns what a method compares into nats of log-odds: beta, and for IPO 4 tau about even preferences.

    IPO's margin is (2 P - 1) / (2 tau) at its minimum, and 4 (P - 1/2) the log-odds near 1/2. Methods whose score has
    no unit of log-odds have 1.
    """
    given = loss.hyperparameters
    return float(given.get("beta", 4 * given["tau"] if "tau" in given else 1.0))


@dataclass(frozen=True, eq=False)
class Margins:
    """Scores candidates by their mean margin.

    Attributes:
        model: the policy, scoring tree rows.
        loss: whose margin.
        end_of_turn: what ends a response in training.
        separator: tokens around a context.
        draft_cap: tokens of a context at most; None for all.
        reference: scoring tree rows, for losses that read one.
        row_tokens: of one row at most, unless one candidate's contexts need more.
        attention: how to attend, see :mod:`inspo.hf.tree_attention`.

    Raises:
        ValueError: the loss needs a reference, and there is none.
    """

    model: nn.Module
    loss: PreferenceLoss
    end_of_turn: int
    separator: Separator = NO_SEPARATOR
    draft_cap: int | None = None
    reference: nn.Module | None = None
    row_tokens: int = 16384
    attention: str = "auto"

    def __post_init__(self) -> None:
        if self.loss.reads.needs_reference and self.reference is None:
            raise ValueError(f"the margin of {self.loss.method} needs the reference model")

    def __call__(self, asked: Asked, found: Sequence[Completion]) -> list[float]:
        """The mean margins of completions to one prompt, nats (per token where the method compares means)."""
        responses = [as_response(completion, self.end_of_turn) for completion in found]
        distinct = list(dict.fromkeys(responses))
        if len(distinct) == 1:
            return [0.0] * len(responses)
        margins = self.matrix(asked.prompt, distinct)
        places = [distinct.index(response) for response in responses]
        return (margins[places][:, places].sum(1) / (len(places) - 1)).tolist()

    @torch.no_grad()
    def matrix(self, prompt: Tokens, candidates: Sequence[Tokens]) -> Tensor:
        """(n, n) float64, at [i, j] the margin of candidate i over j; zero on the diagonal.

        Args:
            prompt: its tokens.
            candidates: n different responses.
        """
        n = len(candidates)
        pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
        policy = self._by_request(self.model, prompt, candidates, pairs, self.loss.requests())
        reference = None
        if self.reference is not None and self.loss.reads.needs_reference:
            requests = self.loss.reference_requests()
            reference = self._by_request(self.reference, prompt, candidates, pairs, requests)
        lengths = torch.tensor([len(candidate) for candidate in candidates], dtype=torch.float64)
        chosen, rejected = (torch.tensor(side) for side in zip(*pairs, strict=True))
        terms = self.loss.terms(policy, reference, chosen_length=lengths[chosen], rejected_length=lengths[rejected])
        better, worse = self.loss.scores(terms)
        margins = torch.zeros((n, n), dtype=torch.float64)
        margins[chosen, rejected] = better - worse
        return margins

    def _by_request(
        self,
        model: nn.Module,
        prompt: Tokens,
        candidates: Sequence[Tokens],
        pairs: Sequence[tuple[int, int]],
        requests: Sequence[LogpRequest],
    ) -> dict[LogpRequest, Tensor]:
        """Log-probs of ordered pairs by request, each scored once."""

        def wanted(pair: tuple[int, int], request: LogpRequest) -> Wanted:
            plays = {Role.CHOSEN: pair[0], Role.REJECTED: pair[1], None: None}
            return cast("int", plays[request.target]), plays[request.context]

        needed = dict.fromkeys(wanted(pair, request) for request in requests for pair in pairs)
        logps = self._score(model, prompt, candidates, list(needed))
        return {request: torch.stack([logps[wanted(pair, request)] for pair in pairs]) for request in requests}

    def _score(
        self, model: nn.Module, prompt: Tokens, candidates: Sequence[Tokens], needed: Sequence[Wanted]
    ) -> Mapping[Wanted, Tensor]:
        """Each log-prob in float64 on the CPU, by one forward pass per row."""
        found: dict[Wanted, Tensor] = {}
        for members, request, row in self._rows(prompt, candidates, needed):
            sums = request_logps(model, row, attention=self.attention)[request].double().cpu()
            found.update(zip(members, sums, strict=True))
        return found

    def _rows(
        self, prompt: Tokens, candidates: Sequence[Tokens], needed: Sequence[Wanted]
    ) -> Iterator[tuple[list[Wanted], LogpRequest, PackedRow]]:
        """Trees of log-probs of one kind: without a context, given another candidate, given the candidate itself."""
        kinds = {
            LogpRequest(Role.CHOSEN): [each for each in needed if each[1] is None],
            LogpRequest(Role.CHOSEN, Role.REJECTED): [each for each in needed if each[1] not in (None, each[0])],
            LogpRequest(Role.CHOSEN, Role.CHOSEN): [each for each in needed if each[1] == each[0]],
        }
        for request, members in kinds.items():
            for group in self._groups(len(prompt), candidates, members):
                others = [target if context is None else context for target, context in group]
                pairs = [
                    PreferencePair(
                        prompt,
                        candidates[target],
                        candidates[other if other != target else (target + 1) % len(candidates)],
                    )
                    for (target, _), other in zip(group, others, strict=True)
                ]
                yield group, request, build_row(pairs, [request], separator=self.separator, draft_cap=self.draft_cap)

    def _groups(self, prompt: int, candidates: Sequence[Tokens], members: Sequence[Wanted]) -> Iterator[list[Wanted]]:
        """Members that share a row: whole contexts, as many as it has room for."""
        by_context: dict[Any, list[Wanted]] = {}
        for each in members:
            by_context.setdefault(each[1], []).append(each)
        group: list[Wanted] = []
        tokens = prompt
        for context, targets in by_context.items():
            shown = 0 if context is None else len(candidates[context])
            more = shown + sum(len(candidates[target]) for target, _ in targets)
            if group and tokens + more > self.row_tokens:
                yield group
                group, tokens = [], prompt
            group, tokens = [*group, *targets], tokens + more
        if group:
            yield group

"""Completions by a transformers model, batched so that nothing waits: a row that has ended makes room for the next.

transformers' own ``generate_batch`` (5.23) is no base for this: its random numbers come from one generator for
all requests, so that an answer depends on what else is being written.

**The same tokens whatever the batch.** Random numbers belong to a request (:mod:`scaled.generation.draws`), but logits
are not the same to the last bit in another batch. So where a choice is closer than rounding could be (``TOLERANCE``),
that row alone is computed anew, whole and without a cache, and that decides: in float32 and float64 neither the
number of slots nor the order of requests changes a token. Half precision has no such promise, and neither has a
mixture of experts: where a router is as close as that, rounding exchanges the expert and moves logits by any amount.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import DynamicCache, LogitsProcessorList, PreTrainedModel

from inspo.hf.architectures import VERIFIED, check_supported
from inspo.hf.rows import causal_lm
from scaled.generation.draws import choose
from scaled.generation.interface import Completion, Request
from scaled.generation.slots import Slots

logger = logging.getLogger(__name__)

TOLERANCE = 10.0
"""How far rounding may move a logit, in epsilons of the dtype times the largest logit; measured: 8 (LOG.md)."""

PREFILL_TOKENS = 16384
"""Tokens of prompts, padding included, that are read at once."""

_CHANGING_ROPE = {"dynamic", "longrope"}


def context_of(model: nn.Module) -> int | None:
    """The longest sequence that a model is made for, in tokens; None where it does not say."""
    text = causal_lm(model).config.get_text_config(decoder=True)
    limit = getattr(text, "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


def room(request: Request, context: int | None) -> int:
    """Tokens that a request may get: what it wants, or what its prompt leaves of the model's context.

    Raises:
        ValueError: nothing is left.
    """
    if context is not None and len(request.prompt) >= context:
        raise ValueError(
            f"{request.key}: a prompt of {len(request.prompt)} tokens leaves no room in the model's context of "
            f"{context}"
        )
    wanted = request.settings.max_tokens
    return wanted if context is None else min(wanted, context - len(request.prompt))


def reason_against(model: PreTrainedModel) -> str | None:
    """Why rows of a model cannot be batched by a left-padded cache, or None."""
    try:
        check_supported(model)
    except ValueError as error:
        return str(error).partition(", so a packed tree row")[0]
    text = model.config.get_text_config(decoder=True)
    rope = getattr(text, "rope_parameters", None) or {}
    for parameters in (rope, *(part for part in rope.values() if isinstance(part, dict))):
        if parameters.get("rope_type") in _CHANGING_ROPE:
            return f"{model.config.model_type}: its rotary frequencies depend on the longest row of a batch"
    return None


@dataclass
class _Row:
    """A completion that is being written."""

    request: Request
    room: int
    tokens: list[int] = field(default_factory=list)


class TransformersBackend:
    """A transformers model with slots for rows.

    An architecture whose cache cannot be batched so (recurrent layers, ALiBi, frequencies that change with the batch)
    writes one completion after the other, through its own ``generate``; the log says so.
    """

    def __init__(self, model: nn.Module, ends: Collection[int], *, slots: int = 8) -> None:
        """Make ready.

        Args:
            model: a transformers causal language model, or PEFT around one, in evaluation mode and not wrapped; on
                tree attention too.
            ends: ids of the tokens that end a completion.
            slots: rows that are written at once.

        Raises:
            ValueError: no ends, or no slots.
        """
        if not ends or slots < 1:
            raise ValueError(f"ends = {sorted(ends)} and slots = {slots}: there must be one at least")
        self.model: Any = causal_lm(model)
        self.ends, self.slots = frozenset(ends), slots
        self.context = context_of(model)
        reason = reason_against(self.model)
        if reason is None and slots > 1 and self.model.config.model_type not in VERIFIED and not self._batches():
            reason = f"{self.model.config.model_type}: its rows come out otherwise in a batch"
        if reason is not None:
            logger.warning("%s: completions are written one by one", reason)
        self.one_by_one = reason is not None

    def generate(self, waiting: deque[Request]) -> Iterator[tuple[Request, Completion]]:
        """See :class:`~scaled.generation.interface.Backend`."""
        return self._one_by_one(waiting) if self.one_by_one else self._batched(waiting)

    def _batched(self, waiting: deque[Request]) -> Iterator[tuple[Request, Completion]]:
        cache, rows = Slots(self.slots), list[_Row]()
        few = max(1, self.slots // 8)  # a prompt is read with others where that does not leave slots empty
        while waiting or rows:
            if waiting and (not rows or self.slots - len(rows) >= few):
                new = [waiting.popleft() for _ in range(min(self.slots - len(rows), len(waiting)))]
                rows += self._prefill(new, cache)
            else:
                self._step(rows, cache)
            ended = [row for row, each in enumerate(rows) if self._completed(each)]
            if ended:
                done = [rows[row] for row in ended]
                places = _compacted(len(rows), set(ended))
                cache.keep(places)
                rows = [rows[row] for row in places]
                for each in done:
                    yield each.request, self._completion(each)

    def _prefill(self, requests: Sequence[Request], cache: Slots) -> list[_Row]:
        """Read prompts, each different one once, and choose the first token of each request."""
        rows = [_Row(request, room(request, self.context)) for request in requests]
        made: list[_Row] = []
        for group in _groups({request.prompt for request in requests}):
            prefilled, logits = self._read(group)
            places = {prompt: place for place, prompt in enumerate(group)}
            members = [row for row in rows if row.request.prompt in places]
            for row in members:
                cache.add(prefilled, places[row.request.prompt], len(row.request.prompt))
            self._append(logits[[places[row.request.prompt] for row in members]], members)
            made += members
        return made

    def _step(self, rows: Sequence[_Row], cache: Slots) -> None:
        """One more token for every row."""
        self._append(self._next([row.tokens[-1] for row in rows], cache), rows)

    @torch.no_grad()
    def _read(self, prompts: Sequence[Sequence[int]]) -> tuple[DynamicCache, Tensor]:
        """A left-padded cache of some prompts, and the (B, V) logits of what follows each."""
        width = max(map(len, prompts))
        tokens, mask = torch.zeros((2, len(prompts), width), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            tokens[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        device, prefilled = self.model.device, DynamicCache()  # without a configuration: no layer forgets
        output = self.model(
            tokens.to(device),
            attention_mask=None if bool(mask.all()) else mask.to(device),
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0).to(device),
            past_key_values=prefilled,
            use_cache=True,
            logits_to_keep=1,
        )
        return prefilled, output.logits[:, -1]

    @torch.no_grad()
    def _next(self, tokens: Sequence[int], cache: Slots) -> Tensor:
        """The (B, V) logits of what follows one more token of each row, which the cache then has."""
        cache.reserve()
        device = self.model.device
        output = self.model(
            torch.tensor(tokens, device=device)[:, None],
            attention_mask=cache.mask(device),
            position_ids=torch.tensor(cache.lengths, device=device)[:, None],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache.advance()
        return cast("Tensor", output.logits[:, -1])

    @torch.no_grad()
    def _alone(self, tokens: Sequence[int]) -> Tensor:
        """The (1, V) logits of what follows some tokens, without a cache."""
        sequence = torch.tensor([list(tokens)], device=self.model.device)
        return cast("Tensor", self.model(sequence, use_cache=False, logits_to_keep=1).logits[:, -1])

    def _append(self, logits: Tensor, rows: Sequence[_Row]) -> None:
        """Choose the next token of each row by its (B, V) logits, which are computed anew where it is close."""
        tolerance = self._tolerance(logits)
        tokens, uncertain = choose(logits, [row.request for row in rows], [len(row.tokens) for row in rows], tolerance)
        for row, token, close in zip(rows, tokens.tolist(), uncertain.tolist(), strict=True):
            row.tokens.append(self._decided(row) if close else token)

    def _tolerance(self, logits: Tensor) -> float:
        wide = torch.finfo(self.model.dtype).bits >= 32 and not torch.is_autocast_enabled(logits.device.type)
        return TOLERANCE * torch.finfo(logits.dtype).eps * float(logits.abs().max()) if wide and self.slots > 1 else 0.0

    def _decided(self, row: _Row) -> int:
        """The next token by the row alone: the same in whatever batch it was."""
        logits = self._alone([*row.request.prompt, *row.tokens])
        return int(choose(logits, [row.request], [len(row.tokens)])[0])

    def _completed(self, row: _Row) -> bool:
        return row.tokens[-1] in self.ends or len(row.tokens) >= row.room

    def _completion(self, row: _Row) -> Completion:
        return Completion(tuple(row.tokens), row.tokens[-1] in self.ends)

    @torch.no_grad()
    def _one_by_one(self, waiting: deque[Request]) -> Iterator[tuple[Request, Completion]]:
        while waiting:
            request = waiting.popleft()
            row = _Row(request, room(request, self.context))

            def chosen(tokens: Tensor, scores: Tensor, row: _Row = row) -> Tensor:
                place = tokens.shape[1] - len(row.request.prompt)
                token, _ = choose(scores, [row.request], [place])
                return torch.full_like(scores, -torch.inf).scatter(1, token[:, None], 0.0)

            prompt = torch.tensor([request.prompt], device=self.model.device)
            written = self.model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=False,
                max_new_tokens=row.room,
                eos_token_id=sorted(self.ends),
                pad_token_id=min(self.ends),
                logits_processor=LogitsProcessorList([cast("Any", chosen)]),
            )
            row.tokens = written[0, prompt.shape[1] :].tolist()
            yield request, self._completion(row)

    def _batches(self) -> bool:
        """Whether rows of unequal length have the logits in a batch that they have alone."""
        vocabulary = self.model.config.get_text_config(decoder=True).vocab_size
        drawn = torch.randint(vocabulary, (30,), generator=torch.Generator().manual_seed(0)).tolist()
        long, short, then = drawn[:18], drawn[18:28], drawn[28:]
        cache = Slots(2)
        prefilled, first = self._read([long, short])
        cache.add(prefilled, 0, len(long))
        cache.add(prefilled, 1, len(short))
        ours = torch.cat([first, self._next(then, cache)]).float()
        alone = [long, short, [*long, then[0]], [*short, then[1]]]
        theirs = torch.cat([self._alone(sequence) for sequence in alone]).float()
        largest = float(theirs.abs().max())
        tolerance = 1e-4 if torch.finfo(self.model.dtype).bits >= 32 else 0.05
        return float((ours - theirs).abs().max()) <= tolerance * max(1.0, largest)


def _groups(prompts: Collection[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
    """Prompts that are read together: of similar length, so that little of it is padding; the longest first."""
    group: list[tuple[int, ...]] = []
    for prompt in sorted(prompts, key=len, reverse=True):
        width = len(group[0]) if group else 0
        if group and (width - len(prompt) > max(16, width // 4) or (len(group) + 1) * width > PREFILL_TOKENS):
            yield group
            group = []
        group.append(prompt)
    yield group


def _compacted(rows: int, ended: Collection[int]) -> list[int]:
    """The rows that stay, with those from the back in the place of those that have ended.

    >>> _compacted(5, {1, 4})
    [0, 3, 2]
    """
    order, back = list[int](), [row for row in range(rows - len(ended), rows) if row not in ended]
    for place in range(rows - len(ended)):
        order.append(back.pop() if place in ended else place)
    return order

"""Reference log-probs: computed once, and kept on disk under a key of all they depend on.

The file's name is the hash of its key, and the key holds the content of the weights, the tokens and
everything else that a log-prob depends on. Whatever changes asks for another file: a stale cache
cannot be read by mistake. A pass is written in shards and continues where it was interrupted.

Call :func:`reference_logps` with the policy as it is *before* training. docs/reference.md says why
log-ratios need not start at zero.

Shapes: N pairs of the data set.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from tqdm import tqdm

from inspo.conditioning import Conditioning, LogpRequest, ReferenceContext
from inspo.logprobs import SequenceLogps, sequence_logps, without_final_eos
from inspo.metrics import weighted_scores
from inspo.pairs import PairLogps, PreferencePair
from inspo.prefix_tree import PackedRow, build_row, concatenate, plan_packs
from inspo.sequences import NO_SEPARATOR, Separator
from inspo.hf.rows import causal_lm, row_logps
from scaled.reference_cache import (
    CacheFolder,
    Columns,
    Key,
    Span,
    UnusableReferenceError,
    read_columns,
    reference_key,
    request_name,
    weights_digest,
)

__all__ = [
    "Ranks",
    "ReferenceLogps",
    "UnusableReferenceError",
    "initial_margins",
    "reference_logps",
    "weights_digest",
]

logger = logging.getLogger(__name__)

SHARD_PAIRS = 512
"""Pairs of one shard: what an interruption costs at most, per rank."""


@dataclass(frozen=True)
class Ranks:
    """Who else computes. One process is a world of its own.

    Attributes:
        rank: this process.
        world_size: how many there are; they share the cache's folder.
        barrier: returns when all have called it.
    """

    rank: int = 0
    world_size: int = 1
    barrier: Callable[[], object] = lambda: None


@dataclass(frozen=True, eq=False)
class ReferenceLogps:
    """Log-probs of a data set under the initial policy.

    Attributes:
        sums: for each request, (N,) log-probs in nats, summed over the counted tokens, on the CPU.
        lengths: for each request, (N,) int64, counted tokens.
        key: what they depend on.
    """

    sums: Mapping[LogpRequest, Tensor]
    lengths: Mapping[LogpRequest, Tensor]
    key: Key

    def __len__(self) -> int:
        return len(next(iter(self.sums.values())))

    def select(self, indices: Sequence[int] | Tensor, device: torch.device | str = "cpu") -> dict[LogpRequest, Tensor]:
        """Log-probs of some pairs, as :meth:`~inspo.conditioning.Conditioning.terms` takes them.

        Args:
            indices: numbers of pairs in the data set, B of them.
            device: where to put them.

        Returns:
            For each request (B,) nats.
        """
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return {request: sums[chosen].to(device) for request, sums in self.sums.items()}


def reference_logps(  # noqa: PLR0913  # each is part of what is computed, or where
    model: nn.Module,
    pairs: Sequence[PreferencePair],
    conditioning: Conditioning,
    reference: ReferenceContext = ReferenceContext.PLAIN,
    *,
    separator: Separator = NO_SEPARATOR,
    draft_cap: int | None = None,
    eos_ids: Sequence[int] = (),
    with_plain: bool = False,
    template: str = "",
    token_budget: int = 8192,
    attention: str = "auto",
    cache_dir: str | Path | None = None,
    cache_file: str | Path | None = None,
    weights: str | None = None,
    ranks: Ranks | None = None,
) -> ReferenceLogps:
    """Log-probs of a data set under a policy, from the cache or by one pass over it.

    Args:
        model: the reference policy, on tree attention. Wrapped by DDP or DeepSpeed it must accept rows
            (:func:`inspo.hf.rows.accept_rows`), and then every rank makes equally many calls.
        pairs: the data, cut to its limits (:func:`inspo.sequences.fit`).
        conditioning: of the objective.
        reference: ``PLAIN`` as in Eq. (10), or ``CONDITIONED`` on what the policy sees.
        separator: tokens around a context.
        draft_cap: longest context in tokens (``limits.draft_tokens``), or None.
        eos_ids: leave these tokens out where they end a response, as the policy's sums then must too.
        with_plain: also the plain log-probs of both responses, for metrics.
        template: :attr:`scaled.templates.Template.identity`.
        token_budget: tokens of a packed row; a longer tree has a row of its own.
        attention: how to attend, see :mod:`inspo.hf.tree_attention`.
        cache_dir: folder of caches; None keeps nothing.
        cache_file: read this finished cache and no other; it must be of exactly this key.
        weights: :func:`weights_digest` of the model, needed where ZeRO-3 has partitioned it.
        ranks: which part this process computes; None for all.

    Returns:
        Sums and lengths of every pair, on every rank.

    Raises:
        ValueError: no pairs, a `cache_file` of another key (naming the parts that differ), a log-prob
            that is not finite (:class:`UnusableReferenceError`, naming the record), or several ranks without
            `cache_dir` or with one that they do not share (:class:`UnusableReferenceError`).
    """
    ranks = ranks or Ranks()
    if not pairs:
        raise ValueError("there are no pairs to compute reference log-probs of")
    requests = _requests(conditioning, reference, with_plain=with_plain)
    layout = _Layout(requests, separator, draft_cap, tuple(eos_ids), token_budget, attention)
    key = reference_key(
        _unwrapped(model),
        pairs,
        requests,
        separator=separator,
        draft_cap=draft_cap,
        eos_ids=eos_ids,
        template=template,
        weights=weights,
    )
    if cache_file is not None:
        columns = read_columns(Path(cache_file), key, (0, len(pairs)))
    elif cache_dir is not None:
        columns = _cached(model, pairs, layout, CacheFolder(Path(cache_dir), key, len(pairs)), ranks)
    elif ranks.world_size > 1:
        raise ValueError("several ranks exchange reference log-probs through files: give cache_dir")
    else:
        columns = Columns.join(list(_pass(model, pairs, layout, _spans(len(pairs)))))
    return ReferenceLogps(columns.sums, columns.lengths, key)


def _requests(conditioning: Conditioning, reference: ReferenceContext, *, with_plain: bool) -> tuple[LogpRequest, ...]:
    plain = Conditioning.NONE.requests() if with_plain else ()
    # In one order, whatever the objective's, so that objectives with the same needs share a file.
    return tuple(sorted({*conditioning.reference_requests(reference), *plain}, key=request_name))


def _unwrapped(model: nn.Module) -> nn.Module:
    while isinstance(inner := getattr(model, "module", None), nn.Module):
        model = inner
    return model


@dataclass(frozen=True)
class _Layout:
    """How pairs become rows."""

    requests: tuple[LogpRequest, ...]
    separator: Separator
    draft_cap: int | None
    eos_ids: tuple[int, ...]
    token_budget: int
    attention: str

    def rows(self, pairs: Sequence[PreferencePair]) -> list[tuple[list[int], PackedRow]]:
        """Packed rows, each with the indices of its pairs. A tree beyond the budget has its own row."""
        trees = [build_row([pair], self.requests, separator=self.separator, draft_cap=self.draft_cap) for pair in pairs]
        lengths = [min(len(tree), self.token_budget) for tree in trees]
        packs = plan_packs(lengths, self.token_budget)
        return [(members, concatenate([trees[index] for index in members])) for members in packs]


def _spans(pairs: int) -> list[Span]:
    return [(start, min(start + SHARD_PAIRS, pairs)) for start in range(0, pairs, SHARD_PAIRS)]


def _cached(
    model: nn.Module, pairs: Sequence[PreferencePair], layout: _Layout, folder: CacheFolder, ranks: Ranks
) -> Columns:
    """The finished file, made first where it is not there. Every rank sees the same files until the barrier."""
    found = folder.read()
    if found is not None:
        logger.info("reference log-probs read from %s", folder.file)
        return found
    spans = _spans(len(pairs))
    missing = [span for span in spans if folder.read_shard(span) is None]
    if len(missing) < len(spans):
        logger.info("reference log-probs: %d of %d shards are there already", len(spans) - len(missing), len(spans))
    ranks.barrier()
    mine = missing[ranks.rank :: ranks.world_size]
    for span, columns in zip(mine, _pass(model, pairs, layout, mine), strict=True):
        folder.write_shard(span, columns)
    _keep_in_step(model, pairs, layout, missing, ranks)
    ranks.barrier()
    if ranks.rank == 0:
        folder.finish(spans, _about(_unwrapped(model)))
    ranks.barrier()
    finished = folder.read()
    if finished is None:
        raise UnusableReferenceError(
            f"{folder.file} cannot be read back: the cache's folder must be shared by all ranks"
        )
    return finished


def _about(model: nn.Module) -> dict[str, str]:
    """For people, beside the key: what does not decide."""
    return {
        "model": str(causal_lm(model).config.name_or_path),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _pass(
    model: nn.Module, pairs: Sequence[PreferencePair], layout: _Layout, spans: Sequence[Span]
) -> Iterator[Columns]:
    """Numbers of each span of pairs in turn."""
    total = sum(end - start for start, end in spans)
    with tqdm(total=total, desc="reference", unit="pair", disable=None) as bar:
        for start, end in spans:
            part = pairs[start:end]
            sums: dict[LogpRequest, Tensor] = {}
            lengths = {request: torch.zeros(len(part), dtype=torch.int64) for request in layout.requests}
            for members, row in layout.rows(part):
                scored = _score(model, row, layout)
                for target, value, length in zip(row.targets, scored.sums, scored.lengths, strict=True):
                    index = members[target.pair]
                    column = sums.setdefault(target.request, torch.zeros(len(part), dtype=value.dtype))
                    column[index], lengths[target.request][index] = value, length
                bar.update(len(members))
            yield Columns(sums, lengths)


def _score(model: nn.Module, row: PackedRow, layout: _Layout) -> SequenceLogps:
    """Sums and lengths of a row's targets, on the CPU. Raises where one is not finite."""
    with _evaluating(model), torch.no_grad():
        # A wrapper's own forward must run; a bare model needs no accept_rows.
        token_logps = (
            model(row=row, attention=layout.attention)
            if _unwrapped(model) is not model
            else row_logps(model, row, attention=layout.attention)
        )
    counts = [len(target.labels) for target in row.targets]
    mask = None
    if layout.eos_ids:
        labels = torch.as_tensor(np.concatenate([target.labels for target in row.targets]), device=token_logps.device)
        mask = without_final_eos(labels, counts, layout.eos_ids)
    sums, lengths = (tensor.cpu() for tensor in sequence_logps(token_logps, counts, mask))
    for target, value in zip(row.targets, sums, strict=True):
        if not torch.isfinite(value):
            raise UnusableReferenceError(
                f"record {row.records[target.pair]}: the reference log-prob of {request_name(target.request)} is "
                f"{value.item()}: are the weights whole, and is the dtype wide enough?"
            )
    return SequenceLogps(sums, lengths)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Dropout off, then back as it was."""
    was_training = model.training
    model.train(mode=False)
    try:
        yield
    finally:
        model.train(was_training)


def _keep_in_step(
    model: nn.Module, pairs: Sequence[PreferencePair], layout: _Layout, missing: Sequence[Span], ranks: Ranks
) -> None:
    """Let a rank with fewer rows call a wrapped model as often as the others: ZeRO-3 gathers in its forward."""
    if _unwrapped(model) is model or ranks.world_size == 1 or not missing:
        return
    rows = [len(layout.rows(pairs[start:end])) for start, end in missing]
    calls = [sum(rows[rank :: ranks.world_size]) for rank in range(ranks.world_size)]
    _, row = layout.rows(pairs[:1])[0]
    for _ in range(max(calls) - calls[ranks.rank]):
        _score(model, row, layout)


def initial_margins(
    policy_logps: Mapping[LogpRequest, Tensor],
    reference: Mapping[LogpRequest, Tensor],
    conditioning: Conditioning,
    context: ReferenceContext,
) -> Tensor:
    """Log-ratio of chosen minus that of rejected: where training starts from.

    Zero for a policy equal to its reference, if both see the same context. With a conditioned policy
    and a plain reference it is not: it is what the other response does to a response's log-prob.

    Args:
        policy_logps: for each of the conditioning's requests (B,) nats.
        reference: for each of its reference requests (B,) nats.
        conditioning: of the objective.
        context: what the reference sees.

    Returns:
        (B,) nats, weighted over the objective's terms.
    """
    weighted = conditioning.terms(policy_logps, reference, reference=context)
    chosen, rejected = weighted_scores(weighted, PairLogps.logratios)
    return chosen - rejected

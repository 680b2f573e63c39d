"""Reference log-probs: one pass over the examples, kept on disk under a key of all they depend on.

The pass is written in shards and continues where it was interrupted. It is made with the policy as it is
*before* training. docs/reference.md says why log-ratios need not start at zero.

Shapes: n examples.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from inspo.conditioning import LogpRequest
from inspo.hf.rows import request_logps
from inspo.tree_size import tree_size
from scaled.data.examples import Examples
from scaled.data.packing import pack_pairs
from scaled.distributed import barrier, gathered, rank, world_size
from scaled.progress import progress
from scaled.reference.cache import (
    CacheFolder,
    Columns,
    Key,
    Span,
    UnusableReferenceError,
    reference_key,
    request_name,
)

logger = logging.getLogger(__name__)

SHARD_PAIRS, LEAST_SHARD_PAIRS, SHARDS = 512, 8, 32
"""Most and least pairs of one shard, which is what an interruption costs at most, per rank; and how many a pass has
where these allow it."""


@dataclass(frozen=True)
class Pass:
    """How the reference scores.

    Attributes:
        model: gives the reference, scoring tree rows; only asked where something is not in the cache.
        about: what its log-probs depend on beside the data: weights, architecture, dtype, template, attention.
        folder: of the caches, shared by all ranks.
        row_tokens: tokens of a packed row; a longer tree has a row of its own.
        attention: how to attend, see :mod:`inspo.hf.tree_attention`.
    """

    model: Callable[[], nn.Module]
    about: Mapping[str, str]
    folder: Path
    row_tokens: int = 8192
    attention: str = "auto"


def with_reference(examples: Examples, scored: Pass) -> Examples:
    """The examples with every reference log-prob of their layout, on every rank.

    Raises:
        UnusableReferenceError: a log-prob that is not finite, naming the record, ranks that would
            score other references, or a folder that ranks do not share.
    """
    if not examples.layout.reference or not examples:
        return examples
    # In one order, whatever the objective's, so that objectives with the same needs share a file.
    requests = tuple(sorted(examples.layout.reference, key=request_name))
    key = reference_key(examples, requests, scored.about)
    sums = _cached(examples, requests, key, scored)
    mismatched = None if examples.mismatched is None else with_reference(examples.mismatched, scored)
    return replace(examples, reference=sums, mismatched=mismatched)


def _cached(examples: Examples, requests: Sequence[LogpRequest], key: Key, scored: Pass) -> Columns:
    """The finished file, made first where it is not there. Every rank sees the same files until the barrier."""
    if different := sorted({part for other in gathered(key) for part in key if other.get(part) != key[part]}):
        raise UnusableReferenceError(
            f"ranks would score other references ({', '.join(different)} differ): give all machines the same files, "
            "packages and devices"
        )
    folder = CacheFolder(scored.folder, key, len(examples))
    found = folder.read()
    if found is not None:
        logger.info("reference log-probs read from %s", folder.file)
        return found
    spans = _spans(len(examples))
    missing = [span for span in spans if folder.read_shard(span) is None]
    if len(missing) < len(spans):
        logger.info("reference log-probs: %d of %d shards are there already", len(spans) - len(missing), len(spans))
    barrier()
    mine = missing[rank() :: world_size()]
    for span, columns in zip(mine, _pass(examples, requests, mine, scored), strict=True):
        folder.write_shard(span, columns)
    barrier()
    if rank() == 0:
        folder.finish(spans)
    barrier()
    finished = folder.read()
    if finished is None:
        raise UnusableReferenceError(
            f"{folder.file} cannot be read back: the cache's folder must be shared by all ranks"
        )
    return finished


def _spans(pairs: int) -> list[Span]:
    """The shards of so many pairs."""
    size = min(SHARD_PAIRS, max(LEAST_SHARD_PAIRS, math.ceil(pairs / SHARDS)))
    return [(start, min(start + size, pairs)) for start in range(0, pairs, size)]


def _pass(
    examples: Examples, requests: Sequence[LogpRequest], spans: Sequence[Span], scored: Pass
) -> Iterator[Columns]:
    """Log-probs of each span of examples in turn."""
    total, shared = sum(end - start for start, end in spans), examples.shared(requests)
    with progress(total, "reference", "pair") as bar:
        for start, end in spans:
            pairs = range(start, end)
            lengths = [tree_size(shared.sequences(pair)) for pair in pairs]
            parts, order = [], []
            for members in pack_pairs(pairs, lengths, shared, scored.row_tokens):
                parts.append(_score(examples, [start + member for member in members], requests, scored))
                order += members
                bar.update(len(members))
            place = torch.tensor(order).argsort()
            yield {request: torch.cat([part[request] for part in parts])[place] for request in requests}


@torch.no_grad()
def _score(
    examples: Examples, indices: Sequence[int], requests: Sequence[LogpRequest], scored: Pass
) -> dict[LogpRequest, Tensor]:
    """(B,) log-probs of some examples by request, on the CPU. Raises where one is not finite."""
    found = request_logps(scored.model(), examples.row(indices, requests), attention=scored.attention)
    for request, values in found.items():
        for index, value in zip(indices, values.tolist(), strict=True):
            if not math.isfinite(value):
                raise UnusableReferenceError(
                    f"record {examples.pairs[index].record}: the reference log-prob of {request_name(request)} is "
                    f"{value}: are the weights whole, and is the dtype wide enough?"
                )
    return {request: values.cpu() for request, values in found.items()}

"""Attention over packed prefix trees, for transformers models as they are.

A row of :mod:`inspo.prefix_tree` holds trees of tokens in depth-first order. Row q sees row k when

    k <= q < subtree_ends[k],  and in a layer with a window also  depth[q] - depth[k] < window.

Importing this module registers one attention of that rule with transformers, under the name
:data:`TREE_ATTENTION`. A model that runs on it takes its trees as extra keyword arguments::

    model.set_attn_implementation(TREE_ATTENTION)
    model(input_ids=..., **TreeAttention.of(row, device).arguments())

Without trees it attends as under ``sdpa``, with masks and a cache: ``model.generate`` and plain forward passes
are what they are on that attention.

How the rule is computed travels with the trees, so a layer that is recomputed under gradient
checkpointing does as it did the first time:

``pathwise``
    One causal scaled-dot-product attention per root-to-leaf path over the path's keys and values; of
    each path only the rows that no earlier path had are kept. The default.
``dense``
    One T x T mask. The plain reference.
``flex``
    FlexAttention with the rule as block mask. For CUDA: on CPU it has no backward.
``varlen``
    Variable-length flash attention, one entry per path: queries its new rows, keys the path. CUDA,
    half precision, no soft cap.

Tested on CPU only: ``pathwise`` and ``dense`` forward and backward; ``flex`` forward, compiled too; of
``varlen`` everything but the kernel. ``auto`` is ``pathwise`` on every device, until another one has been
measured to be faster there: on CUDA it is two flash calls per pair and layer. Where there
is a soft cap (Gemma-2), ``pathwise`` and ``dense`` keep each path's scores; ``flex`` does not. Before
using another one, run :func:`inspo.hf.rows.verify_tree_attention` with it.

Shapes: T rows, H query heads, G key/value heads, D head dimension, L rows of one path, N paths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from inspo.hf.trees import TreeAttention, is_no_mask

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch before 2.10
    varlen_attn = None  # type: ignore[assignment]  # asked for before use

TREE_ATTENTION = "inspo_tree"
"""The name that transformers knows this attention by."""


@dataclass(frozen=True)
class Scoring:
    """How a layer scores keys.

    Attributes:
        scaling: what scores are multiplied by.
        window: depths at a difference of `window` or more are out of sight; None for no window.
        softcap: c in ``c tanh(score / c)``, or None.
        dropout: probability that an attention weight is dropped.
    """

    scaling: float
    window: int | None = None
    softcap: float | None = None
    dropout: float = 0.0


Implementation = Callable[[TreeAttention, Tensor, Tensor, Tensor, Scoring], Tensor]
"""(trees, query (1, H, T, D), key (1, G, T, D), value (1, G, T, D), scoring) -> (1, H, T, D)."""


def pathwise(tree: TreeAttention, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
    """One causal attention per path.

    What a path shares with earlier ones is either attended again, which needs no mask, or left out
    of the queries, which needs one. By measurement on CPU (hidden 256, 4 heads, forward and backward,
    responses of 370 and 180): prompt 40: 20.1 ms again, 21.8 ms masked (34.7 ms for the dense mask);
    prompt 512: 43.4, 41.5 (69.4); prompt 1500: 131, 102 (183). So: masked once more than half is shared.
    """
    queries, keys, values = (torch.split(part, tree.node_sizes, dim=2) for part in (query, key, value))
    outputs = []
    for path in tree.paths:
        masked = path.length > 2 * path.new or (scoring.window is not None and path.length > scoring.window)
        path_query = torch.cat([queries[node] for node in path.nodes], dim=2)
        output = _attend(
            path_query[:, :, -path.new :] if masked else path_query,
            torch.cat([keys[node] for node in path.nodes], dim=2),
            torch.cat([values[node] for node in path.nodes], dim=2),
            tree.keep((path.length, path.new, scoring.window), partial(tree.causal_mask, path, scoring.window))
            if masked
            else None,
            scoring,
        )
        outputs.append(output[:, :, -path.new :])
    return torch.cat(outputs, dim=2)


def dense(tree: TreeAttention, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
    """One attention under a T x T boolean mask."""
    rows = torch.arange(query.shape[2], device=query.device)
    mask = tree.keep(("dense", scoring.window), lambda: tree.visible(rows[:, None], rows, scoring.window))
    return _attend(query, key, value, mask, scoring)


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scoring: Scoring,
) -> Tensor:
    """Attention of (1, H, n, D) queries over (1, G, L, D) keys under a (n, L) bool mask, or causal where it is None."""
    groups = query.shape[1] // key.shape[1]
    attend = partial(scaled_dot_product_attention, dropout_p=scoring.dropout, scale=scoring.scaling)
    if scoring.softcap is None and mask is None:
        return attend(query, key, value, is_causal=True, enable_gqa=groups > 1)
    if groups > 1:  # with a mask, CUDA has grouped heads only in its slowest kernel
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    if scoring.softcap is None:
        return attend(query, key, value, attn_mask=mask)
    if mask is None:
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril()
    scores = scoring.softcap * torch.tanh(query @ key.mT * scoring.scaling / scoring.softcap)
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)  # -inf would make a padded row NaN
    weights = torch.softmax(scores, -1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(query.dtype)
    return nn.functional.dropout(weights, scoring.dropout) @ value


def flex(tree: TreeAttention, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
    """FlexAttention with the rule as block mask. Compiled on CUDA only."""
    if scoring.dropout:
        raise ValueError("flex attention has no dropout; set the model's attention_dropout to 0 or use pathwise")
    rows = query.shape[2]

    def make() -> BlockMask:
        def rule(_batch: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return tree.visible(q, k, scoring.window)

        return create_block_mask(rule, None, None, rows, rows, device=query.device, _compile=query.is_cuda)

    def cap(score: Tensor, _batch: Tensor, _head: Tensor, _q: Tensor, _k: Tensor) -> Tensor:
        return score if scoring.softcap is None else scoring.softcap * torch.tanh(score / scoring.softcap)

    run = _compiled_flex() if query.is_cuda else cast("Callable[..., Tensor]", flex_attention)
    return run(
        query,
        key,
        value,
        score_mod=None if scoring.softcap is None else cap,
        block_mask=tree.keep(("flex", scoring.window), make),
        scale=scoring.scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )


@cache
def _compiled_flex() -> Callable[..., Tensor]:
    return torch.compile(flex_attention)


def varlen(tree: TreeAttention, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
    """Variable-length flash attention with one entry per path.

    The kernel aligns causality to the end of queries and keys. A path's new rows are its last ones
    and stand in the packed row in order, so queries need no gathering.
    """
    if varlen_attn is None:
        raise ValueError("varlen attention needs torch >= 2.10; use pathwise")
    if scoring.softcap is not None or scoring.dropout:
        raise ValueError("varlen attention has neither soft cap nor dropout; use pathwise")
    key_rows, query_ends, key_ends = tree.keep("varlen", tree.varlen_index)
    output = varlen_attn(
        query[0].transpose(0, 1),
        key[0].transpose(0, 1)[key_rows],
        value[0].transpose(0, 1)[key_rows],
        query_ends,
        key_ends,
        max(path.new for path in tree.paths),
        max(path.length for path in tree.paths),
        scale=scoring.scaling,
        window_size=(-1 if scoring.window is None else scoring.window - 1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return cast("Tensor", output).transpose(0, 1)[None]


IMPLEMENTATIONS: dict[str, Implementation] = {"pathwise": pathwise, "dense": dense, "flex": flex, "varlen": varlen}
"""Every way to compute the rule, by the name that configurations use."""


def tree_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    tree: TreeAttention | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """The attention that transformers calls in every layer.

    Args:
        module: the layer's attention module.
        query: (1, H, T, D); without trees (B, H, q, D).
        key: (1, G, T, D); without trees (B, G, k, D).
        value: as `key`.
        attention_mask: with trees, which bring their own rule, that of ``TreeAttention.arguments`` or None.
        scaling: what scores are multiplied by; None for D ** -0.5.
        dropout: probability that an attention weight is dropped.
        sliding_window: the layer's window in tokens, or None.
        softcap: the layer's soft cap of attention scores, or None.
        tree: the trees of the row, or None for plain attention.
        others: other arguments that the model passes on to its layers.

    Returns:
        (1, T, H, D), without trees (B, q, H, D), and None for the weights.

    Raises:
        ValueError: trees that did not reach the layer; with trees a mask, other than one row, or attention of a
            kind that trees do not have.
    """
    scoring = Scoring(query.shape[-1] ** -0.5 if scaling is None else scaling, sliding_window, softcap, dropout)
    if tree is None:
        if is_no_mask(attention_mask):
            raise ValueError(
                f"{type(module).__name__} got no trees: an architecture that keeps keyword arguments from its layers "
                "is not supported"
            )
        return _without_trees(module, query, key, value, attention_mask, scoring, others)
    _refuse_unknown_attention(module, attention_mask, sliding_window, others)
    if query.shape[0] != 1 or not query.shape[2] == key.shape[2] == len(tree.positions):
        raise ValueError(f"one row of {len(tree.positions)} tokens expected, got queries of shape {tuple(query.shape)}")
    tree.layers.add(int(getattr(module, "layer_idx", id(module))))
    output = IMPLEMENTATIONS[tree.attention](tree, query, key, value, scoring)
    return output.transpose(1, 2).contiguous(), None


def _without_trees(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scoring: Scoring,
    others: dict[str, Any],
) -> tuple[Tensor, None]:
    """Plain attention; the window is in the mask. With a soft cap, which transformers' own does not compute."""
    if scoring.softcap is None:
        output, _ = sdpa_attention_forward(
            module, query, key, value, mask, dropout=scoring.dropout, scaling=scoring.scaling, **others
        )
        return output, None
    if mask is None:  # causal; in a cache with more room than tokens the first ones are those
        seen = key.shape[2] if query.shape[2] == 1 else query.shape[2]
        key, value = key[:, :, :seen], value[:, :, :seen]
        mask = torch.ones(query.shape[2], seen, dtype=torch.bool, device=query.device).tril(seen - query.shape[2])
    return _attend(query, key, value, mask, scoring).transpose(1, 2).contiguous(), None


def _refuse_unknown_attention(
    module: nn.Module, attention_mask: Tensor | None, sliding_window: int | None, others: dict[str, Any]
) -> None:
    """Raise where this layer wants something that the rule does not compute."""
    if attention_mask is not None and not is_no_mask(attention_mask):
        raise ValueError(
            "tree attention takes no attention mask: rows are not padded and trees bring their own rule; "
            "call the model with **tree.arguments()"
        )
    for name in ("s_aux", "position_bias", "alibi", "head_mask", "cache"):
        if others.get(name) is not None:
            raise ValueError(f"{type(module).__name__} wants {name}, which attention over trees does not compute")
    if getattr(module, "is_causal", True) is False or others.get("is_causal") is False:
        raise ValueError(f"{type(module).__name__} is bidirectional; attention over trees is causal")
    layer_type = getattr(module, "layer_type", None)
    if layer_type == "sliding_attention" and sliding_window is None:
        raise ValueError(f"{type(module).__name__} is a sliding layer that does not pass its window on")


AttentionInterface.register(TREE_ATTENTION, tree_attention)
AttentionMaskInterface.register(TREE_ATTENTION, sdpa_mask)

"""TRL's forward pass over a tree row, by two hooks on the decoder.

TRL computes log-probs in ``model(**batch, labels=labels, fused_lm_head=True)``: the decoder's hidden states, then the
output layer, a chunk at a time, on those that predict a label. Of a batch with a ``tree`` the first hook gives the
decoder the packed row in place of the batch's rows, and the second one hands the hidden states on row by row. So what
follows is TRL's own: log-probs, entropy, logits, accuracy, under PEFT, DDP or DeepSpeed. Batches without a ``tree``,
and ``generate``, pass both by.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from inspo.hf.architectures import check_supported
from inspo.hf.rows import causal_lm, check_layers, prepare_trees, row_tokens
from inspo.hf.tree_attention import TREE_ATTENTION
from inspo.hf.trees import TreeAttention
from inspo.trl.batches import TreeRow


def accept_trees(model: nn.Module) -> None:
    """Put a model on tree attention and let it take batches with a ``tree``; a second call changes nothing.

    Args:
        model: a transformers causal language model, or PEFT around one, out of any other wrapper.

    Raises:
        ValueError: an architecture or a wrapper that tree rows would be wrong for.
    """
    policy = causal_lm(model)
    check_supported(policy)
    if policy.config._attn_implementation == TREE_ATTENTION:  # noqa: SLF001  # transformers' only place for it
        return
    policy.set_attn_implementation(TREE_ATTENTION)

    def enter(_decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        given = kwargs.get("tree")
        if not isinstance(given, TreeRow):
            return None
        device = kwargs["input_ids"].device
        tree = prepare_trees(policy, given.row, device)
        tree.keep("index", lambda: torch.as_tensor(given.index, device=device))
        return args, kwargs | {"input_ids": row_tokens(given.row, device), **tree.arguments()}

    def leave(_decoder: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        tree = kwargs.get("tree")
        if isinstance(tree, TreeAttention):
            check_layers(policy, tree)
            output.last_hidden_state = output.last_hidden_state[0][tree.kept("index")]

    decoder = policy.base_model
    decoder.register_forward_pre_hook(enter, with_kwargs=True)
    decoder.register_forward_hook(leave, with_kwargs=True)

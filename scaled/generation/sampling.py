"""One response from a policy, sampled at temperature 1 from the whole distribution, to the same bits for a seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from inspo.hf.rows import causal_lm


@torch.no_grad()
def sample(model: nn.Module, prompt: Sequence[int], *, max_tokens: int, end: int, seed: int) -> list[int]:
    """Sample, leaving the random numbers of training as they are.

    Args:
        model: a policy on tree attention, in evaluation mode and not wrapped.
        prompt: its tokens.
        max_tokens: of the response.
        end: id of the token that ends a response.
        seed: of this response.

    Returns:
        The response's tokens, with its end where it came to one.
    """
    policy = causal_lm(model)
    tokens = torch.tensor([list(prompt)], device=policy.device)
    devices = [policy.device] if policy.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        made = cast("Any", policy).generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=max_tokens,
            eos_token_id=end,
            pad_token_id=end,
            use_cache=True,
        )
    return list(map(int, made[0, len(prompt) :].tolist()))

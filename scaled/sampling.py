"""KL(pi || pi_ref) of the deployed policy, from responses that it samples itself.

What the journal's log-ratios say is about the data's responses; this is about the policy's own. One
response is drawn per prompt, at temperature 1 from the whole distribution, so that the mean of
log pi(y | x) - log pi_ref(y | x) is an unbiased estimate. Responses that `most` tokens cut off count up
to there: the estimate is of the KL over that many tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from inspo.conditioning import LogpRequest, Role
from inspo.pairs import PreferencePair
from inspo.hf.tree_attention import TREE_ATTENTION
from scaled.lifecycle import gathered, rank, ranks
from inspo.hf.rows import causal_lm
from scaled.objective import score

_OWN = LogpRequest(Role.CHOSEN)


@dataclass(frozen=True, eq=False)
class Sampling:
    """What to sample, and what to compare it with.

    Attributes:
        prompts: N prompts in tokens.
        most: tokens of a response at most.
        end: id of the token that ends a response.
        seed: with the update and the prompt's number, of each response.
        reference: the initial policy, prepared; None for the policy with its adapter switched off.
        autocast: makes what generation and the reference's forward run under.
    """

    prompts: Sequence[Sequence[int]]
    most: int
    end: int
    seed: int
    reference: nn.Module | None = None
    autocast: Callable[[], AbstractContextManager[Any]] = field(default=nullcontext)


def sample_kl(model: nn.Module, sampling: Sampling, update: int, attention: str = "auto") -> dict[str, float]:
    """Estimate KL(pi || pi_ref) over the prompts, which ranks share. All ranks must call.

    Args:
        model: the policy, prepared, with all its weights here, in evaluation mode and not wrapped.
        sampling: what to sample.
        update: during which update.
        attention: how to attend when scoring, see :mod:`inspo.hf.tree_attention`.

    Returns:
        ``sample_kl``, mean in nats per response; ``sample_kl_error``, its standard error (NaN of one
        prompt); ``sample_length``, mean tokens. The same on all ranks, and for any number of them.
    """
    mine = range(rank(), len(sampling.prompts), ranks())
    found = [_log_ratio(model, sampling, index, update, attention) for index in mine]
    numbers = torch.tensor([each for part in gathered(found) for each in part], dtype=torch.float64)
    numbers = numbers[numbers[:, 0].argsort()]  # by prompt, so that the sum is the same for any ranks
    ratios = numbers[:, 1]
    return {
        "sample_kl": float(ratios.mean()),
        "sample_kl_error": float(ratios.std() / len(ratios) ** 0.5),
        "sample_length": float(numbers[:, 2].mean()),
    }


def _log_ratio(model: nn.Module, sampling: Sampling, index: int, update: int, attention: str) -> tuple[int, float, int]:
    """The prompt's number, log(pi / pi_ref) of one sampled response in nats, and its tokens."""
    prompt = sampling.prompts[index]
    seed = int(np.random.default_rng([sampling.seed, update, index]).integers(2**63))
    response = draw(model, prompt, sampling, seed)
    # The second response of a pair is not asked for; it only has to be another one.
    pair = PreferencePair(prompt, response, [*response, sampling.end])
    policy = score(model, [pair], [_OWN], attention=attention)[_OWN]
    unadapted = nullcontext() if sampling.reference is not None else cast("Any", model).disable_adapter()
    with unadapted, sampling.autocast():
        reference = score(sampling.reference or model, [pair], [_OWN], attention=attention)[_OWN]
    return index, float(policy.double() - reference.double()), len(response)


@torch.no_grad()
def draw(model: nn.Module, prompt: Sequence[int], sampling: Sampling, seed: int) -> list[int]:
    """One response from the policy, leaving the random numbers of training as they are."""
    policy = causal_lm(model)
    tokens = torch.tensor([list(prompt)], device=policy.device)
    policy.set_attn_implementation("sdpa")  # generation has no trees, but a cache
    devices = [policy.device] if policy.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices), sampling.autocast():
            torch.manual_seed(seed)
            made = cast("Any", policy).generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new_tokens=sampling.most,
                eos_token_id=sampling.end,
                pad_token_id=sampling.end,
                use_cache=True,
            )
    finally:
        policy.set_attn_implementation(TREE_ATTENTION)
    response: Tensor = made[0, len(prompt) :]
    return list(map(int, response.tolist()))

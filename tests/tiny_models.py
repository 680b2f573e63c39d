"""Small random models of each family, and their log-probs of separate sequences: the stock way.

Weights are drawn ten times wider than usual, so that attention matters: a wrong mask shows as tenths
of a nat and not as rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from inspo.conditioning import Conditioning
from inspo.pairs import PreferencePair
from inspo.sequences import NO_SEPARATOR, Separator, response, scored_of, scored_sequence

VOCABULARY = 97

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": 5},
    "gemma2": {
        "sliding_window": 6,
        "layer_types": ["sliding_attention", "full_attention"],
        "attn_logit_softcapping": 3.0,
        "final_logit_softcapping": 4.0,
        "query_pre_attn_scalar": 8,
        "head_dim": 8,
    },
    "qwen2": {"use_sliding_window": True, "sliding_window": 7, "layer_types": ["full_attention", "sliding_attention"]},
    "qwen3": {"head_dim": 16},
    "gemma3_text": {
        "sliding_window": 6,
        "layer_types": ["sliding_attention", "full_attention"],
        "query_pre_attn_scalar": 8,
        "head_dim": 8,
    },
    "granite": {
        "logits_scaling": 3.0,
        "attention_multiplier": 0.2,
        "embedding_multiplier": 2.0,
        "residual_multiplier": 0.5,
    },
    "olmo2": {},
    "phi3": {"sliding_window": 9},
    "cohere2": {"logit_scale": 0.3, "sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]},
    "mixtral": {"sliding_window": 5, "num_local_experts": 4},
    "gpt2": {},
}
SEPARATORS = (NO_SEPARATOR, Separator(before_target=(95, 96)), Separator((94,), (94,)))


def tiny_config(family: str, **changes: Any) -> Any:
    """Configuration of a two-layer model, grouped heads where the family has them."""
    base: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "initializer_range": 0.2,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if family == "gpt2":
        del base["num_key_value_heads"], base["intermediate_size"]
    return AutoConfig.for_model(family, **(base | FAMILIES.get(family, {}) | changes))


def tiny_model(family: str, dtype: torch.dtype = torch.float32, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A random model in evaluation mode, on the family's stock attention."""
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(tiny_config(family, **changes)).to(dtype).eval()


def keep_float64(model: PreTrainedModel) -> PreTrainedModel:
    """Let a float64 model be float64 throughout: its stock RMS norms round to float32 within."""
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = functools.partial(
                torch.rms_norm, normalized_shape=module.weight.shape, weight=module.weight, eps=module.variance_epsilon
            )
    return model.double()


def stock_attention(family: str) -> str:
    """Transformers' own attention that computes the family as it is meant."""
    return "eager" if family == "gemma2" else "sdpa"


def random_pair(rng: np.random.Generator, longest: int = 20) -> PreferencePair:
    """Any of: responses that start alike, one the prefix of the other, one token long, few distinct tokens, masked."""
    alphabet = int(rng.choice([3, 90]))

    def tokens(least: int = 1) -> list[int]:
        return rng.integers(3, 3 + alphabet, rng.integers(least, longest + 1)).tolist()

    shared = tokens() if rng.random() < 0.4 else []
    chosen, rejected = shared + tokens(), shared + (tokens() if rng.random() < 0.8 or not shared else [])
    masked = ((1, len(chosen) - 1),) if len(chosen) > 2 and rng.random() < 0.2 else ()
    return PreferencePair(tokens(), chosen, rejected if rejected != chosen else [*chosen, 93], chosen_masked=masked)


def stock_logps(
    model: PreTrainedModel,
    pairs: Sequence[PreferencePair],
    conditioning: Conditioning,
    *,
    separator: Separator = NO_SEPARATOR,
    draft_cap: int | None = None,
) -> Tensor:
    """(n,) scored tokens' log-probs in the order of a packed row's targets, each sequence alone, no padding."""
    parts = []
    for pair in pairs:
        for request in conditioning.requests():
            tokens = torch.tensor(scored_sequence(pair, request, separator=separator, draft_cap=draft_cap))
            labels = tokens[-len(response(pair, request.target)) :]
            logits = model(input_ids=tokens[None, :-1], use_cache=False).logits[0, -len(labels) :]
            scored = torch.as_tensor(scored_of(pair, request.target))
            parts.append(torch.log_softmax(logits, -1).gather(-1, labels[:, None])[scored, 0])
    return torch.cat(parts)


def gradients(model: PreTrainedModel, logps: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Each parameter's gradient of the weighted sum of log-probs."""
    model.zero_grad(set_to_none=True)
    (logps * weights).sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}

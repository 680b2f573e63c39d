"""Which transformers architectures a packed tree row is right for, and a clear error for the others.

A tree row gives every token its position in its own sequence and lets it see that sequence alone. That
is right for a decoder with rotary (or, within their table, learned) positions that mixes tokens in
attention alone, through transformers' attention interface. It is silently wrong where anything else
depends on the order of the rows: recurrent and convolutional layers, ALiBi biases, chunked attention, an
encoder. :func:`check_supported` says so before weights are loaded;
:func:`inspo.hf.rows.verify_tree_attention` compares log-probs.
"""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

ADVICE = "use a decoder with rotary positions and softmax attention, such as Llama, Mistral, Gemma-2 or Qwen"

VERIFIED = frozenset(
    {
        *("cohere2", "gemma2", "gemma3_text", "gpt2", "granite", "llama"),
        *("mistral", "mixtral", "olmo2", "phi3", "qwen2", "qwen3"),
    }
)
"""Model types that the tests compare, token by token, with separate sequences through the stock model."""

_POSITION_BIASES = {"bloom": "ALiBi", "mpt": "ALiBi", "t5": "relative position biases"}
_LAYERS_OF_TREES = {"full_attention", "sliding_attention"}
_LEARNED_POSITIONS = {"gpt2", "gpt_bigcode", "gpt_neo", "opt", "biogpt", "xglm", "codegen"}
_LENGTH_DEPENDENT_ROPE = {"dynamic", "longrope"}


def check_supported(model: PreTrainedConfig | PreTrainedModel) -> None:
    """Raise where packed tree rows would be wrong for an architecture, or cannot be attended over.

    Args:
        model: a configuration, before weights are loaded, or a model.

    Raises:
        ValueError: one line that says what is wrong, why, and what to do.
    """
    config = model if isinstance(model, PreTrainedConfig) else model.config
    if reason := _reason_against(config, model if isinstance(model, PreTrainedModel) else _causal_lm_class(config)):
        raise ValueError(f"{config.model_type}: {reason}, so a packed tree row would score it wrongly; {ADVICE}")


def _reason_against(config: PreTrainedConfig, model: Any) -> str | None:
    """Why an architecture is not supported, or None. `model` is a model, a model class or None."""
    text = config.get_text_config(decoder=True)
    odd_layers = set(getattr(text, "layer_types", None) or ()) - _LAYERS_OF_TREES
    bias = _POSITION_BIASES.get(config.model_type) or ("ALiBi" if getattr(text, "alibi", False) else None)
    bidirectional = getattr(text, "use_bidirectional_attention", False) or getattr(text, "is_causal", True) is False
    recurrent = getattr(model, "_is_stateful", False) or "linear_attention" in odd_layers
    reasons = [
        (getattr(config, "is_encoder_decoder", False), "it has an encoder, which reads the prompt in both directions"),
        (bias, f"it uses {bias}, computed from a token's place in the row and not from its depth in the tree"),
        (recurrent, "its recurrent layers carry a state from each token to the next in the row"),
        (
            odd_layers,
            f"its layers of type {', '.join(sorted(odd_layers))} depend on a token's place in the row",
        ),
        (bidirectional, "it attends in both directions"),
        (model is None, "transformers has no causal language model of this type"),
        (
            not getattr(model, "_supports_attention_backend", False),
            "its layers do not call transformers' attention interface, through which trees are passed",
        ),
    ]
    return next((reason for holds, reason in reasons if holds), None)


def _causal_lm_class(config: PreTrainedConfig) -> Any:
    found = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    return found[0] if isinstance(found, (list, tuple)) else found


def check_depth(config: PreTrainedConfig, depth: int) -> None:
    """Raise where a tree is deeper than the model's positions reach, or deep enough to change them.

    Args:
        config: the model's configuration.
        depth: tokens of the longest path in the row.

    Raises:
        ValueError: learned positions run out; or rotary frequencies that change with the longest
            sequence of the row (dynamic scaling, LongRoPE) would change, and pairs would depend on
            their neighbors in the row.
    """
    text = config.get_text_config(decoder=True)
    limit = getattr(text, "max_position_embeddings", None)
    if text.model_type in _LEARNED_POSITIONS and limit is not None and depth > limit:
        raise ValueError(
            f"a sequence of {depth} tokens exceeds the {limit} learned positions of {text.model_type}: lower max_length"
        )
    rope = getattr(text, "rope_parameters", None) or {}
    for parameters in [rope, *(part for part in rope.values() if isinstance(part, dict))]:
        if parameters.get("rope_type") not in _LENGTH_DEPENDENT_ROPE:
            continue
        original = parameters.get("original_max_position_embeddings") or limit
        if original is not None and depth > original:
            raise ValueError(
                f"a sequence of {depth} tokens exceeds {original}, where the {parameters['rope_type']} rotary "
                f"frequencies of {text.model_type} change for the whole row: lower max_length"
            )

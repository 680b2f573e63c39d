"""A byte-level BPE tokenizer trained on the spot, with the control tokens of several templates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from scaled.model.random_weights import train_bpe

CONTROL_TOKENS = (
    *("<s>", "</s>", "<|im_start|>", "<|im_end|>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
)
TEXTS = ("What is a tree? A tree has a root, and a root has leaves.\n\nYes - and no!", "Hello there, what is it?")


def tiny_tokenizer(
    texts: Iterable[str] = TEXTS,
    *,
    vocab_size: int = 400,
    control_tokens: Sequence[str] = CONTROL_TOKENS,
    adds_bos: bool = True,
    **options: str,
) -> PreTrainedTokenizerFast:
    """Train a tokenizer that, like Llama's, puts its beginning-of-text token before plain text.

    Any text has tokens, and text that was seen often has long ones that cross spaces and newlines' borders.
    """
    tokenizer = train_bpe(texts, vocab_size, control_tokens)
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
    names = {"bos_token": "<s>", "eos_token": "</s>"} | options
    known = {name: token for name, token in names.items() if token in control_tokens}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **known)

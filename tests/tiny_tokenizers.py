"""A byte-level BPE tokenizer trained on the spot, with the control tokens of several templates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

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
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(control_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
    names = {"bos_token": "<s>", "eos_token": "</s>"} | options
    known = {name: token for name, token in names.items() if token in control_tokens}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **known)

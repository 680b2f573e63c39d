"""``model: random``: random weights of a shipped architecture, and a tokenizer trained on the data. All offline."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from inspo.command_line import UserError
from scaled.workarounds import readable_by_all

ARCHITECTURES = Path(__file__).parents[1] / "configs" / "architectures"

_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VOCABULARY_SIZE = 1024
"""Tokens of a tokenizer that is trained on the data, at most."""


def shipped_architecture(name: str, **changes: Any) -> PreTrainedConfig:
    """A shipped architecture, with changes.

    Raises:
        UserError: no such architecture.
    """
    path = ARCHITECTURES / f"{name}.json"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in ARCHITECTURES.glob("*.json")))
        raise UserError(f"architecture = {name!r} must be one of {shipped}")
    values = json.loads(path.read_text()) | changes
    return AutoConfig.for_model(values.pop("model_type"), **values)


def train_bpe(texts: Iterable[str], size: int, special_tokens: Sequence[str]) -> Tokenizer:
    """A byte-level BPE tokenizer, special tokens numbered first; the same for the same texts in the same order."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def train_tokenizer(texts: Iterable[str], chat_template: str, size: int = VOCABULARY_SIZE) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with ChatML's control tokens; the same for the same texts in the same order.

    Args:
        texts: what it is trained on.
        chat_template: in Jinja.
        size: tokens of the vocabulary at most.
    """
    made = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        tokenizer_object=train_bpe(texts, size, _SPECIAL),
        eos_token=_SPECIAL[2],
        pad_token=_SPECIAL[0],
    )
    made.chat_template = chat_template
    return made


def fitting_architecture(name: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """A shipped architecture with a tokenizer's vocabulary.

    Raises:
        UserError: no such architecture.
    """
    return shipped_architecture(
        name,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def write_random_model(
    folder: Path, architecture: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, seed: int
) -> None:
    """Write random weights and their tokenizer as a Hugging Face folder. The same for the same arguments.

    Args:
        folder: what is there is replaced, once the new one is complete.
        architecture: of the model.
        tokenizer: goes with it.
        seed: of the weights.
    """
    staged = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(staged, ignore_errors=True)
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(copy.deepcopy(architecture))  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    torch.set_rng_state(state)
    model.save_pretrained(staged)
    tokenizer.save_pretrained(staged)
    readable_by_all(staged)
    shutil.rmtree(folder, ignore_errors=True)
    staged.replace(folder)

"""A small base of our own: random weights of an architecture, and a tokenizer trained on the data. All offline."""

from __future__ import annotations

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

from scaled.config import ConfigError
from scaled.records import Record
from scaled.templates import NAMED

ARCHITECTURES = Path(__file__).parent / "configs" / "architectures"

_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_VOCABULARY = 1024


def architecture(name: str, **changes: Any) -> PreTrainedConfig:
    """The numbers of a shipped architecture.

    Raises:
        ConfigError: no such architecture.
    """
    path = ARCHITECTURES / f"{name}.json"
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in ARCHITECTURES.glob("*.json")))
        raise ConfigError(f"architecture = {name!r} must be one of {shipped}")
    numbers = json.loads(path.read_text()) | changes
    return AutoConfig.for_model(numbers.pop("model_type"), **numbers)


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


def train_tokenizer(texts: Iterable[str], size: int = _VOCABULARY) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with ChatML turns; the same for the same texts in the same order."""
    made = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        tokenizer_object=train_bpe(texts, size, _SPECIAL),
        eos_token=_SPECIAL[2],
        pad_token=_SPECIAL[0],
    )
    made.chat_template = NAMED["chatml"]
    return made


def base_tokenizer(records: Iterable[Record]) -> PreTrainedTokenizerFast:
    """A tokenizer trained on the text of records."""
    return train_tokenizer(
        text
        for record in records
        for text in (*(turn["content"] for turn in record["prompt"]), record["chosen"], record["rejected"])
    )


def base_architecture(name: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """A shipped architecture with a tokenizer's vocabulary.

    Raises:
        ConfigError: no such architecture.
    """
    return architecture(
        name,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def write_base(folder: Path, numbers: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, seed: int) -> None:
    """Write random weights and their tokenizer as a Hugging Face folder. The same for the same arguments.

    Args:
        folder: what is there is replaced, once the new one is complete.
        numbers: the architecture.
        tokenizer: goes with it.
        seed: of the weights.
    """
    staged = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(staged, ignore_errors=True)
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(numbers)  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    torch.set_rng_state(state)
    model.save_pretrained(staged)
    tokenizer.save_pretrained(staged)
    shutil.rmtree(folder, ignore_errors=True)
    staged.replace(folder)


def make_base(folder: Path, name: str, records: Iterable[Record], seed: int) -> None:
    """:func:`write_base` for a shipped architecture and a tokenizer of its own.

    Args:
        folder: made anew.
        name: of the shipped architecture.
        records: what the tokenizer is trained on.
        seed: of the weights.
    """
    tokenizer = base_tokenizer(records)
    write_base(folder, base_architecture(name, tokenizer), tokenizer, seed)

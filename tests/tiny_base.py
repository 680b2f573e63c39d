"""A small model of random weights with a tokenizer of its own, and a configuration that trains it within seconds."""

from pathlib import Path

from scaled.config import TrainConfig
from scaled.data.records import load_records, texts
from scaled.data.templates import NAMED
from scaled.model.random_weights import fitting_architecture, train_tokenizer, write_random_model

ROOT = Path(__file__).parents[1]
TINY = ROOT / "scaled" / "examples" / "tiny.jsonl"

SMALL = {
    "model": "random",
    "architecture": "tiny-llama",
    "data": str(TINY),
    "max_length": 96,
    "batch_size": 8,
    "micro_batch": 8,
    "learning_rate": 1e-3,
    "precision": "float32",
    "gradient_checkpointing": False,
    "zero_stage": 0,
    "threads": 1,
    "trackers": [],
}


def small(out: Path, **changes: object) -> TrainConfig:
    """A configuration of a training that takes seconds."""
    return TrainConfig(**(SMALL | {"out": str(out)} | changes))


def write_base(folder: Path, seed: int, data: Path = TINY, chat_template: str = NAMED["chatml"]) -> Path:
    """Write a small model and its tokenizer, trained on the data."""
    tokenizer = train_tokenizer(texts(load_records(data)), chat_template)
    write_random_model(folder, fitting_architecture("tiny-llama", tokenizer), tokenizer, seed)
    return folder

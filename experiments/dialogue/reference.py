"""References that hold conversations: those of the language world, of kind B, that go on to learn two replies.

They begin with a reference that has learned to mention what is asked for: from conversations alone 3000 updates do not
teach that.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoModelForCausalLM, AutoTokenizer

from experiments.language.reference import Pretraining, Turn, batches, learn
from experiments.language.reference import make_reference as make_first
from experiments.language.world import Prompt, Writer, draw_prompt, follow_up
from experiments.policies import made_once


@dataclass(frozen=True)
class Tuning:
    """What makes a reference of another one.

    Attributes:
        first: that it begins with.
        updates: of AdamW.
        batch: conversations an update.
        learning_rate: at its peak; it falls to zero as a cosine.
    """

    first: Pretraining = field(default_factory=Pretraining)
    updates: int = 1000
    batch: int = 64
    learning_rate: float = 1e-3


def conversation(rng: np.random.Generator, writer: Writer) -> tuple[Prompt, list[Turn]]:
    """A prompt and a response of two replies with the user's turn between them, or as often two such in a row."""
    prompt = draw_prompt(rng)
    turns: list[Turn] = []
    for _ in range(1 + int(rng.random() < 0.5)):
        said = writer.write(rng, prompt)
        then = follow_up(rng, prompt, said)
        turns += [("assistant", said), ("user", then.text().split()), ("assistant", writer.write(rng, then))]
    return prompt, turns


def make_reference(options: Tuning, folder: Path) -> Path:
    """Make a reference beside the first one, as :func:`experiments.policies.made_once` has it."""
    return made_once(folder, options, lambda: _tune(options, folder))


def _tune(options: Tuning, folder: Path) -> dict[str, Any]:
    first = make_first(options.first, folder.with_name(f"{options.first.kind}{options.first.seed}"))
    words: Any = AutoTokenizer.from_pretrained(first)
    model: Any = AutoModelForCausalLM.from_pretrained(first).train()
    model.config.max_position_embeddings = 256  # rotary, so no weights depend on it
    stream = batches(words, conversation, options.batch, options.first.seed, ord("D"))
    facts = learn(model, stream, options.updates, options.learning_rate, f"reference {folder.name}")
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return facts | {"first": asdict(options.first)}

"""References: small transformers that have learned to write as the world's writer does.

Three kinds, by what a reference has seen after a response:

    A   single responses only, so that a response behind another one is new to it
    B   also two independent responses in a row
    C   also two in a row, the second in the first one's style 85 times out of 100
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from experiments.language.samples import Words, prompts, respond
from experiments.language.world import Prompt, Writer, draw_prompt, read, vocabulary
from experiments.policies import made_once
from scaled.progress import progress

TEMPLATE = (
    "{% for message in messages %}{{ '<' + message['role'] + '> ' + message['content'] + ' <end> ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant> ' }}{% endif %}"
)
SPECIAL = ("<pad>", "<unknown>", "<end>", "<user>", "<assistant>")
SAME_STYLE = 0.85
LEARNED = 0.3
"""Mean quality of a reference's own responses from which on it has learned its task; those that it reads have .5."""


@dataclass(frozen=True)
class Pretraining:
    """What makes a reference.

    Attributes:
        kind: what it has seen after a response, see the module.
        seed: of weights and text.
        updates: of AdamW.
        batch: conversations an update.
        learning_rate: at its peak; it falls to zero as a cosine.
        width: of the model.
        layers: of the model.
    """

    kind: Literal["A", "B", "C"] = "B"
    seed: int = 0
    updates: int = 3000
    batch: int = 64
    learning_rate: float = 3e-3
    width: int = 96
    layers: int = 2


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, and a chat template."""
    words = [*SPECIAL, *vocabulary()]
    inner = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=SPECIAL[1]))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    named = dict(zip(("pad_token", "unk_token", "eos_token"), SPECIAL, strict=False))
    made = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        tokenizer_object=inner, additional_special_tokens=list(SPECIAL[3:]), **named
    )
    made.chat_template = TEMPLATE
    return made


Turn = tuple[str, list[str]]
"""Who speaks, and the words."""


def conversation(rng: np.random.Generator, writer: Writer, kind: str) -> tuple[Prompt, list[Turn]]:
    """A prompt and one response, or for kinds B and C as often two in a row."""
    prompt = draw_prompt(rng)
    replies = [writer.write(rng, prompt)]
    if kind != "A" and rng.random() < 0.5:
        style = read(prompt, replies[0]).style if kind == "C" and rng.random() < SAME_STYLE else None
        replies.append(writer.write(rng, prompt, style))
    return prompt, [("assistant", reply) for reply in replies]


def encode(words: PreTrainedTokenizerBase, prompt: Prompt, turns: list[Turn]) -> tuple[list[int], list[bool]]:
    """Token ids as the template writes them, and which of them are the assistant's turns."""
    ids: Any = words.convert_tokens_to_ids
    tokens, own = [], []
    for role, said in [("user", prompt.text().split()), *turns]:
        turn = [ids(f"<{role}>"), *ids(said), ids("<end>")]
        tokens += turn
        own += [role == "assistant"] * len(turn)
    return tokens, own


Drawn = Callable[[np.random.Generator, Writer], tuple[Prompt, list[Turn]]]
"""A conversation to learn from."""


def batches(
    words: PreTrainedTokenizerBase, draw: Drawn, batch: int, *seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(batch, T) tokens, padded on the right, and labels with -100 at the user's turns and the padding, without end."""
    rng, writer = np.random.default_rng(seed), Writer()
    pad: Any = words.pad_token_id
    while True:
        made = [encode(words, *draw(rng, writer)) for _ in range(batch)]
        width = max(len(tokens) for tokens, _ in made)
        tokens = torch.full((batch, width), int(pad))
        labels = torch.full((batch, width), -100)
        for row, (ids, own) in enumerate(made):
            tokens[row, : len(ids)] = torch.tensor(ids)
            labels[row, : len(ids)][torch.tensor(own)] = torch.tensor(ids)[torch.tensor(own)]
        yield tokens, labels


def make_reference(options: Pretraining, folder: Path) -> Path:
    """Train a reference and save it as a Hugging Face folder, as :func:`experiments.policies.made_once` has it."""
    return made_once(folder, options, lambda: _pretrain(options, folder))


def _pretrain(options: Pretraining, folder: Path) -> dict[str, Any]:
    words = tokenizer()
    torch.manual_seed(options.seed)
    model: Any = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=options.width,
            intermediate_size=2 * options.width,
            num_hidden_layers=options.layers,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=128,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )

    def draw(rng: np.random.Generator, writer: Writer) -> tuple[Prompt, list[Turn]]:
        return conversation(rng, writer, options.kind)

    stream = batches(words, draw, options.batch, options.seed, ord(options.kind))
    name = f"reference {options.kind}{options.seed}"
    facts = learn(model, stream, options.updates, options.learning_rate, name)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    facts["quality"] = quality(model, Words(words))
    if facts["quality"] < LEARNED:
        sys.stderr.write(f"{name} has not learned its task (quality {facts['quality']:.2f}): say little of its cells\n")
    return facts


def quality(model: Any, words: Words, count: int = 512) -> float:
    """Mean quality of a model's responses to so many prompts, see :data:`LEARNED`."""
    asked = prompts(count, ord("q"))
    said = respond(model, words, [words.prompt(prompt) for prompt in asked], "quality")
    return float(np.mean([words.kind(prompt, one).quality for prompt, one in zip(asked, said, strict=True)]))


def learn(
    model: Any, stream: Iterator[tuple[torch.Tensor, torch.Tensor]], updates: int, learning_rate: float, name: str
) -> dict[str, Any]:
    """Train a model on tokens and labels; it ends in evaluation mode.

    Returns:
        Its loss over the last 100 updates.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    losses = []
    with progress(updates, name, "update") as bar:
        for _ in range(updates):
            tokens, labels = next(stream)
            logits = model(input_ids=tokens).logits[:, :-1]
            loss = cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            bar.update()
    model.eval()
    return {"loss": float(np.mean(losses[-100:])), "unit": "nats a token"}

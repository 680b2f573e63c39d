"""References: SmolLM2-135M-Instruct, fine-tuned for minutes on single sentences of its own.

As in DPO's experiment on sentiment, what is trained by preferences was fine-tuned on the task before. The sentences are
the model's own at temperature 0.7, begun for it so that all three styles of the world are there, and kept where
they end in time and have the style that was drawn. Two kinds, by what a reference has seen after an answer:

    A   single answers only, so that an answer behind another one is new to it
    B   also two independent answers in a row
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from experiments.policies import made_once
from experiments.smol.samples import MAX_TOKENS, Talk, respond
from experiments.smol.world import FEWEST, STYLES, prompts, style
from inspo.command_line import UserError
from scaled.generation.interface import Settings
from scaled.progress import progress

BASE = Path("results/models/smollm2-135m-instruct")
"""Where ``make train-smol`` puts the model too."""

STARTS = {
    "personal": ("I", "My", "We", "I'm", "It makes me", "I love", "I don't"),
    "direct": ("You", "Your", "If you", "You're", "Do you", "You can", "Don't"),
    "plain": ("It", "The", "This", "A", "It's", "There is", "Nobody"),
}
"""How sentences of a style are begun."""

LONGEST = MAX_TOKENS - 6
"""Tokens of a sentence that is learned from: so that what a reference writes ends in time."""

_SENTENCE = re.compile(r"[^\n]*?[.!?](?=[\s\"]|$)")


@dataclass(frozen=True)
class Tuning:
    """What makes a reference.

    Attributes:
        kind: what it has seen after an answer, see the module.
        seed: of sentences and order.
        prompts: with two sentences each.
        epochs: passes over the sentences.
        batch: conversations an update.
        learning_rate: of AdamW at its peak, all weights; it falls to zero linearly.
    """

    kind: Literal["A", "B"] = "B"
    seed: int = 0
    prompts: int = 400
    epochs: int = 2
    batch: int = 16
    learning_rate: float = 5e-5


def load(folder: Path) -> tuple[Any, Talk]:
    """A model in evaluation mode and its tokens.

    Raises:
        UserError: it is not there.
    """
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: holds no model: python scaled/examples/fetch_smol.py {folder}")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), Talk(AutoTokenizer.from_pretrained(folder))


def sentences(model: nn.Module, talk: Talk, options: Tuning) -> list[tuple[str, list[str]]]:
    """Prompts with up to two sentences each, of independent styles.

    Args:
        model: that writes them.
        talk: its tokens.
        options: how many, and the seed.
    """
    rng = np.random.default_rng([options.seed, 2])
    asked = [prompt for prompt in prompts("reference", options.prompts, options.seed) for _ in range(2)]
    styles = [str(rng.choice(STYLES)) for _ in asked]
    starts = [str(rng.choice(STARTS[each])) for each in styles]
    heads = [(*talk.prompt(prompt), *talk.ids(start)) for prompt, start in zip(asked, starts, strict=True)]
    written = respond(model, talk, heads, f"sentence/{options.seed}", Settings(temperature=0.7, max_tokens=MAX_TOKENS))
    found: dict[str, list[str]] = {}
    for prompt, wanted, start, completion in zip(asked, styles, starts, written, strict=True):
        whole = _SENTENCE.match(start + talk.text(completion))
        said = found.setdefault(prompt, [])
        sentence = whole[0] if whole else ""
        fits = len(sentence.split()) >= FEWEST and len(talk.ids(sentence)) < LONGEST and '"' not in sentence
        if fits and style(sentence) == wanted and sentence not in said:
            said.append(sentence)
    return list(found.items())


def conversations(found: Sequence[tuple[str, Sequence[str]]], kind: str) -> list[tuple[str, list[str]]]:
    """What is learned from: single sentences, and for kind B two in a row of every other prompt that has two."""
    made = []
    for place, (prompt, said) in enumerate(found):
        if kind == "B" and len(said) == 2 and place % 2 == 0:
            made.append((prompt, list(said)))
        else:
            made += [(prompt, [one]) for one in said]
    return made


def encode(talk: Talk, prompt: str, said: Sequence[str]) -> tuple[list[int], list[int]]:
    """Token ids as training lays them out, and labels with -100 where nothing is learned."""
    tokens = list(talk.prompt(prompt))
    labels = [-100] * len(tokens)
    for place, one in enumerate(said):
        header = talk.template.header if place else ()
        answer = talk.completion(one).tokens
        tokens += [*header, *answer]
        labels += [*[-100] * len(header), *answer]
    return tokens, labels


def tune(model: Any, made: Sequence[tuple[list[int], list[int]]], options: Tuning, name: str) -> float:
    """Fine-tune all weights; the mean loss of the last epoch, nats a token."""
    rng = np.random.default_rng([options.seed, 3])
    order = np.concatenate([rng.permutation(len(made)) for _ in range(options.epochs)])
    batches = np.array_split(order, max(1, len(order) // options.batch))
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, len(batches))
    losses = []
    model.train()
    with progress(len(batches), name, "update") as bar:
        for batch in batches:
            chosen = [made[place] for place in batch]
            width = max(len(tokens) for tokens, _ in chosen)
            tokens, labels = torch.full((2, len(chosen), width), -100)
            for row, (ids, learned) in enumerate(chosen):
                tokens[row, : len(ids)], labels[row, : len(ids)] = torch.tensor(ids), torch.tensor(learned)
            logits = model(input_ids=tokens.clamp(min=0)).logits[:, :-1]
            loss = cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            bar.update()
    model.eval()
    return float(np.mean(losses[-len(losses) // options.epochs :]))


def make_reference(options: Tuning, folder: Path, base: Path = BASE) -> Path:
    """Fine-tune a reference and save it as a Hugging Face folder, as :func:`experiments.policies.made_once` has it.

    Args:
        options: what makes it.
        folder: appears once it is complete.
        base: folder of the instruction model.

    Raises:
        UserError: the instruction model is not there.
        ValueError: the folder holds another reference.
    """
    return made_once(folder, options, lambda: _fine_tune(options, folder, base))


def _fine_tune(options: Tuning, folder: Path, base: Path) -> dict[str, Any]:
    model, talk = load(base)
    made = conversations(sentences(model, talk, options), options.kind)
    name = f"reference {options.kind}{options.seed}"
    loss = tune(model, [encode(talk, prompt, said) for prompt, said in made], options, name)
    model.save_pretrained(folder)
    talk.tokenizer.save_pretrained(folder)
    return {"conversations": len(made), "loss": loss, "unit": "nats a token"}

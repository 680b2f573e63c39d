"""One cell of the language world: pairs from the reference, the trainer of ``scaled/``, numbers along the way."""

from __future__ import annotations

import json
import time
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from experiments.language.cells import PREFERENCE_MODELS, UNRELATED, VERSION, Cell
from experiments.language.measuring import Yardstick
from experiments.language.pairs import draw_pairs, write_records
from experiments.language.preference_models import BATCH, PreferenceModel, train_preference_model
from experiments.language.reference import Pretraining, make_reference
from experiments.language.samples import Words
from experiments.language.world import Judge
from experiments.policies import drawn_from, labels, pairs_once, train_and_look
from inspo.hf.rows import enable_tree_rows
from inspo.pairs import PreferencePair
from inspo.preference_loss import PreferenceLoss
from scaled.config import TrainConfig

SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Of a training, at which its policy is measured; before the end as a judge alone."""

PROMPTS = 1024
"""On which policies are measured."""


def reference_of(cell: Cell, work: Path) -> Path:
    """The folder of a cell's reference, made where it is not there."""
    options = Pretraining(cell.reference, cell.pretraining_seed)
    return make_reference(options, work / "references" / f"{cell.reference}{cell.pretraining_seed}")


@cache
def load(folder: Path) -> tuple[nn.Module, Words]:
    """A reference, for measuring and drawing."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    enable_tree_rows(model.eval())
    return model, Words(AutoTokenizer.from_pretrained(folder))


@lru_cache(maxsize=8)
def yardstick(folder: Path, judge: Judge, seed: int) -> Yardstick:
    """What policies from one reference are measured against; other prompts for each data seed."""
    return Yardstick.of(*load(folder), judge, PROMPTS, seed)


def records_of(cell: Cell, folder: Path, work: Path) -> Path:
    """The file of a cell's pairs, made where it is not there; cells with the same data share it."""
    unrelated, judge = cell.conditioning == UNRELATED, Judge(cycle=cell.cycle)
    marks = (f"v{VERSION}", *cell.data().values(), drawn_from(folder, judge), *[UNRELATED] * unrelated)
    data = "-".join(map(str, marks))
    path = work / "data" / f"{data}.jsonl"

    def write(draft: Path) -> int:
        model, words = load(folder)
        drawn = draw_pairs(model, words, judge, cell.pairs, cell.seed)
        return write_records(draft, words, drawn, labels(drawn, cell.seed), unrelated=unrelated)

    return pairs_once(path, cell.pairs, write)


def configuration(cell: Cell, folder: Path, records: Path, out: Path) -> TrainConfig:
    """A cell as the trainer has it; an unrelated context is part of the prompts."""
    conditioning = "none" if cell.conditioning == UNRELATED else cell.conditioning
    return TrainConfig.model_validate(
        {
            "model": str(folder),
            "data": str(records),
            "out": str(out),
            "validation_size": 0,
            "method": cell.method,
            "conditioning": conditioning,
            **cell.hyperparameters,
            "separator": "none" if conditioning == "none" else "turn",
            "max_length": cell.max_length,
            "over_length": ["cut_responses", "drop"],
            "draft_cap": cell.draft_cap,
            "batch_size": BATCH,
            "row_tokens": 1024,
            "epochs": cell.epochs,
            "learning_rate": cell.learning_rate,
            "seed": cell.seed,
            "precision": "float32",
            "gradient_checkpointing": False,
            "zero_stage": 0,
            "device": "cpu",
            "measure_deployed": False,
        }
    )


def run(cell: Cell, work: Path) -> tuple[list[dict[str, float]], float]:
    """Train a cell and measure it at :data:`SHARES` of its updates.

    Args:
        cell: what is run.
        work: folder for references, data and what is removed afterwards.

    Returns:
        A point for each share, its ``update`` among the numbers, all of them in the last alone; for preference models
        that one only. And seconds, without what cells share.
    """
    folder = reference_of(cell, work)
    records = records_of(cell, folder, work)
    measure = yardstick(folder, Judge(cycle=cell.cycle), cell.seed)
    started = time.monotonic()
    train_and_measure = _preference_model if cell.method in PREFERENCE_MODELS else _policy
    return train_and_measure(cell, folder, records, work, measure), time.monotonic() - started


def _policy(cell: Cell, folder: Path, records: Path, work: Path, measure: Yardstick) -> list[dict[str, float]]:
    def look(policy: nn.Module, loss: PreferenceLoss, *, whole: bool) -> dict[str, float]:
        margins = measure.margins_of(policy, loss)
        found = measure.judged(margins)
        if whole:
            answers = measure.answers(policy)
            found |= measure.deployed(policy, answers) | measure.reviser(policy, answers) | measure.ranked(margins)
        return found

    return train_and_look(configuration(cell, folder, records, work / "runs" / cell.key()), SHARES, look)


def _preference_model(
    cell: Cell, folder: Path, records: Path, _work: Path, measure: Yardstick
) -> list[dict[str, float]]:
    torch.manual_seed(cell.seed)
    body: Any = AutoModel.from_pretrained(folder)
    words = measure.words
    model = PreferenceModel(body, body.config.hidden_size, words, pairwise=cell.method == "pairwise")
    pairs = [
        PreferencePair(
            words.ids(["<user>", *record["prompt"].split(), "<end>", "<assistant>"]),
            (*words.ids(record["chosen"].split()), words.end),
            (*words.ids(record["rejected"].split()), words.end),
        )
        for record in map(json.loads, records.read_text().splitlines())
    ]
    updates = train_preference_model(model, pairs, cell.epochs, cell.learning_rate, cell.seed)
    return [{"update": updates, **measure.judged(model.judge), **measure.ranked(model.judge)}]

"""One cell of the real model's world: pairs from the reference, the trainer of ``scaled/``, numbers along the way."""

from __future__ import annotations

import time
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from torch import nn

from experiments.ledger import digest
from experiments.policies import drawn_from, labels, pairs_once, train_and_look
from experiments.smol import reference
from experiments.smol.cells import VERSION, Cell
from experiments.smol.measuring import Yardstick
from experiments.smol.pairs import judged, kept, write_records
from experiments.smol.reference import Tuning, make_reference
from experiments.smol.samples import Talk, respond
from experiments.smol.world import Judge, prompts
from inspo.hf.rows import enable_tree_rows
from scaled.config import TrainConfig

SHARES = (0.5, 1.0)
"""Of a training, at which its policy is measured."""


def reference_of(cell: Cell, work: Path) -> Path:
    """The folder of a cell's reference, made where it is not there."""
    options = Tuning(cell.reference, cell.pretraining_seed)
    return make_reference(options, work / "references" / f"{cell.reference}{cell.pretraining_seed}")


@cache
def load(folder: Path) -> tuple[nn.Module, Talk]:
    """A reference, for measuring and drawing."""
    model, talk = reference.load(folder)
    enable_tree_rows(model)
    return model, talk


@lru_cache(maxsize=4)
def yardstick(folder: Path, judge: Judge, count: int, seed: int, answers: Path) -> Yardstick:
    """What policies from one reference are measured against; other prompts for each data seed."""
    return Yardstick.of(*load(folder), judge, count, seed, answers)


def answers_of(cell: Cell, folder: Path, work: Path) -> Path:
    """The folder of what a cell's reference wrote, which no judge has a part in."""
    return work / "answers" / f"v{VERSION}-{cell.reference}{cell.pretraining_seed}-{drawn_from(folder)}"


def records_of(cell: Cell, folder: Path, work: Path) -> Path:
    """The file of a cell's pairs, made where it is not there; cells with the same data share it."""
    answers, judge = answers_of(cell, folder, work), Judge(cycle=cell.cycle)
    data = f"{cell.pairs}-seed{cell.seed}"
    path = answers / f"pairs-{data}-cycle{cell.cycle:g}-{digest(judge)}.jsonl"

    def write(draft: Path) -> int:
        model, talk = load(folder)
        asked = prompts("pairs", cell.pairs, cell.seed)
        heads = [talk.prompt(prompt) for prompt in asked]

        def answer(which: str) -> list[Any]:
            return kept(answers / f"{which}-{data}.json", lambda: respond(model, talk, heads, f"{which}/{cell.seed}"))

        drawn = judged(talk, judge, asked, answer("first"), answer("second"))
        return write_records(draft, talk, drawn, labels(drawn, cell.seed))

    return pairs_once(path, cell.pairs, write, most=0.1)


def configuration(cell: Cell, folder: Path, records: Path, out: Path) -> TrainConfig:
    """A cell as the trainer has it."""
    return TrainConfig.model_validate(
        {
            "model": str(folder),
            "data": str(records),
            "out": str(out),
            "validation_size": 0,
            "method": cell.method,
            "conditioning": cell.conditioning,
            **cell.hyperparameters,
            "separator": "none" if cell.conditioning == "none" else "turn",
            "max_length": 128,
            "draft_cap": None,
            "batch_size": cell.batch,
            "row_tokens": 512,
            "epochs": cell.epochs,
            "lora_rank": cell.lora_rank,
            "learning_rate": cell.learning_rate,
            "seed": cell.seed,
            "precision": "float32",
            "gradient_checkpointing": False,
            "zero_stage": 0,
            "device": "cpu",
            "threads": 1,
            "measure_deployed": False,
        }
    )


def run(cell: Cell, work: Path) -> tuple[list[dict[str, float]], float]:
    """Train a cell and measure it at :data:`SHARES` of its updates.

    Args:
        cell: what is run.
        work: folder for the reference, its answers and what is removed afterwards.

    Returns:
        A point for each share, its ``update`` among the numbers, the last one with those of reviser and judge; and
        seconds, without what cells share.
    """
    folder = reference_of(cell, work)
    records = records_of(cell, folder, work)
    measure = yardstick(folder, Judge(cycle=cell.cycle), cell.prompts, cell.seed, answers_of(cell, folder, work))
    started = time.monotonic()
    config = configuration(cell, folder, records, work / "runs" / cell.key())
    return train_and_look(config, SHARES, measure.measure), time.monotonic() - started

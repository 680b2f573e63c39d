"""One cell on conversations: pairs from the reference, the trainer of ``scaled/``, numbers along the way."""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path

from experiments.dialogue.cells import VERSION, Cell
from experiments.dialogue.conversations import draw_pairs, write_records
from experiments.dialogue.measuring import Yardstick
from experiments.dialogue.reference import Tuning, make_reference
from experiments.language.cells import Cell as Training
from experiments.language.reference import Pretraining
from experiments.language.training import configuration as language_configuration
from experiments.language.training import load
from experiments.language.world import Judge
from experiments.policies import drawn_from, labels, pairs_once, train_and_look
from scaled.config import TrainConfig

SHARES = (0.25, 0.5, 1.0)
"""Of a training, at which its policy is measured."""

PROMPTS = 1024
"""On which policies are measured."""


def reference_of(cell: Cell, work: Path) -> Path:
    """The folder of a cell's reference, made where it is not there."""
    options = Tuning(Pretraining("B", cell.pretraining_seed))
    return make_reference(options, work / "references" / f"D{cell.pretraining_seed}")


@lru_cache(maxsize=8)
def yardstick(folder: Path, judge: Judge, seed: int) -> Yardstick:
    """What policies from one reference are measured against; other prompts for each data seed."""
    return Yardstick.of(*load(folder), judge, PROMPTS, seed)


def records_of(cell: Cell, folder: Path, work: Path) -> Path:
    """The file of a cell's pairs, made where it is not there; cells with the same data share it."""
    judge = Judge(cycle=cell.cycle)
    marks = (f"D{cell.pretraining_seed}", f"{cell.cycle:g}", cell.seed, cell.pairs, drawn_from(folder, judge))
    data = (f"v{VERSION}", *marks)
    path = work / "data" / f"dialogue-{'-'.join(map(str, data))}.jsonl"

    def write(draft: Path) -> int:
        model, words = load(folder)
        drawn = draw_pairs(model, words, judge, cell.pairs, cell.seed)
        return write_records(draft, words, drawn, labels(drawn, cell.seed))

    return pairs_once(path, cell.pairs, write)


def configuration(cell: Cell, folder: Path, records: Path, out: Path) -> TrainConfig:
    """A cell as the trainer has it: as in the language world, with room for two conversations."""
    training = Training(
        cell.method,
        cell.conditioning,
        cell.hyperparameters,
        seed=cell.seed,
        epochs=cell.epochs,
        learning_rate=cell.learning_rate,
        max_length=192,
    )
    return language_configuration(training, folder, records, out)


def run(cell: Cell, work: Path) -> tuple[list[dict[str, float]], float]:
    """Train a cell and measure it at :data:`SHARES` of its updates.

    Args:
        cell: what is run.
        work: folder for references, data and what is removed afterwards.

    Returns:
        A point for each share, its ``update`` among the numbers, the last one with those of reviser and judge; and
        seconds, without what cells share.
    """
    folder = reference_of(cell, work)
    records = records_of(cell, folder, work)
    measure = yardstick(folder, Judge(cycle=cell.cycle), cell.seed)
    started = time.monotonic()
    config = configuration(cell, folder, records, work / "runs" / cell.key())
    return train_and_look(config, SHARES, measure.measure), time.monotonic() - started

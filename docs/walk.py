"""The walk of one pair from its file to its loss: the trainer's way in one function, on shipped data.

``python -m docs.draw_walk`` draws what :func:`walk` finds at each station.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from inspo import Conditioning, PreferenceLoss
from inspo.hf import enable_tree_rows, request_logps
from inspo.preference_loss import RequestLogps
from scaled.config import DataOptions
from scaled.data import dataset
from scaled.data.examples import Examples, Layout, make_examples
from scaled.data.plan import Plan, epoch_stream, make_plan
from scaled.data.records import Record, texts
from scaled.data.templates import NAMED
from scaled.data.tokens import tokenize
from scaled.model.random_weights import fitting_architecture, train_tokenizer
from scaled.reference.scoring import Pass, with_reference
from scaled.training.outcome import Batch, compare, make_batch

DATA = Path(__file__).resolve().parent.parent / "scaled" / "examples" / "tiny.jsonl"
UPDATE = 1  # whose first row on rank 0 is followed


class Station(NamedTuple):
    """Where a pair passes: what it is there, and what makes it so."""

    name: str
    file: str
    function: str


STATIONS = (
    Station("file", "scaled/data/dataset.py", "read"),
    Station("Record", "scaled/data/records.py", "load_records"),
    Station("filter and split", "scaled/data/filters.py", "filter_records"),
    Station("PreferencePair", "scaled/data/tokens.py", "tokenize"),
    Station("Example", "scaled/data/examples.py", "make_examples"),
    Station("plan", "scaled/data/plan.py", "make_plan"),
    Station("reference", "scaled/reference/scoring.py", "with_reference"),
    Station("batch", "scaled/training/outcome.py", "make_batch"),
    Station("model", "inspo/hf/rows.py", "request_logps"),
    Station("loss", "scaled/training/outcome.py", "compare"),
)


@dataclass(frozen=True, eq=False)
class Walk:
    """What there is at each station; B pairs are in the batch.

    Attributes:
        line: of the file, as it is there.
        record: the same, read and checked.
        kept: records that the filters kept.
        left_out: how many each step left out, by source.
        validation: records of the split's smaller part.
        examples: the training pairs with their trees and the reference's log-probs.
        plan: every update.
        batch: the first row of rank 0.
        policy: for each request (B,) nats.
        losses: (B,) nats, unreduced.
    """

    line: str
    record: Record
    kept: list[Record]
    left_out: dataset.LeftOut
    validation: list[Record]
    examples: Examples
    plan: Plan
    batch: Batch
    policy: RequestLogps
    losses: Tensor

    @property
    def index(self) -> int:
        """The pair that is followed, the batch's first, among the training pairs."""
        return self.batch.slot.pairs[0]


def walk(folder: Path) -> Walk:
    """The trainer's way from a file to losses, station by station.

    Args:
        folder: where the reference's log-probs are kept.
    """
    options = DataOptions.model_validate({"data": str(DATA), "filters": "unusable", "limit": 64, "validation_size": 16})
    loss = PreferenceLoss("dpo", Conditioning.SYMMETRIC, {"beta": 0.1})
    layout = Layout(policy=loss.requests(), reference=loss.reference_requests())
    left_out: dataset.LeftOut = {}

    records = dataset.read(options, "data", left_out)
    tokenizer = train_tokenizer(texts(chain.from_iterable(records)), NAMED["chatml"])
    kept = dataset.filtered(options, "data", records, tokenizer, left_out, seed=0)
    train, validation = dataset.split(kept, options.validation_size, seed=0)
    pairs = tokenize(train, tokenizer)
    examples = make_examples(pairs, layout, "training")
    order = epoch_stream(len(examples), epochs=1, seed=0)
    plan = make_plan(examples.lengths, order, world_size=2, batch_size=16, row_tokens=420)

    model = random_model(fitting_architecture("tiny-llama", tokenizer))
    examples = with_reference(examples, Pass(lambda: model, {"weights": "random"}, folder))
    batch = make_batch(examples, plan.rows_of(UPDATE, rank=0)[0])
    with torch.no_grad():
        policy = request_logps(model, batch.row)
    losses = compare(loss, policy, batch)

    record = train[batch.slot.pairs[0]]
    line = DATA.read_text().splitlines()[int(record["record"].partition(":")[2]) - 1]
    return Walk(line, record, kept, left_out, validation, examples, plan, batch, policy, losses)


def random_model(architecture: Any) -> Any:
    """A model of random weights that scores tree rows; the same every time."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(architecture).eval()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    enable_tree_rows(model)
    return model

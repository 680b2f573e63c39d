"""Numbers that are not finite end a run, with the records that they came from written down."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from inspo.conditioning import LogpRequest
from inspo.pairs import PreferencePair
from scaled.distributed import rank
from scaled.errors import NonFiniteError
from scaled.training import checkpoints
from scaled.training.outcome import Batch, Outcome


def check_losses(out: Path, update: int, batch: Batch, policy: Mapping[LogpRequest, Tensor], losses: Tensor) -> None:
    """Raise where a loss of a batch is NaN or infinite.

    Raises:
        NonFiniteError: naming the file with the records.
    """
    finite = torch.isfinite(losses.detach())
    if bool(finite.all()):
        return
    bad = (~finite).nonzero()[:, 0].tolist()
    values = {"loss": losses[bad].tolist()}
    for name, logps in (("pi", policy), ("pi_ref", batch.reference)):
        for request, each in logps.items():
            context = f" given {request.context.value}" if request.context else ""
            values[f"log {name}({request.target.value}{context})"] = each[bad].tolist()
    pairs = [batch.pairs[index] for index in bad]
    _stop(out, update, f"the loss of record {pairs[0].record}", pairs, values)


def check_gradient(out: Path, update: int, norm: float, batches: Sequence[Batch], outcomes: Sequence[Outcome]) -> None:
    """Raise where the gradient's norm is NaN or infinite.

    Raises:
        NonFiniteError: naming the file with the update's records on this rank.
    """
    if not math.isfinite(norm):
        losses = [loss for outcome in outcomes for loss in outcome.losses.tolist()]
        _stop(out, update, "the gradient", [pair for batch in batches for pair in batch.pairs], {"loss": losses})


def _stop(
    out: Path, update: int, what: str, pairs: Sequence[PreferencePair], values: Mapping[str, list[float]]
) -> None:
    path = out / f"nonfinite-update-{update}-rank-{rank()}.json"
    records = [
        {
            "record": pair.record,
            "prompt": pair.prompt,
            "chosen": pair.chosen,
            "rejected": pair.rejected,
            "chosen_masked": pair.chosen_masked,
            "rejected_masked": pair.rejected_masked,
            **{name: repr(each[index]) for name, each in values.items()},
        }
        for index, pair in enumerate(pairs)
    ]
    path.write_text(json.dumps({"update": update, "what": what, "records": records}, indent=1) + "\n")
    raise NonFiniteError(
        f"{what} is NaN or infinite in update {update}: its records are in {path}; last complete checkpoint: "
        f"{checkpoints.last_complete(out)}"
    )

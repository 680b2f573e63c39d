"""What all rounds share, and every check that can be made before anything takes long."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inspo.command_line import UserError
from inspo.hf.architectures import check_supported
from scaled.config import DataSource
from scaled.data import dataset
from scaled.data.messages import Message, as_messages
from scaled.data.sources import read_rows
from scaled.data.text_files import Broken
from scaled.device import uses_gpu
from scaled.distributed import join, world_size
from scaled.files import write_atomically
from scaled.generation.batching import room
from scaled.generation.interface import Request, Settings
from scaled.generation.policy import Policy
from scaled.model.loading import weights_fingerprint
from scaled.online.config import OnlineConfig
from scaled.online.judges import Judge, Preference, by_function, judge_by
from scaled.online.sampling import Actor
from scaled.run.checks import check_machine
from scaled.run.prepare import prepare_run


@dataclass(frozen=True, eq=False)
class Loop:
    """What all rounds share.

    Attributes:
        config: everything that is decided.
        first: the first policy.
        prompts: to train on.
        held_out: to measure on.
        judge: who labels.
        measured_by: who judges what is measured.
        date: that a chat template is told which asks.
    """

    config: OnlineConfig
    first: Policy
    prompts: Sequence[Sequence[Message]]
    held_out: Sequence[Sequence[Message]]
    judge: Judge
    measured_by: Judge
    date: dt.date

    def folder(self, number: int) -> Path:
        """Of a round."""
        return Path(self.config.out) / f"round-{number}"

    def actor(self, source: str) -> Actor:
        """A policy in a folder or on the hub, which writes as training has conversations written."""
        options = self.config.options
        dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
        return Actor(_policy(self.config, source, self.date), uses_gpu(options), dtype, self.config.slots)

    def of_round(self, number: int) -> list[tuple[int, Sequence[Message]]]:
        """The prompts of a round with their places."""
        count = self.config.prompts_per_round
        places: Sequence[int] = range(len(self.prompts))
        if count is not None:
            order = np.random.default_rng([self.config.seed, 2]).permutation(len(self.prompts)).tolist()
            places = [order[place % len(order)] for place in range((number - 1) * count, number * count)]
        return [(place, self.prompts[place]) for place in places]


def prepare(config: OnlineConfig, *, judge: Preference | None = None, measured_by: Preference | None = None) -> Loop:
    """Check everything that can be checked before anything takes long, and claim the folder.

    Raises:
        UserError: a mistake of the user's, in one line.
    """
    if world_size() > 1:
        raise UserError("the loop is one process: start it with plain python")
    check_machine(config.options)
    join(gpu=uses_gpu(config.options), always=False, threads=config.options.threads)
    out = Path(config.out)
    kept = kept_in(out / "online.json")
    date = dt.date.fromisoformat(kept["date"]) if kept else dt.date.today()  # noqa: DTZ011  # the user's own
    first = _policy(config, config.model, date)
    try:
        check_supported(first.architecture)
        prompts, held_out = _read_prompts(config)
    except ValueError as error:
        raise UserError(str(error)) from error
    count = config.prompts_per_round
    if count is not None and count > len(prompts):
        raise UserError(f"prompts_per_round = {count} is more than the {len(prompts)} prompts to train on: lower it")
    labels = by_function(judge, config.judge) if judge else judge_by(config.judge, config, first)
    measures = labels
    if measured_by is not None:
        measures = by_function(measured_by, "measured_by")
    elif config.measured_by is not None:
        measures = judge_by(config.measured_by, config, first)
    ready = Loop(config, first, prompts, held_out, labels, measures, date)
    _rehearse(ready)
    digest = hashlib.sha256(json.dumps([prompts, held_out]).encode()).hexdigest()
    about = {"model": weights_fingerprint(first.source, first.architecture), "prompts": digest}
    now = {"config": config.decisive(), "date": date.isoformat(), "fingerprints": about}
    _claim(out, kept, now)
    return ready


def _policy(config: OnlineConfig, source: str, date: dt.date) -> Policy:
    options = config.options
    return Policy.of(source, template=options.template, options=options.chat_template_kwargs, today=date)


def _read_prompts(config: OnlineConfig) -> tuple[list[list[Message]], list[list[Message]]]:
    """The prompts to train on and those to measure on, with none in common."""
    found = []
    for row in read_rows(DataSource(path=config.prompts)):
        if isinstance(row.values, Broken):
            raise UserError(f"{row}: {row.values}")
        if not isinstance(row.values, dict) or row.values.get("prompt") in (None, "", []):
            raise UserError(f"{row}: has no prompt: give it a column of that name, text or messages")
        try:
            found.append(as_messages(row.values["prompt"], "prompt", "user"))
        except ValueError as error:
            raise UserError(f"{row}: {error}") from None
    records: Any = [{"prompt": turns} for turns in found]
    try:
        parts = dataset.split(records, config.measure_prompts, config.seed)
    except ValueError as error:
        raise UserError(str(error).replace("validation_size", "measure_prompts")) from None
    trained, held_out = ([record["prompt"] for record in part] for part in parts)
    return trained, held_out


def _rehearse(ready: Loop) -> None:
    """Plan a training on made-up responses to the first round's prompts: what is wrong with it is found now."""
    config, first = ready.config, ready.first
    context = getattr(first.architecture.get_text_config(decoder=True), "max_position_embeddings", None)
    for turns in (*ready.prompts, *ready.held_out):
        try:
            room(Request(f"prompt {str(turns[-1]['content'])[:40]!r}", first.prompt(turns), Settings()), context)
        except ValueError as error:
            raise UserError(f"{config.prompts}: {error}; leave it out") from None
    pairs = [{"prompt": turns, "chosen": "a", "rejected": "a a"} for _, turns in ready.of_round(1)]
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder) / "records.jsonl"
        records.write_text("".join(f"{json.dumps(pair)}\n" for pair in pairs * config.pairs_per_prompt))
        try:
            prepare_run(config.training(first.source, first.source, records, Path(folder) / "out", ready.date))
        except UserError as error:
            raise UserError(f"train: {str(error).replace(str(records), config.prompts)}") from None


def kept_in(path: Path) -> dict[str, Any]:
    """What a file of ours holds; nothing where it is not there."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError):
        raise UserError(f"{path}: is not as it was written; put it back, or set another out") from None


def _claim(out: Path, kept: dict[str, Any], now: dict[str, Any]) -> None:
    """Make the folder, or check that it is of this configuration."""
    if kept:
        old, new = kept.get("config", {}), now["config"]
        changed = [f"{name} was {old.get(name)!r}" for name in new if old.get(name) != new[name]]
        names = {"model": "its first policy's weights", "prompts": "its prompts"}
        marks = kept.get("fingerprints", {})
        changed += [
            f"{what} were others" for name, what in names.items() if marks.get(name) != now["fingerprints"][name]
        ]
        if changed:
            raise UserError(
                f"out = {out} holds rounds of another configuration ({', '.join(changed)}): set another out"
            )
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "online.json", json.dumps(now, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"out = {out}: cannot be written ({error.strerror}); name another folder") from None

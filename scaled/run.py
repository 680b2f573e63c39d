"""A run from its configuration to its results: check, read, score the reference, train, save.

Cheap checks come first, so that a mistake costs seconds and leaves nothing behind. A run's folder holds

    config.json       the resolved configuration and its hash
    metrics.jsonl     a line per update and per validation; tensorboard/ has the same numbers
    checkpoint-N/     the last ones and the best, for resumption
    reference/        the reference's log-probs, computed once
    base/             with model: random, the initial weights and tokenizer
    model/            the result, a Hugging Face folder; adapter/ beside it for LoRA
    run.json          versions, fingerprints, seeds; written last, so a run without it is unfinished
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from scaled import checkpoints
from scaled.config import TrainConfig
from scaled.estimate import count_weights
from scaled.journal import Journal
from scaled.lifecycle import StopWatch, barrier, rank, ranks
from scaled.machine import check_disk, check_machine, join_ranks
from scaled.plan import evaluation_slots
from scaled.policy import check_attention, load_trainable, make_sampling, with_reference
from scaled.prepare import Prepared, prepare_run
from scaled.results import Provenance, write_results
from scaled.resumption import claim_folder, claim_on_first, find_checkpoint, settle_identity
from scaled.throughput import uses_gpu
from scaled.trainer import PairSet, PairTrainer, due, training_arguments


def run(config: TrainConfig, stop: StopWatch | None = None) -> str:
    """Train, or go on training.

    Args:
        config: everything that is decided.
        stop: says when to stop early; None for at signals and without a launcher.

    Returns:
        What to tell the user at the end, on every rank.

    Raises:
        ConfigError: a mistake of the user's; nothing was trained.
        NonFiniteError, SaveError: see :mod:`scaled.lifecycle`.
    """
    with stop or StopWatch() as watch:
        return _run(config, watch)


def _run(config: TrainConfig, stop: StopWatch) -> str:
    out = Path(config.out)
    if (out / "run.json").is_file():
        claim_folder(config)
        return f"{out} holds a finished run of this configuration: its model is in {out / 'model'}"
    check_machine(config)
    join_ranks(config)
    ready = prepare_run(config)
    check_disk(config, ready.architecture, _saves(config, ready))
    claim_on_first(config)
    resume = find_checkpoint(config)
    identity = settle_identity(config, ready, resume)
    if rank() == 0:
        record = {"hash": config.hash(), "config": config.resolved()}
        checkpoints.write_atomically(out / "config.json", json.dumps(record, indent=1) + "\n")
    barrier()
    check_attention(config, ready)
    train, held_out = with_reference(config, ready)
    done = checkpoints.update_of(resume) if resume else 0
    trainer = build_trainer(config, ready, train, held_out, stop, done, identity)
    if resume is not None and done == len(ready.plan.updates):
        best = json.loads((resume / "trainer_state.json").read_text()).get("best_global_step")
    else:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        best = trainer.state.best_global_step
    if trainer.journal is not None:
        trainer.journal.close()
    if trainer.stopped:
        done, last = trainer.state.global_step, checkpoints.last_complete(out)
        return f"stopped ({trainer.stopped}) after update {done}, saved as {last}: start again to go on"
    barrier()
    if config.zero_stage == 3:
        # Or transformers would partition every model that is made from here on.
        unset_hf_deepspeed_config()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    facts = Provenance(
        ready.source,
        identity,
        ready.left_out,
        {"train": ready.train.counts, "held_out": ready.held_out.counts},
        checkpoints.checkpoint(out, best or len(ready.plan.updates)),
        count_weights(config, ready.architecture).total,
    )
    if rank() == 0:
        write_results(config, facts, ready.tokenizer, ready.template, ready.plan)
    barrier()
    return f"model: {out / 'model'}\nmetrics: {out / 'metrics.jsonl'}\nabout the run: {out / 'run.json'}"


def _saves(config: TrainConfig, ready: Prepared) -> int:
    """Checkpoints of the whole run."""
    validates = bool(ready.held_out.pairs)
    updates = range(1, len(ready.plan.updates) + 1)
    return sum(due(config, ready.plan, update, validates=validates)[1] for update in updates)


def build_trainer(
    config: TrainConfig,
    ready: Prepared,
    train: PairSet,
    held_out: PairSet | None = None,
    stop: StopWatch | None = None,
    update: int = 0,
    identity: Mapping[str, str] | None = None,
) -> PairTrainer:
    """The trainer, with the policy loaded; `update` is the one it goes on after."""
    # Before the model, for ZeRO-3.
    arguments = training_arguments(config, ready.plan.accumulation, use_cpu=not uses_gpu(config))
    slots = []
    if held_out is not None:
        budget = None if config.row_tokens is None else max(config.row_tokens, *ready.held_out.lengths)
        slots = evaluation_slots(
            ready.held_out.lengths, ranks=ranks(), micro_batch=config.micro_batch, row_tokens=budget
        )
    journal = Journal(Path(config.out), update, tensorboard=config.tensorboard) if rank() == 0 else None
    model = load_trainable(config, ready.source)
    sampling = make_sampling(config, ready)
    return PairTrainer(
        model, config, arguments, ready.objective, train, ready.plan, held_out, slots, journal, stop, identity, sampling
    )

"""A run from its configuration to its results: check, read, score the reference, train, save.

Cheap checks come first, so that a mistake costs seconds and leaves nothing behind. A run's folder holds

    config.json       the resolved configuration and its hash
    metrics.jsonl     a line per update and per validation; trackers get the same numbers
    checkpoint-N/     the last ones and the best, for resumption
    reference/        the reference's log-probs, computed once
    base/             with model: random, the initial weights and tokenizer
    model/            the result, a Hugging Face folder; adapter/ beside it for LoRA
    run.json          versions, fingerprints, seeds; written last, so a run without it is unfinished
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import set_seed
from filelock import BaseFileLock
from torch import nn
from transformers import PreTrainedModel

from inspo.command_line import UserError, one_line
from scaled.config import TrainConfig
from scaled.data.examples import Examples
from scaled.data.plan import validation_slots
from scaled.device import uses_gpu
from scaled.distributed import barrier, from_first, join, rank, world_size
from scaled.files import write_atomically
from scaled.generation.sampled_kl import SampledKl
from scaled.model.loading import as_policy, commit_of, load_initial, load_weights, partitioned, weights_fingerprint
from scaled.model.precision import autocast, weights_dtype
from scaled.model.sizes import count_weights
from scaled.reference.cache import UnusableReferenceError, architecture_digest
from scaled.reference.scoring import Pass, with_reference
from scaled.run.checks import check_disk, check_machine, saves
from scaled.run.model_card import closing_message
from scaled.run.prepare import Prepared, prepare_run
from scaled.run.publish import open_repository, publish
from scaled.run.results import Provenance, write_results
from scaled.run.resumption import (
    check_finished,
    claim_folder,
    find_checkpoint,
    first_day,
    lock_folder,
    on_first,
    settle_fingerprints,
)
from scaled.training import checkpoints, state
from scaled.training.callbacks import load_callbacks
from scaled.training.checkpoints import Checkpoints
from scaled.training.engine import deepspeed_config, make_accelerator, make_optimizer
from scaled.training.journal import Journal
from scaled.training.loop import Training, Validation, train
from scaled.training.stopping import StopWatch
from scaled.workarounds import start_deepspeed


def run(config: TrainConfig, stop: StopWatch | None = None) -> str:
    """Train, or go on training.

    Args:
        config: everything that is decided.
        stop: says when to stop early; None for at signals and without a launcher.

    Returns:
        What to tell the user at the end, on every rank.

    Raises:
        UserError: a mistake of the user's; nothing was trained.
        NonFiniteError, SaveError: see :mod:`scaled.errors`.
    """
    with stop or StopWatch() as watch:
        held: list[BaseFileLock] = []  # the folder's lock, on rank 0
        try:
            return _run(config, watch, held)
        finally:
            for lock in held:
                lock.release()


def _run(config: TrainConfig, stop: StopWatch, held: list[BaseFileLock]) -> str:
    out = Path(config.out)
    check_machine(config)
    load_callbacks(config.callbacks)
    join(gpu=uses_gpu(config), always=config.zero_stage > 0, threads=config.threads)
    if config.zero_stage:
        start_deepspeed(gpu=uses_gpu(config))
    ready = prepare_run(config, today=from_first(first_day(out)))
    finished = from_first((out / "run.json").exists())
    if not finished:
        check_disk(config, ready.architecture, saves(config, ready))
    on_first(lambda: claim_folder(config))
    on_first(lambda: held.append(lock_folder(out)))
    if finished:
        on_first(lambda: check_finished(config, ready))
        return f"{out} holds a finished run of this configuration: its model is in {out / 'model'}"
    on_first(lambda: open_repository(config))
    resume = find_checkpoint(config)
    fingerprints = settle_fingerprints(config, ready, resume)
    if rank() == 0:
        day = ready.template.date
        record = {"hash": config.hash(), "config": config.resolved(), "date": None if day is None else day.isoformat()}
        write_atomically(out / "config.json", json.dumps(record, indent=1) + "\n")
    barrier()
    last = len(ready.plan.updates)
    if resume is not None and checkpoints.update_of(resume) == last:
        best = checkpoints.facts(resume)["best_update"]
    else:
        training = assemble(config, ready, fingerprints, resume, stop)
        stop.training = True
        stopped = train(training)
        for tracker in training.accelerator.trackers:  # end_training() would end the process group too
            tracker.finish()
        if training.journal is not None:
            training.journal.close()
        if stopped:
            saved = checkpoints.last_complete(out)
            update = checkpoints.update_of(out / saved)
            return f"stopped ({stopped}) after update {update}, saved as {saved}: start again to go on"
        best = training.checkpoints.best_update
    barrier()
    facts = Provenance(
        ready.source,
        ready.commit,
        fingerprints,
        ready.left_out,
        {"train": ready.train.counts, "validation": ready.validation.counts},
        len(ready.validation),
        checkpoints.checkpoint(out, best or last),
        count_weights(ready.architecture, config).total,
    )
    if rank() == 0:
        write_results(config, facts, ready.tokenizer, ready.template, ready.plan)
    pushed = on_first(lambda: publish(config))
    return closing_message(out) + pushed


def assemble(
    config: TrainConfig,
    ready: Prepared,
    fingerprints: Mapping[str, str] | None = None,
    resume: Path | None = None,
    stop: StopWatch | None = None,
) -> Training:
    """Everything that is trained, with the reference's log-probs at hand and the policy wrapped.

    Args:
        config: the run's configuration.
        ready: what it will train.
        fingerprints: as :func:`settle_fingerprints` returns them.
        resume: the checkpoint to go on from.
        stop: when to stop early.

    Raises:
        UserError: a tracker that does not start, weights that cannot be loaded, or a reference that cannot be used.
    """
    out = Path(config.out)
    if fingerprints is None:
        weights = weights_fingerprint(ready.source, ready.architecture)
        fingerprints = {"weights": weights} | ready.reference_fingerprints
    facts = {} if resume is None else checkpoints.facts(resume)
    done = int(facts.get("update", 0))
    other_ranks = resume is not None and facts["world_size"] != world_size()
    accelerator = make_accelerator(config, ready.plan.accumulation, out, config.trackers, other_ranks=other_ranks)
    on_first(lambda: start_trackers(config, accelerator, done))

    @cache
    def initial() -> PreTrainedModel:
        return load_initial(ready.source, config, ready.commit)

    def reference() -> PreTrainedModel:
        return initial() if ready.reference[0] == ready.source else other()

    @cache
    def other() -> PreTrainedModel:
        return load_initial(ready.reference[0], config, commit_of(*ready.reference))

    scored_by = fingerprints.get("reference", fingerprints["weights"])
    examples, validation_examples = score_reference(config, ready, scored_by, reference)
    other.cache_clear()
    sampled_kl = make_sampled_kl(config, ready)
    policy = load_policy(config, ready, initial, resume)
    initial.cache_clear()
    set_seed(config.seed)
    model, optimizer = accelerator.prepare(policy, make_optimizer(policy, config))
    if resume is not None:
        whole = state.put_together(resume, out / "whole", accelerator) if other_ranks else nullcontext()
        with whole as partitions:
            state.load(resume, accelerator, model, optimizer, partitions)
    validation = None
    if validation_examples:
        budget = None if config.row_tokens is None else max(config.row_tokens, *validation_examples.lengths)
        validation = Validation(
            validation_examples,
            validation_slots(
                validation_examples.lengths,
                validation_examples.shared(validation_examples.layout.policy),
                world_size=world_size(),
                micro_batch=config.micro_batch,
                row_tokens=budget,
            ),
            None if sampled_kl is None else partial(sampled_kl.estimate, policy),
        )
    kept_facts = {"world_size": world_size(), "zero_stage": config.zero_stage, "config": config.hash(), **fingerprints}
    return Training(
        accelerator=accelerator,
        model=model,
        optimizer=optimizer,
        loss=ready.loss,
        examples=examples,
        plan=ready.plan,
        options=config,
        output=config,
        checkpoints=Checkpoints(
            out, config.keep_checkpoints, kept_facts, facts.get("best_update"), facts.get("best_loss")
        ),
        validation=validation,
        journal=Journal(out, done, accelerator.log if config.trackers else None) if rank() == 0 else None,
        stop=stop,
        attention=config.attention,
        kl_group=config.kl_group,
        callbacks=load_callbacks(config.callbacks),
        done=done,
    )


def score_reference(
    config: TrainConfig, ready: Prepared, weights: str, reference: Callable[[], PreTrainedModel]
) -> tuple[Examples, Examples]:
    """The training and the validation examples with the reference's log-probs, where the method needs them."""
    under = " under autocast to bf16" if config.precision == "bf16" and not config.zero_stage else ""
    about = {
        "weights": weights,
        "architecture": architecture_digest(ready.reference[1]),
        "dtype": f"{weights_dtype(config)}{under}{', 4 bits' if config.qlora else ''}",
        "template": ready.template.fingerprint,
        "attention": config.attention,
    }
    scored = Pass(reference, about, Path(config.out) / "reference", config.row_tokens or 8192, config.attention)
    try:
        with autocast(config):
            return with_reference(ready.train, scored), with_reference(ready.validation, scored)
    except UnusableReferenceError as error:
        raise UserError(str(error)) from error


def load_policy(
    config: TrainConfig, ready: Prepared, initial: Callable[[], PreTrainedModel], resume: Path | None
) -> nn.Module:
    """The policy to be trained, not yet wrapped: the initial weights, or a checkpoint's without DeepSpeed.

    The initial weights are those that scored the reference, if they did, so that they are loaded once; under
    ZeRO-3 they are loaded anew, partitioned over the ranks.
    """
    deepspeed = config.zero_stage > 0
    if config.zero_stage == 3:
        with partitioned(deepspeed_config(config, ready.plan.accumulation)):
            model = load_weights(ready.source, config, ready.commit)
    elif resume is not None and not deepspeed and config.lora_rank is None:
        model = load_weights(resume, config)
    else:
        model = initial()
    return as_policy(model, config, config.seed, None if deepspeed else resume)


def make_sampled_kl(config: TrainConfig, ready: Prepared) -> SampledKl | None:
    """What ``sample_kl`` asks for. Without an adapter to switch off, the reference is kept beside the policy."""
    if config.sample_kl is None:
        return None
    source, architecture = ready.reference
    beside = config.lora_rank is None or source != ready.source
    return SampledKl(
        prompts=[pair.prompt for pair in ready.validation.pairs[: config.sample_kl]],
        max_tokens=config.sample_tokens,
        end=ready.template.end_of_turn,
        seed=config.seed,
        reference=load_initial(source, config, commit_of(source, architecture)) if beside else None,
        autocast=partial(autocast, config),
        attention=config.attention,
    )


def start_trackers(config: TrainConfig, accelerator: Accelerator, done: int) -> None:
    """Begin a run named as the folder in every tracker, before anything that takes long.

    Raises:
        UserError: one that does not start, such as for want of a login.
    """
    if not config.trackers:
        return
    name = Path(config.out).absolute().name
    named: dict[str, dict[str, Any]] = {
        "wandb": {"name": name},
        "trackio": {"name": name},
        "mlflow": {"run_name": name},
        "tensorboard": {"purge_step": done + 1},  # hides events after the checkpoint that a run goes on from
    }
    try:
        accelerator.init_trackers("inspo", init_kwargs=named)
        for tracker in accelerator.trackers:
            if tracker.name != "tensorboard":  # which would open another folder of events at every start
                tracker.store_init_configuration(config.resolved())
    except Exception as error:  # each tracker has its own
        raise UserError(
            f"trackers: {', '.join(config.trackers)} cannot be started ({one_line(error)}): "
            "set up what it asks for, or set trackers=[]"
        ) from error

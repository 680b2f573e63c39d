"""A run from its configuration to its results: check, read, score the reference, train, save.

Cheap checks come first, so that a mistake costs seconds. A run's folder holds

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
import logging
import os
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from inspo.conditioning import Conditioning, ReferenceContext
from inspo.losses import METHODS
from inspo.pairs import PreferencePair
from inspo.prefix_tree import build_row
from inspo.sequences import Limits, Separator, fit
from scaled import checkpoints
from scaled.base import make_base
from scaled.config import NOT_DECISIVE, RANDOM, ConfigError, TrainConfig
from scaled.data import fingerprint, tokenize
from scaled.estimate import checkpoint_bytes, count_weights
from scaled.journal import Journal
from scaled.lifecycle import StopWatch, barrier, from_first, rank, ranks
from scaled.models import load_policy
from scaled.objective import PLAIN, Objective, prepare
from scaled.plan import Plan, epoch_stream, evaluation_slots, make_plan
from scaled.records import Record, load_records
from scaled.reference import Ranks, reference_logps
from scaled.results import Provenance, write_results
from scaled.support import check_supported
from scaled.templates import Template
from scaled.trainer import PairSet, PairTrainer, training_arguments

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything that is known before a weight is loaded."""

    source: str
    architecture: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    template: Template
    objective: Objective
    limits: Limits
    train: tuple[PreferencePair, ...]
    held_out: tuple[PreferencePair, ...]
    counts: dict[str, int]
    lengths: list[int]
    held_out_lengths: list[int]
    plan: Plan


def run(config: TrainConfig) -> str:
    """Train, or go on training.

    Returns:
        What to tell the user at the end, on every rank.

    Raises:
        ConfigError: a mistake of the user's; nothing was trained.
        NonFiniteError, SaveError: see :mod:`scaled.lifecycle`.
    """
    with StopWatch() as stop:
        return _run(config, stop)


def _run(config: TrainConfig, stop: StopWatch) -> str:
    out = Path(config.out)
    if (out / "run.json").is_file():
        claim_folder(config)
        return f"{out} holds a finished run of this configuration: its model is in {out / 'model'}"
    check_machine(config)
    join_ranks(config)
    if rank() == 0:
        claim_folder(config)
    barrier()
    ready = prepare_run(config)
    check_disk(config, ready.architecture)
    if rank() == 0:
        checkpoints.write_atomically(out / "config.json", json.dumps(_record(config), indent=1) + "\n")
    resume = _resumption(config)
    train, held_out = with_reference(config, ready)
    trainer = build_trainer(config, ready, train, held_out, stop, checkpoints.update_of(resume) if resume else 0)
    if resume is not None and checkpoints.update_of(resume) == len(ready.plan.updates):
        best = json.loads((resume / "trainer_state.json").read_text()).get("best_model_checkpoint")
    else:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        best = trainer.state.best_model_checkpoint
    if trainer.journal is not None:
        trainer.journal.close()
    if trainer.stopped:
        done, last = trainer.state.global_step, checkpoints.last_complete(out)
        return f"stopped ({trainer.stopped}) after update {done}, saved as {last}: start again to go on"
    barrier()
    if config.zero_stage == 3:
        # Or transformers would partition every model that is made from here on.
        unset_hf_deepspeed_config()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    chosen = Path(best) if best else checkpoints.checkpoint(out, len(ready.plan.updates))
    facts = Provenance(
        ready.source,
        fingerprint(ready.train),
        fingerprint(ready.held_out),
        ready.counts,
        chosen,
        count_weights(config, ready.architecture).total,
    )
    if rank() == 0:
        write_results(config, facts, ready.tokenizer, ready.template, ready.plan)
    barrier()
    return f"model: {out / 'model'}\nmetrics: {out / 'metrics.jsonl'}\nabout the run: {out / 'run.json'}"


# --- checks that cost nothing


def check_machine(config: TrainConfig) -> None:
    """Raise where the machine lacks what the configuration asks for."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device = cuda, but there is no GPU here: set device=cpu, or start on a machine with one")
    if config.qlora and not torch.cuda.is_available():
        raise ConfigError("qlora quantizes on a GPU and there is none here: set qlora=false")
    if config.qlora and not _installed("bitsandbytes"):
        raise ConfigError("qlora needs bitsandbytes: pip install bitsandbytes")
    if config.zero_stage and not _installed("deepspeed"):
        raise ConfigError("zero_stage needs deepspeed: pip install -e '.[train]', or set zero_stage=0")
    if config.lora_rank and not _installed("peft"):
        raise ConfigError("lora_rank needs peft: pip install -e '.[train]'")
    if config.tensorboard and not _installed("tensorboard"):
        raise ConfigError("tensorboard is not installed: pip install -e '.[train]', or set tensorboard=false")


def check_disk(config: TrainConfig, architecture: PreTrainedConfig) -> None:
    """Raise where the disk cannot hold one checkpoint more and the result."""
    needed = checkpoint_bytes(config, architecture)
    free = shutil.disk_usage(config.out).free
    if free < needed:
        raise ConfigError(
            f"the disk of {config.out} has {free / 2**30:.1f} GiB left, a checkpoint and the result need "
            f"{needed / 2**30:.1f}: free some, or set another out"
        )


def claim_folder(config: TrainConfig) -> None:
    """Make the run's folder, or check that it belongs to this configuration."""
    out = Path(config.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"out = {out}: cannot be written ({error.strerror}); name another folder") from None
    try:
        earlier = json.loads((out / "config.json").read_text())["config"]
    except (OSError, ValueError, KeyError):
        return
    now = config.resolved()
    changed = [
        f"{name} was {earlier.get(name)!r}"
        for name in now
        if name not in NOT_DECISIVE and earlier.get(name) != now[name]
    ]
    if changed:
        raise ConfigError(f"out = {out} holds a run of another configuration ({', '.join(changed)}): set another out")


def join_ranks(config: TrainConfig) -> None:
    """Connect the launcher's processes; without a launcher, be a world of one."""
    if "RANK" not in os.environ and config.zero_stage:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    use_cuda = torch.cuda.is_available() and config.device != "cpu"
    if use_cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    else:
        cores = os.cpu_count() or 1
        local = int(os.environ.get("LOCAL_SIZE", "1"))
        torch.set_num_threads(config.threads or max(1, cores // local))
        os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))  # or accelerate sets its own
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    if not torch.distributed.is_initialized() and (ranks() > 1 or config.zero_stage):
        torch.distributed.init_process_group("nccl" if use_cuda else "gloo", timeout=timedelta(hours=2))
    if config.zero_stage:
        import deepspeed

        if not use_cuda:
            # DeepSpeed's own shared-memory collectives need a C++ compiler and a minute to build, and
            # wait forever for a rank that died; gloo's fail at once.
            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        deepspeed.init_distributed("nccl" if use_cuda else "gloo", auto_mpi_discovery=False, verbose=False)


def _installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


# --- from files to the plan


def prepare_run(config: TrainConfig) -> Prepared:
    """Read tokenizer, architecture and data, cut the data to its limits, and plan every update.

    Raises:
        ConfigError, ValueError: anything that is wrong with them, in one line.
    """
    records = load_records(_file(config.data, "data"), soft_labels=config.soft_labels)[: config.limit]
    source = _source(config, records)
    tokenizer = _tokenizer(config.tokenizer or source)
    architecture = _architecture(source)
    check_supported(architecture)
    template = Template.of(tokenizer, config.template)
    objective, limits = make_objective(config, tokenizer, template, architecture)
    train_records, held_out_records = _split(config, records)

    def pairs_of(chosen: Sequence[Record]) -> tuple[tuple[PreferencePair, ...], dict[str, int]]:
        pairs = tokenize(chosen, tokenizer, template, vocab_size=architecture.get_text_config(decoder=True).vocab_size)
        fitted = fit(pairs, objective.requests(), limits, separator=objective.separator)
        return fitted.pairs, fitted.counts

    train, counts = pairs_of(train_records)
    held_out, held_out_counts = pairs_of(held_out_records) if held_out_records else ((), {})
    if not train:
        raise ConfigError(f"no pair of {config.data} is within max_length = {config.max_length}: raise it")
    if rank() == 0:
        for name, what in (("training", counts), ("held-out", held_out_counts)):
            changed = ", ".join(f"{event.replace('_', ' ')} {count}" for event, count in what.items() if count)
            if changed:
                logger.warning("%s pairs: %s", name, changed)
    lengths = tree_lengths(train, objective)
    plan = make_plan(
        lengths,
        epoch_stream(len(train), config.epochs, config.seed, shuffle=config.shuffle),
        ranks=ranks(),
        batch_size=config.batch_size,
        micro_batch=config.micro_batch,
        row_tokens=config.row_tokens,
        max_updates=config.max_updates,
    )
    return Prepared(
        source,
        architecture,
        tokenizer,
        template,
        objective,
        limits,
        train,
        held_out,
        counts,
        lengths,
        tree_lengths(held_out, objective),
        plan,
    )


def tree_lengths(pairs: Sequence[PreferencePair], objective: Objective) -> list[int]:
    """Tokens of each pair's tree."""
    return [
        len(build_row([pair], objective.requests(), separator=objective.separator, draft_cap=objective.draft_cap))
        for pair in pairs
    ]


def make_objective(
    config: TrainConfig, tokenizer: PreTrainedTokenizerBase, template: Template, architecture: PreTrainedConfig
) -> tuple[Objective, Limits]:
    """The objective and the limits of a configuration."""
    positions = getattr(architecture.get_text_config(decoder=True), "max_position_embeddings", None)
    if config.max_length and positions and config.max_length > positions:
        raise ConfigError(f"max_length = {config.max_length} exceeds the model's {positions} positions: lower it")
    conditioning = Conditioning(config.conditioning)
    conditioned = conditioning is not Conditioning.NONE
    limits = Limits(
        max_length=config.max_length,
        over_length=cast("Any", tuple(config.over_length.replace(" ", "").split(","))),
        draft_cap=config.draft_cap if conditioned else None,
        over_cap=cast("Any", config.over_cap),
        prompt_head=template.prompt_head,
    )

    def token_to_id(token: str) -> int | None:
        return tokenizer.get_vocab().get(token)

    objective = Objective(
        config.method,
        conditioning,
        config.hyperparameters(),
        ReferenceContext(config.reference),
        Separator.parse(config.separator, token_to_id, template.header),
        limits.draft_tokens,
        config.plain_logps,
    )
    return objective, limits


def _file(path: str, key: str) -> str:
    if not Path(path).exists():
        raise ConfigError(f"{key} = {path}: there is no such file; give your records with --set {key}=FILE")
    return path


def _split(config: TrainConfig, records: list[Record]) -> tuple[list[Record], list[Record]]:
    """Training and held-out records."""
    if config.validation is not None:
        return records, load_records(_file(config.validation, "validation"), soft_labels=config.soft_labels)
    size = config.validation_size
    if size >= len(records):
        raise ConfigError(f"validation_size = {size} leaves nothing of {len(records)} records to train on: lower it")
    held = set(np.random.default_rng([config.seed, 1]).permutation(len(records))[:size].tolist())
    return (
        [record for index, record in enumerate(records) if index not in held],
        [record for index, record in enumerate(records) if index in held],
    )


def _source(config: TrainConfig, records: list[Record]) -> str:
    """Where the initial weights are; with model: random they are made first, by rank 0."""
    if config.model != RANDOM:
        return config.model
    base = Path(config.out) / "base"
    if rank() == 0 and not base.exists():
        staged = base.with_name(".base.new")
        shutil.rmtree(staged, ignore_errors=True)
        make_base(staged, str(config.architecture), records, config.seed)
        staged.replace(base)
    barrier()
    return str(base)


def _tokenizer(source: str) -> PreTrainedTokenizerBase:
    try:
        return cast("PreTrainedTokenizerBase", AutoTokenizer.from_pretrained(source))
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"tokenizer of {source}: cannot be loaded ({_first_line(error)}); check model and tokenizer"
        ) from None


def _architecture(source: str) -> PreTrainedConfig:
    try:
        return cast("PreTrainedConfig", AutoConfig.from_pretrained(source))
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"model = {source}: cannot be loaded ({_first_line(error)}); name a folder or hub name"
        ) from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _record(config: TrainConfig) -> dict[str, Any]:
    return {"hash": config.hash(), "config": config.resolved()}


# --- resumption


def _resumption(config: TrainConfig) -> Path | None:
    """The checkpoint to go on from, the same on all ranks; says what was found."""
    out = Path(config.out)
    found: tuple[Path | None, list[str]] = (None, [])
    if rank() == 0:
        found = checkpoints.latest(out)
        for remark in found[1]:
            logger.warning(remark)
        if found[0] is not None:
            logger.warning("going on from %s", found[0].name)
    folder, _ = from_first(found)
    if folder is not None:
        facts = checkpoints.facts(folder)
        for name, now in (("ranks", ranks()), ("zero_stage", config.zero_stage)):
            if facts[name] != now:
                raise ConfigError(
                    f"{folder} was made with {name} = {facts[name]}, not {now}: start as before, or set another out"
                )
    return folder


# --- reference, model, trainer


def with_reference(config: TrainConfig, ready: Prepared) -> tuple[PairSet, PairSet | None]:
    """The data with the reference's log-probs, which are computed before the policy is wrapped."""
    method = METHODS[config.method]
    train, held_out = PairSet(ready.train), PairSet(ready.held_out) if ready.held_out else None
    if not method.needs_reference:
        return train, held_out
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    model: nn.Module = load_policy(ready.source, dtype=dtype)
    if torch.cuda.is_available() and config.device != "cpu":
        model.cuda()

    def scored(pairs: Sequence[PreferencePair], conditioning: Conditioning) -> Any:
        return reference_logps(
            model,
            pairs,
            conditioning,
            ready.objective.reference,
            separator=ready.objective.separator,
            draft_cap=ready.objective.draft_cap,
            with_plain=config.plain_logps,
            template=ready.template.identity,
            token_budget=config.row_tokens or 8192,
            cache_dir=Path(config.out) / "reference",
            ranks=Ranks(rank(), ranks(), barrier),
        ).sums

    def complete(data: PairSet) -> PairSet:
        data = replace(data, reference=scored(data.pairs, ready.objective.conditioning))
        if not method.needs_kl:
            return data
        others = mismatched(data.pairs, ready.limits)
        return replace(data, mismatched=others, mismatched_reference=scored(others, Conditioning.NONE))

    complete_train = complete(train)
    return complete_train, None if held_out is None else complete(held_out)


def mismatched(pairs: Sequence[PreferencePair], limits: Limits) -> tuple[PreferencePair, ...]:
    """Each prompt with the responses to the next other prompt, cut to the limits, for KTO's KL estimate.

    Raises:
        ValueError: all prompts are the same.
    """
    made = []
    for index, pair in enumerate(pairs):
        others = (pairs[(index + step) % len(pairs)] for step in range(1, len(pairs)))
        other = next((each for each in others if each.prompt != pair.prompt), None)
        if other is None:
            raise ConfigError(
                "kto estimates its KL from mismatched prompts, but all prompts are the same: use another method"
            )
        made.append(replace(other, prompt=pair.prompt, record=pair.record))
    cut = replace(limits, over_length=("cut_prompt", "cut_responses"), draft_cap=None)
    return fit(made, PLAIN, cut).pairs


def build_trainer(
    config: TrainConfig,
    ready: Prepared,
    train: PairSet,
    held_out: PairSet | None = None,
    stop: StopWatch | None = None,
    update: int = 0,
) -> PairTrainer:
    """The trainer, with the policy loaded; `update` is the one it goes on after."""
    use_cpu = not torch.cuda.is_available() or config.device == "cpu"
    arguments = training_arguments(config, ready.plan.accumulation, use_cpu=use_cpu)  # before the model, for ZeRO-3
    slots = []
    if held_out is not None:
        budget = None if config.row_tokens is None else max(config.row_tokens, *ready.held_out_lengths)
        slots = evaluation_slots(
            ready.held_out_lengths, ranks=ranks(), micro_batch=config.micro_batch, row_tokens=budget
        )
    journal = Journal(Path(config.out), update, tensorboard=config.tensorboard) if rank() == 0 else None
    model = load_trainable(config, ready.source)
    return PairTrainer(model, config, arguments, ready.objective, train, ready.plan, held_out, slots, journal, stop)


def load_trainable(config: TrainConfig, source: str) -> nn.Module:
    """The policy as it is trained: with its adapter, on tree attention, accepting rows."""
    bf16 = config.precision == "bf16"
    # DeepSpeed keeps float32 copies of bf16 weights; without it, autocast works on float32 weights.
    dtype = torch.bfloat16 if bf16 and (config.zero_stage or config.lora_rank) else torch.float32
    options: dict[str, Any] = {}
    if config.qlora:
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            bnb_4bit_use_double_quant=True,
            llm_int8_skip_modules=["lm_head"],
        )
    model: nn.Module = load_policy(source, dtype=dtype, **options)
    cast("Any", model).config.use_cache = False
    if config.gradient_checkpointing:
        cast("Any", model).gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if config.lora_rank is not None:
        from peft import LoraConfig, get_peft_model

        adapter = LoraConfig(
            r=config.lora_rank,
            lora_alpha=int(config.lora_alpha or 2 * config.lora_rank),
            lora_dropout=config.lora_dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        torch.manual_seed(config.seed)
        model = get_peft_model(cast("Any", model), adapter)
    prepare(model)
    return model

"""From files to the plan: everything that is known of a run before a weight is loaded. Nothing is written."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

from inspo.conditioning import Conditioning, ReferenceContext
from inspo.losses import METHODS
from inspo.pairs import PreferencePair
from inspo.sequences import Limits, Separator, fit
from scaled.base import base_architecture, base_tokenizer
from scaled.config import RANDOM, ConfigError, TrainConfig, first_line
from scaled.data import tokenize
from scaled.filters import PRESETS, filter_records
from scaled.lifecycle import rank, ranks
from scaled.objective import PLAIN, Objective
from scaled.plan import Plan, epoch_stream, make_plan
from scaled.records import Record, load_records
from inspo.hf.architectures import check_depth, check_supported
from scaled.templates import Template

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Pairs:
    """The training pairs, or the held-out ones.

    Attributes:
        pairs: n pairs within their limits.
        lengths: tokens of each pair's tree.
        depth: tokens of the longest sequence.
        counts: what happened on the way -> how often: see :func:`inspo.sequences.fit` and
            :func:`scaled.data.tokenize`.
        mismatched: for KTO, n pairs of each prompt with another prompt's responses; else empty.
    """

    pairs: tuple[PreferencePair, ...] = ()
    lengths: list[int] = field(default_factory=list)
    depth: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    mismatched: tuple[PreferencePair, ...] = ()


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a run will train, on what, and when.

    Attributes:
        source: where the initial weights are; with ``model: random``, where they will be made.
        architecture: the model's numbers.
        tokenizer: the policy's.
        template: how conversations are written.
        objective: the loss.
        train: what is trained on.
        held_out: what is validated on.
        left_out: by file, records that were left out and why: ``ties`` of judged pairs, and the steps of
            :func:`scaled.filters.filter_records`.
        plan: every update.
    """

    source: str
    architecture: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    template: Template
    objective: Objective
    train: Pairs
    held_out: Pairs
    left_out: dict[str, dict[str, int]]
    plan: Plan


def prepare_run(config: TrainConfig, architecture: PreTrainedConfig | None = None) -> Prepared:
    """Read tokenizer, architecture and data, cut the data to its limits, and plan every update.

    Args:
        config: the run's configuration.
        architecture: the model's numbers where they are known, so that the model is not looked for.

    Raises:
        ConfigError: anything that is wrong with them, in one line.
    """
    try:
        return _prepare(config, architecture)
    except ConfigError:
        raise
    except ValueError as error:  # what records, templates, limits and the plan say of a mistake in them
        raise ConfigError(str(error)) from error


def _prepare(config: TrainConfig, architecture: PreTrainedConfig | None) -> Prepared:
    left_out: dict[str, dict[str, int]] = {}
    records = _records(config, "data", left_out)[: config.limit]
    validation = None if config.validation is None else _records(config, "validation", left_out)
    if config.model == RANDOM:
        source = str(Path(config.out) / "base")
        tokenizer = base_tokenizer(records) if config.tokenizer is None else _tokenizer(config.tokenizer)
        architecture = base_architecture(str(config.architecture), tokenizer)
    else:
        source = config.model
        tokenizer = _tokenizer(config.tokenizer or source)
        architecture = architecture or _architecture(source)
    check_supported(architecture)
    records = _filtered(config, "data", records, tokenizer, left_out)
    if validation is None:
        train_records, held_out_records = _split(config, records)
    else:
        train_records, held_out_records = records, _filtered(config, "validation", validation, tokenizer, left_out)
    template = Template.of(tokenizer, config.template)
    objective, limits = make_objective(config, tokenizer, template, architecture)

    def pairs_of(chosen: Sequence[Record], what: str) -> Pairs:
        counts: Counter[str] = Counter()
        vocabulary = architecture.get_text_config(decoder=True).vocab_size
        pairs = tokenize(chosen, tokenizer, template, vocab_size=vocabulary, counts=counts)
        return make_pairs(pairs, objective, limits, counts, what)

    train = pairs_of(train_records, "training")
    held_out = pairs_of(held_out_records, "held-out") if held_out_records else Pairs()
    if not train.pairs:
        raise ConfigError(f"no pair of {config.data} is within max_length = {config.max_length}: raise it")
    check_depth(architecture, max(train.depth, held_out.depth))
    if config.sample_kl is not None:
        _check_sampling(config, held_out, architecture)
    plan = make_plan(
        train.lengths,
        epoch_stream(len(train.pairs), config.epochs, config.seed, shuffle=config.shuffle),
        ranks=ranks(),
        batch_size=config.batch_size,
        micro_batch=config.micro_batch,
        row_tokens=config.row_tokens,
        max_updates=config.max_updates,
    )
    return Prepared(source, architecture, tokenizer, template, objective, train, held_out, left_out, plan)


def _check_sampling(config: TrainConfig, held_out: Pairs, architecture: PreTrainedConfig) -> None:
    wanted = config.sample_kl or 0
    if wanted > len(held_out.pairs):
        raise ConfigError(f"sample_kl = {wanted} is more than the {len(held_out.pairs)} held-out pairs: lower it")
    longest = max(len(pair.prompt) for pair in held_out.pairs[:wanted]) + config.sample_tokens
    positions = getattr(architecture.get_text_config(decoder=True), "max_position_embeddings", None)
    if positions and longest > positions:
        raise ConfigError(
            f"a prompt and sample_tokens = {config.sample_tokens} exceed the model's {positions} positions: lower it"
        )
    check_depth(architecture, longest)


def make_pairs(
    tokenized: Sequence[PreferencePair], objective: Objective, limits: Limits, events: Counter[str], what: str
) -> Pairs:
    """Cut pairs to their limits, and find out how large their trees are.

    Args:
        tokenized: the pairs.
        objective: gives the trees.
        limits: how long pairs may be.
        events: what happened while they were tokenized -> how often.
        what: they are, for messages.

    Raises:
        ValueError: see :func:`inspo.sequences.fit` and :func:`mismatched`.
    """
    fitted = fit(tokenized, objective.requests(), limits, separator=objective.separator)
    changed = ", ".join(f"{event.replace('_', ' ')} {count}" for event, count in fitted.counts.items() if count)
    if changed:
        logger.warning("%s pairs: %s", what, changed)
    lengths, depth = [], 0
    for pair in fitted.pairs:
        row = objective.row([pair])
        lengths.append(len(row))
        depth = max(depth, int(row.positions.max()) + 1)
    others: tuple[PreferencePair, ...] = ()
    if METHODS[objective.method].needs_kl and fitted.pairs:
        others = mismatched(fitted.pairs, limits, what)
        depth = max(depth, *(len(pair.prompt) + max(len(pair.chosen), len(pair.rejected)) - 1 for pair in others))
    return Pairs(fitted.pairs, lengths, depth, dict(events) | fitted.counts, others)


def mismatched(pairs: Sequence[PreferencePair], limits: Limits, what: str = "training") -> tuple[PreferencePair, ...]:
    """Each prompt with the responses to the next other prompt, cut to the limits, for KTO's KL estimate.

    Raises:
        ConfigError: all prompts are the same.
    """
    made = []
    for index, pair in enumerate(pairs):
        others = (pairs[(index + step) % len(pairs)] for step in range(1, len(pairs)))
        other = next((each for each in others if each.prompt != pair.prompt), None)
        if other is None:
            raise ConfigError(
                f"kto estimates its KL from mismatched prompts, but all prompts of the {len(pairs)} {what} pairs are "
                f"the same: {'use another method' if what == 'training' else 'hold out more, or none'}"
            )
        made.append(replace(other, prompt=pair.prompt, record=pair.record))
    cut = replace(limits, over_length=("cut_prompt", "cut_responses"), draft_cap=None)
    return fit(made, PLAIN, cut).pairs


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


def _records(config: TrainConfig, key: str, left_out: dict[str, dict[str, int]]) -> list[Record]:
    path = Path(getattr(config, key))
    if not path.exists():
        raise ConfigError(f"{key} = {path}: there is no such file; give your records with --set {key}=FILE")
    counts: Counter[str] = Counter()
    records = load_records(path, soft_labels=config.soft_labels, counts=counts)
    left_out[key] = {"ties": counts["ties_left_out"]}
    return records


def _filtered(
    config: TrainConfig,
    key: str,
    records: list[Record],
    tokenizer: PreTrainedTokenizerBase,
    left_out: dict[str, dict[str, int]],
) -> list[Record]:
    """The records that `filters` keeps; how many each of its steps drops goes to `left_out` and the log."""
    if config.filters == "none":
        return records
    filters = PRESETS[config.filters]
    if filters.least_margin is not None and not all("score_chosen" in r and "score_rejected" in r for r in records):
        raise ConfigError(
            f"filters = {config.filters} needs the columns score_chosen and score_rejected in {getattr(config, key)}: "
            "give them, or set filters=unusable"
        )
    kept, dropped = filter_records(records, filters, tokenizer)
    left_out[key] |= dropped
    if rank() == 0 and any(dropped.values()):
        counts = ", ".join(f"{step} {count}" for step, count in dropped.items() if count)
        logger.warning("%s: filters=%s left out %s of %d records", key, config.filters, counts, len(records))
    return kept


def _split(config: TrainConfig, records: list[Record]) -> tuple[list[Record], list[Record]]:
    """Training and held-out records."""
    size = config.validation_size
    if size >= len(records):
        raise ConfigError(f"validation_size = {size} leaves nothing of {len(records)} records to train on: lower it")
    held = set(np.random.default_rng([config.seed, 1]).permutation(len(records))[:size].tolist())
    return (
        [record for index, record in enumerate(records) if index not in held],
        [record for index, record in enumerate(records) if index in held],
    )


def _tokenizer(source: str) -> PreTrainedTokenizerBase:
    try:
        return cast("PreTrainedTokenizerBase", AutoTokenizer.from_pretrained(source))
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"tokenizer of {source}: cannot be loaded ({first_line(error)}); check model and tokenizer"
        ) from None


def _architecture(source: str) -> PreTrainedConfig:
    try:
        return cast("PreTrainedConfig", AutoConfig.from_pretrained(source))
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"model = {source}: cannot be loaded ({first_line(error)}); name a folder or hub name"
        ) from None

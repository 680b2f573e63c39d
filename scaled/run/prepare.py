"""From the configuration to the plan: what is known of a run before a weight is loaded. Nothing is written."""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from inspo.command_line import UserError
from inspo.conditioning import Conditioning
from inspo.hf.architectures import check_depth, check_supported
from inspo.pairs import PreferencePair
from inspo.preference_loss import PreferenceLoss
from scaled.config import RANDOM, ModelOptions, TrainConfig
from scaled.data import dataset, prepared
from scaled.data.examples import (
    PLAIN,
    Examples,
    Layout,
    context_separator,
    make_examples,
    sequence_limits,
)
from scaled.data.plan import Plan, epoch_stream, make_plan
from scaled.data.records import Record, texts
from scaled.data.templates import NAMED, Template
from scaled.data.tokens import tokenize
from scaled.distributed import world_size
from scaled.model.adapters import check_targets
from scaled.model.loading import commit_of, load_architecture, load_tokenizer, weights_fingerprint
from scaled.model.random_weights import fitting_architecture, train_tokenizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a run will train, on what, and when.

    Attributes:
        source: where the initial weights are; with ``model: random``, where they will be made.
        architecture: of the model.
        tokenizer: the policy's.
        template: how conversations are written.
        loss: what is compared.
        train: the training pairs.
        validation: the validation pairs; maybe none.
        left_out: by key, records that were left out and why: as :func:`scaled.data.records.load_records` counts
            them, and the steps of :func:`scaled.data.filters.filter_records`.
        plan: every update.
        reference: where the reference's weights are, and of which architecture: the initial ones, or another model's.
    """

    source: str
    architecture: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    template: Template
    loss: PreferenceLoss
    train: Examples
    validation: Examples
    left_out: dataset.LeftOut
    plan: Plan
    reference: tuple[str, PreTrainedConfig]

    @property
    def commit(self) -> str | None:
        """Of a model on the hub: weights, configuration and tokenizer are all read at it."""
        return commit_of(self.source, self.architecture)

    @property
    def reference_fingerprints(self) -> dict[str, str]:
        """Of the reference's weights, where they are not the initial ones."""
        return {} if self.reference[0] == self.source else {"reference": weights_fingerprint(*self.reference)}


def prepare_run(
    config: TrainConfig, architecture: PreTrainedConfig | None = None, today: dt.date | None = None
) -> Prepared:
    """Read tokenizer, architecture and data, cut the data to its limits, build the trees, and plan every update.

    Args:
        config: the run's configuration.
        architecture: of the model where it is known, so that the model is not looked for.
        today: the day that a chat template is told where `config` names none; None for the clock's.

    Raises:
        UserError: anything that is wrong with them, in one line.
    """
    try:
        return _prepare(config, architecture, config.date or today)
    except UserError:
        raise
    except ValueError as error:  # what records, templates, limits and the plan say of a mistake in them
        raise UserError(str(error)) from error


def _prepare(config: TrainConfig, architecture: PreTrainedConfig | None, today: dt.date | None) -> Prepared:
    given = prepared.Prepared.named(config) or _Records(config)
    source, tokenizer, architecture = _model(config, given, architecture)
    check_supported(architecture)
    check_targets(architecture, config)
    reference = _reference(config, source, tokenizer, architecture)
    if isinstance(given, prepared.Prepared):
        today = config.date or given.date or today
    template = Template.of(tokenizer, config.template, options=config.chat_template_kwargs, today=today)
    vocabulary = architecture.get_text_config(decoder=True).vocab_size
    loss = config.preference_loss()
    layout = _layout(config, loss, tokenizer, template, architecture)
    if isinstance(given, prepared.Prepared):
        given.check(config, tokenizer, template, vocabulary)
        sides: Sequence[Side] = given.sides()
    else:
        sides = given.sides(tokenizer, template, vocabulary)
    train, validated = (
        make_examples(pairs, layout, what, counts)
        for what, (pairs, counts) in zip(("training", "validation"), sides, strict=True)
    )
    if not train.pairs:
        raise UserError(f"no pair of {config.named('data')} is within max_length = {config.max_length}: raise it")
    check_depth(architecture, max(train.depth, validated.depth))
    _check_sampling(config, validated, architecture)
    plan = make_plan(
        train.lengths,
        make_stream(config, train),
        train.shared(layout.policy),
        world_size=world_size(),
        batch_size=config.batch_size,
        micro_batch=config.micro_batch,
        row_tokens=config.row_tokens,
        max_updates=config.max_updates,
    )
    _say_intervals(config, len(plan.updates))
    return Prepared(source, architecture, tokenizer, template, loss, train, validated, given.left_out, plan, reference)


def make_stream(config: TrainConfig, train: Examples) -> list[int]:
    """A run's pairs in the order in which they are trained on."""
    shuffle, together = bool(config.shuffle), train.prompts if config.shuffle == "prompts" else None
    return epoch_stream(len(train), config.epochs, config.seed, shuffle=shuffle, together=together)


Side = tuple[Iterable[PreferencePair], Mapping[str, int]]
"""Pairs to train on or to validate on, and what happened while they were tokenized -> how often."""


class _Records:
    """The records of a run in memory, to be tokenized.

    Attributes:
        left_out: see :class:`Prepared`.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.left_out: dataset.LeftOut = {}
        self._config = config
        self._sources = dataset.read(config, "data", self.left_out)
        self._others = None if config.validation is None else dataset.read(config, "validation", self.left_out)

    def own_tokenizer(self) -> PreTrainedTokenizerBase:
        """A tokenizer trained on them."""
        return train_tokenizer(texts(chain.from_iterable(self._sources)), NAMED["chatml"])

    def sides(self, tokenizer: PreTrainedTokenizerBase, template: Template, vocabulary: int) -> list[Side]:
        """The pairs to train on and those to validate on."""
        config, left_out = self._config, self.left_out
        records = dataset.filtered(config, "data", self._sources, tokenizer, left_out, config.seed)
        if self._others is None:
            records, validation = dataset.split(records, config.validation_size, config.seed)
        else:
            validation = dataset.filtered(config, "validation", self._others, tokenizer, left_out, config.seed)
            dataset.warn_of_shared_prompts(*(list(map(dataset.prompt_of, side)) for side in (records, validation)))
        unusable: Literal["refuse", "drop"] = "refuse" if config.filters == "none" else "drop"

        def side(chosen: Sequence[Record]) -> Side:
            counts: Counter[str] = Counter()
            options: dict[str, Any] = {"vocab_size": vocabulary, "unusable": unusable, "counts": counts}
            return tokenize(chosen, tokenizer, template, **options), counts

        return [side(records), side(validation)]


def _say_intervals(config: TrainConfig, updates: int) -> None:
    """Log intervals that the run does not reach, which are likely meant for a longer one."""
    for key in ("validate_every", "save_every"):
        every = getattr(config, key)
        if every is not None and every > updates:
            logger.warning("%s = %d is beyond the run's %d updates: only after the last one", key, every, updates)


def _model(
    config: TrainConfig, given: _Records | prepared.Prepared, architecture: PreTrainedConfig | None
) -> tuple[str, PreTrainedTokenizerBase, PreTrainedConfig]:
    """Where the weights are, the tokenizer and the architecture; for random weights made from the records."""
    if config.model != RANDOM:
        architecture = architecture or load_architecture(config.model, config.revision)
        return config.model, named_tokenizer(config, architecture), architecture
    tokenizer = given.own_tokenizer() if config.tokenizer is None else named_tokenizer(config)
    return str(Path(config.out) / "base"), tokenizer, fitting_architecture(str(config.architecture), tokenizer)


def named_tokenizer(config: ModelOptions, architecture: PreTrainedConfig | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer that a configuration names, or the model's own.

    Args:
        config: names them.
        architecture: of the model, if it is no random one.

    Raises:
        UserError: there is none, or the model's commit is not known.
    """
    commit = None if architecture is None else commit_of(config.model, architecture)
    if config.revision is not None and commit is None:
        raise UserError(f"revision = {config.revision}: the commit of {config.model} is not known; get it anew")
    if config.tokenizer is None:
        return load_tokenizer(config.model, commit)
    return load_tokenizer(config.tokenizer, config.tokenizer_revision)


def _reference(
    config: TrainConfig, source: str, tokenizer: PreTrainedTokenizerBase, architecture: PreTrainedConfig
) -> tuple[str, PreTrainedConfig]:
    """Where the reference's weights are, and of which architecture."""
    if config.reference_model is None:
        return source, architecture
    try:
        found = load_architecture(config.reference_model)
    except UserError as error:
        raise UserError(f"reference_{error}") from None
    check_supported(found)
    vocabulary = load_tokenizer(config.reference_model, commit_of(config.reference_model, found)).get_vocab()
    if vocabulary != tokenizer.get_vocab():
        raise UserError(f"reference_model = {config.reference_model}: has other tokens than the policy; name another")
    return config.reference_model, found


def _layout(
    config: TrainConfig,
    loss: PreferenceLoss,
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
    architecture: PreTrainedConfig,
) -> Layout:
    """Which log-probs are wanted of every pair, and how its tokens are laid out."""
    positions = getattr(architecture.get_text_config(decoder=True), "max_position_embeddings", None)
    if config.max_length and positions and config.max_length > positions:
        raise UserError(f"max_length = {config.max_length} exceeds the model's {positions} positions: lower it")
    plain = PLAIN if config.measure_deployed else ()
    return Layout(
        policy=tuple(dict.fromkeys((*loss.requests(), *plain))),
        reference=tuple(dict.fromkeys((*loss.reference_requests(), *plain))),
        limits=sequence_limits(config, conditioned=loss.conditioning is not Conditioning.NONE),
        separator=context_separator(config, template, tokenizer.get_vocab().get),
        mismatched=loss.reads.needs_kl,
    )


def _check_sampling(config: TrainConfig, validation: Examples, architecture: PreTrainedConfig) -> None:
    if config.sample_kl is None:
        return
    if config.sample_kl > len(validation):
        raise UserError(f"sample_kl = {config.sample_kl} is more than the {len(validation)} validation pairs: lower it")
    longest = max(len(pair.prompt) for pair in validation.pairs[: config.sample_kl]) + config.sample_tokens
    positions = getattr(architecture.get_text_config(decoder=True), "max_position_embeddings", None)
    if positions and longest > positions:
        raise UserError(
            f"a prompt and sample_tokens = {config.sample_tokens} exceed the model's {positions} positions: lower it"
        )
    check_depth(architecture, longest)

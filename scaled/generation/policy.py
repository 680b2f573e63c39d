"""A trained folder, or any model, ready to answer: weights, tokenizer, template, ends, and how it was trained."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import ValidationError
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from inspo.command_line import UserError, first_mistake, one_line
from inspo.hf.architectures import check_supported
from inspo.hf.rows import enable_tree_rows
from inspo.sequences import Separator
from scaled.config import RANDOM, TrainConfig
from scaled.data.examples import sequence_limits
from scaled.data.messages import Message
from scaled.data.templates import Template
from scaled.data.tokens import prompt_tokens
from scaled.generation.interface import Completion
from scaled.model.loading import commit_of, load_architecture, load_in, load_tokenizer


@dataclass(frozen=True, eq=False)
class Policy:
    """What is known of a model before its weights are loaded.

    Attributes:
        source: folder or hub name.
        commit: on the hub; None for a folder.
        architecture: of the model.
        tokenizer: its own.
        template: how conversations are written.
        ends: ids of the tokens that end an answer: the generation configuration's, the tokenizer's and the template's.
        trained: the configuration of the run that made the folder, where a run of ours did.
        reference: folder or hub name, and commit, of that run's reference: what it started from, or another model.
    """

    source: str
    commit: str | None
    architecture: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    template: Template
    ends: frozenset[int]
    trained: TrainConfig | None = None
    reference: tuple[str, str | None] | None = None

    @classmethod
    def of(
        cls,
        source: str,
        *,
        revision: str | None = None,
        template: str = "tokenizer",
        options: Mapping[str, Any] | None = None,
        today: dt.date | None = None,
    ) -> Policy:
        """A folder of a run or of a model, or a name on the hub.

        Args:
            source: the folder or name; of a run's folder its ``model`` is taken.
            revision: on the hub.
            template: ``tokenizer`` for its own chat template, or one of :data:`scaled.data.templates.NAMED`.
            options: what the template is told beside the messages; None for what training told.
            today: the day that a template is told which asks; None for the day that training told, else for today.

        Raises:
            UserError: files that cannot be read or that lack something, in one line.
        """
        if (Path(source) / "run.json").is_file() and (Path(source) / "model").is_dir():
            source = str(Path(source) / "model")
        architecture = load_architecture(source, revision)
        commit = commit_of(source, architecture)
        tokenizer = load_tokenizer(source, commit)
        trained, record = _run_of(Path(source))
        told = record.get("template_date")
        try:
            written = Template.of(
                tokenizer,
                template,
                options=trained.chat_template_kwargs if trained and options is None else options,
                today=today or (dt.date.fromisoformat(told) if told else None),
            )
        except ValueError as error:
            message = str(error).replace("--set template=NAME", "--template NAME")
            raise UserError(f"{source}: {message}") from None
        reference = None
        if trained is not None and trained.reference_model is not None:
            reference = trained.reference_model, None
        elif trained is not None:
            base = str(Path(source).parent / "base") if trained.model == RANDOM else trained.model
            reference = base, record.get("initial_weights_commit")
        ends = frozenset({written.end_of_turn, *named_ends(source, commit, tokenizer)})
        return cls(source, commit, architecture, tokenizer, written, ends, trained, reference)

    def model(self, *, gpu: bool, dtype: torch.dtype) -> PreTrainedModel:
        """Its weights, in evaluation mode; scoring tree rows where the architecture can.

        Raises:
            UserError: they cannot be loaded, or do not fit.
        """
        return load_model(self.source, self.commit, gpu=gpu, dtype=dtype)

    def prompt(self, turns: Sequence[Message]) -> tuple[int, ...]:
        """A conversation up to where the model writes, in tokens.

        Raises:
            UserError: the template does not take it.
        """
        try:
            return prompt_tokens(turns, self.tokenizer, self.template)
        except ValueError as error:
            raise UserError(f"{self.source}: {error}; name another with --template NAME") from None

    def text(self, completion: Completion) -> str:
        """What a completion says, without special tokens and without spaces around."""
        return str(self.tokenizer.decode(list(completion.text_tokens), skip_special_tokens=True)).strip()

    def separator(self, named: str | None = None) -> Separator:
        """What stands around a draft: as named, else as in training, else nothing.

        Raises:
            UserError: it is none.
        """
        text = named or ("none" if self.trained is None else self.trained.separator)
        vocabulary: dict[str, int] = self.tokenizer.get_vocab()
        try:
            return Separator.parse(text, vocabulary.get, self.template.header)
        except ValueError as error:
            raise UserError(f"--separator: {error}") from None

    def draft_cap(self) -> int | None:
        """Tokens of a draft that are shown at most, as in training; None for all."""
        return None if self.trained is None else sequence_limits(self.trained, conditioned=True).draft_tokens


def load_model(source: str, commit: str | None, *, gpu: bool, dtype: torch.dtype) -> PreTrainedModel:
    """Weights in evaluation mode, scoring tree rows where the architecture can.

    Raises:
        UserError: they cannot be loaded, or do not fit.
    """
    model = load_in(dtype, source, commit)
    model.train(mode=False)
    if gpu:
        cast("Any", model).cuda()
    try:
        check_supported(model)
    except ValueError:
        return model
    enable_tree_rows(model)  # which also attends under a soft cap, as transformers' own sdpa does not
    return model


def _run_of(folder: Path) -> tuple[TrainConfig | None, dict[str, Any]]:
    """The configuration and the record of the run that a model's folder is of."""
    files = folder.parent / "config.json", folder.parent / "run.json"
    if folder.name != "model" or not all(file.is_file() for file in files):
        return None, {}
    try:
        config, record = (json.loads(file.read_text(encoding="utf-8")) for file in files)
        return TrainConfig(**config["config"]), record
    except ValidationError as error:
        raise UserError(f"{files[0]}: {first_mistake(error)}") from None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{folder.parent}: its config.json and run.json cannot be read ({one_line(error)})") from None


def named_ends(source: str, commit: str | None, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids of the tokens that end an answer, as the model's files name them."""
    try:
        named = GenerationConfig.from_pretrained(source, revision=commit or "main").eos_token_id
    except OSError:  # it has none
        named = None
    ends = named if isinstance(named, list) else [named]
    return {int(end) for end in [*ends, tokenizer.eos_token_id] if end is not None}

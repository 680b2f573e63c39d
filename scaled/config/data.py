"""Keys that say on what is trained: sources, filters, columns, templates."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    StrictBool,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from inspo.command_line import UserError, first_mistake, unknown_name
from scaled.config.kinds import Count, Number, Options, Share, Text

COLUMNS = (
    *("prompt", "chosen", "rejected", "messages", "instruction", "input", "output", "conversations", "history"),
    *("system", "tools", "chat_template_kwargs", "preference", "score_chosen", "score_rejected"),
    *("response_a", "response_b", "p_a_preferred"),
)
"""Names of columns that are read (scaled/data/layouts.py), which `columns` gives to columns of other names."""


def _columns(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise UserError(f"columns = {value!r} must be a mapping such as {{prompt: question, chosen: good}}")
    for name, column in value.items():
        if name not in COLUMNS:
            raise UserError(f"columns: {unknown_name(str(name), COLUMNS)}; {', '.join(COLUMNS)} are read")
        if not isinstance(column, str):
            raise UserError(f"columns: {name} = {column!r} must be the name of a column")
    doubled = [column for column, count in Counter(value.values()).items() if count > 1]
    if doubled:
        raise UserError(f"columns: {doubled[0]} can be read as one thing only")
    return dict(value)


Columns = Annotated[dict[str, str], BeforeValidator(_columns)]


class DataSource(Options):
    """Where records come from: one entry of `data` or `validation`."""

    path: Annotated[Text, Field(min_length=1)] = Field(description="file, folder, or name on the hub")
    config: Text | None = Field(default=None, description="configuration of a data set that has several")
    split: Text | None = Field(
        default=None, description="split; null for train, or for validation or test of the validation"
    )
    revision: Text | None = Field(default=None, description="branch, tag or commit on the hub")
    columns: Columns | None = Field(default=None, description="as the key columns, of this source alone")
    weight: Annotated[Number, Field(gt=0, le=1000)] = Field(
        default=1.0,
        description="how often its records are taken: 1 once, 2 twice, 0.25 a quarter of them, drawn with the seed",
    )

    def __str__(self) -> str:
        """As messages and model cards name it, such as ``org/name, split train``."""
        parts = [f"{name} {value}" for name in ("config", "split", "revision") if (value := getattr(self, name))]
        return ", ".join([self.path, *parts])


def _sources(value: Any, about: ValidationInfo) -> Any:
    """One source or several, each a path or a mapping."""
    entries = value if isinstance(value, (list, tuple)) else [value]
    if not entries:
        raise UserError(f"{about.field_name}: the list of sources is empty")
    try:
        return tuple(_source(entry) for entry in entries)
    except UserError as error:
        raise UserError(f"{about.field_name}: {error}") from None


def _source(entry: Any) -> DataSource:
    if isinstance(entry, DataSource):
        return entry
    if isinstance(entry, str):
        entry = {"path": entry}
    if not isinstance(entry, Mapping):
        raise UserError(f"{entry!r} must be a file, a folder, a name on the hub, or a mapping with a path")
    for name in entry:
        if name not in DataSource.model_fields:
            raise UserError(unknown_name(str(name), list(DataSource.model_fields)))
    if "path" not in entry:
        raise UserError(f"{dict(entry)} has no path: name a file, a folder, or a data set on the hub")
    try:
        return DataSource(**entry)
    except ValidationError as error:
        raise UserError(first_mistake(error, optional=("config", "split", "revision", "columns"))) from None


def _short(sources: tuple[DataSource, ...] | None) -> Any:
    """Sources as one would write them: without defaults, a path alone as text."""
    if sources is None:
        return None
    written = [source.model_dump(exclude_defaults=True) for source in sources]
    short = [entry["path"] if len(entry) == 1 else entry for entry in written]
    return short[0] if len(short) == 1 else short


Sources = Annotated[tuple[DataSource, ...], BeforeValidator(_sources), PlainSerializer(_short)]


class SafetyOptions(Options):
    """Who says of a record's replies whether they are safe: a classifier, or a file of verdicts."""

    classifier: Text | None = Field(
        default=None, description="folder or hub name of a sequence classifier, which reads question and reply"
    )
    unsafe: Text | None = Field(default=None, description="the classifier's label that means unsafe")
    threshold: Share = Field(default=0.5, description="probability of that label from which on a reply is unsafe")
    verdicts: Text | None = Field(
        default=None, description="file of lines {digest: as scaled.data.safety.text_digest, safe: true or false}"
    )

    @model_validator(mode="after")
    def _one(self) -> SafetyOptions:
        if (self.classifier is None) == (self.verdicts is None):
            raise UserError("safety: give a classifier or a file of verdicts, one of the two")
        if (self.classifier is None) != (self.unsafe is None):
            raise UserError("safety: a classifier goes with unsafe, the label of it that means unsafe")
        return self


class FilterOptions(Options):
    """Appendix D.2's four steps, one after another. The defaults are the paper's, without a classifier."""

    duplicates: StrictBool = Field(default=True, description="drop later records of the same prompt and replies")
    max_tokens: Count | None = Field(default=2048, description="drop a record where either response has more tokens")
    min_tokens: Count = Field(default=32, description="drop a record where both responses have fewer tokens")
    safety: SafetyOptions | None = Field(default=None, description="drop a record where either reply is unsafe")
    margin: Literal["probability", "gap"] = Field(
        default="probability",
        description="how the margin is read: sigma(score_chosen - score_rejected), or the gap of the scores itself",
    )
    min_margin: Number | None = Field(default=0.6, description="drop a record with a smaller margin; null for no limit")

    @model_validator(mode="after")
    def _in_range(self) -> FilterOptions:
        if self.max_tokens is not None and not 0 <= self.min_tokens <= self.max_tokens:
            raise UserError(f"min_tokens = {self.min_tokens} must be in [0, max_tokens = {self.max_tokens}]")
        if self.min_margin is not None and self.margin == "probability" and not 0 <= self.min_margin <= 1:
            raise UserError(f"min_margin = {self.min_margin} is a probability in [0, 1], or set margin: gap")
        return self


FILTERS = ("none", "unusable", "paper")
"""What `filters` names."""


def _filters(value: Any) -> Any:
    """A name, or a mapping of the steps that differ from the paper's."""
    if isinstance(value, FilterOptions) or (isinstance(value, str) and value in FILTERS):
        return value
    if not isinstance(value, Mapping):
        raise UserError(f"filters = {value!r} must be one of {', '.join(FILTERS)}, or a mapping as {{margin: gap}}")
    options = dict(value)
    if isinstance(options.get("safety"), Mapping):
        options["safety"] = _made(SafetyOptions, options["safety"], "filters: safety")
    return _made(FilterOptions, options, "filters")


def _made(kind: type[Options], values: Mapping[Any, Any], name: str) -> Options:
    """Options out of a mapping within a key."""
    for key in values:
        if key not in kind.model_fields:
            raise UserError(f"{name}: {unknown_name(str(key), list(kind.model_fields))}")
    try:
        return kind(**values)
    except ValidationError as error:
        raise UserError(f"{name}: {first_mistake(error)}") from None


Filtering = Annotated[Literal["none", "unusable", "paper"] | FilterOptions, BeforeValidator(_filters)]


class DataOptions(Options):
    """On what."""

    data: Sources = Field(
        (DataSource(path="scaled/examples/tiny.jsonl"),),
        description="preference records: a file (.jsonl, .json, .csv, also .gz; .parquet, .arrow), a folder, a name on "
        "the hub, {path: NAME, config:, split:, revision:, columns:, weight:}, or a list of these; see docs/data.md",
    )
    validation: Sources | None = Field(
        None, description="validation records, given like data; null takes validation_size records out of the data"
    )
    validation_size: Count = Field(
        1000,
        ge=0,
        description="validation records taken out of the data: whole prompts, drawn with the seed until there are so "
        "many; 0 for none",
    )
    limit: Annotated[Count, Field(ge=2)] | None = Field(
        None, description="use the first so many records of the data only, of those that filters keeps"
    )
    columns: Columns = Field(
        {}, description="columns that have other names: {prompt: question, chosen: good, rejected: bad}"
    )
    filters: Filtering = Field(
        "none",
        description="records to leave out: none, where one that cannot be trained on is an error; unusable, those with "
        "an empty response, two equal ones, or a conversation that the chat template cannot write; paper, also "
        "duplicates, lengths and margins as in Appendix D.2; or a mapping of what differs from these: {duplicates:, "
        "max_tokens:, min_tokens:, margin: probability or gap, min_margin:, safety: {classifier:, unsafe:, threshold:} "
        "or {verdicts: FILE}}",
    )
    soft_labels: StrictBool = Field(
        False,
        description="keep the probability of a judged pair, or of a preference column, as a soft label; "
        "false: hard labels",
    )
    template: Text = Field("tokenizer", description="named chat template, or tokenizer for the tokenizer's own")
    chat_template_kwargs: dict[str, Any] = Field(
        {}, description="what the chat template is told beside the messages, such as {enable_thinking: false}"
    )
    date: dt.date | None = Field(
        None, description="day that a chat template is told which asks for one; null for that of the first start"
    )

    def named(self, key: Literal["data", "validation"]) -> str:
        """The sources of a key, for messages."""
        return ", ".join(map(str, getattr(self, key)))

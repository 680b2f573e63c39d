"""The configuration of ``python -m scaled.online``: YAML files; field docs are its help."""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inspo.command_line import UserError, first_mistake, unknown_name
from scaled.config import FIELDS, HELP_WIDTH, Count, Number, Seed, Text, TrainConfig, compose, with_origin
from scaled.config import OPTIONAL as OPTIONAL_FOR_TRAINING

JUDGES = ("reward", "margin", "endpoint")
OWN_KEYS = (
    *("model", "revision", "tokenizer", "tokenizer_revision", "architecture", "reference_model", "data", "validation"),
    *("columns", "soft_labels", "limit", "date", "out", "seed", "push_to_hub", "hub_private"),
)
"""Keys of a training that the loop sets, or that make no sense of it."""
DEFAULTS: dict[str, Any] = {"validation_size": 0, "filters": "unusable", "zero_stage": 0}
"""Of a round's training, where they are not given."""


class OnlineConfig(BaseModel):
    """Train a policy in rounds on pairs of its own responses.

    Raises:
        pydantic.ValidationError: a value of the wrong type or out of range, or values that contradict each other; a
            ValueError, which :func:`load` turns into one line.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Text = Field(description="the first policy: a run's folder, a model's folder, or a name on the hub")
    prompts: Text = Field(description="file, folder or name on the hub with a column prompt: text or messages")
    out: Text = Field("results/online", description="folder of all rounds; what was stopped goes on when started again")
    rounds: Count = Field(3, ge=1, description="how many in all; may be raised later")
    prompts_per_round: Annotated[Count, Field(ge=1)] | None = Field(
        None, description="prompts of a round, the next ones in an order drawn with the seed; null for all of them"
    )
    samples_per_prompt: Count = Field(2, ge=2, description="responses that are drawn to a prompt")
    pairs_per_prompt: Count = Field(1, ge=1, description="pairs of these; the first ones share no response")
    temperature: Annotated[Number, Field(gt=0)] = Field(1.0, description="at which responses are drawn")
    top_p: Annotated[Number, Field(gt=0, le=1)] = Field(1.0, description="share of probability that is drawn from")
    max_tokens: Count = Field(512, ge=1, description="of a response; one that is cut off is not trained on")
    slots: Count = Field(32, ge=1, description="responses that are written at once")
    judge: Text = Field(
        description="who labels: reward (a reward model), margin (the policy's own), endpoint (OpenAI-compatible), or "
        "a function module:function of (prompt, response, response) that gives P(first is preferred)"
    )
    reward_model: Text | None = Field(
        None, description="folder or hub name of a sequence classifier, for judge: reward"
    )
    judge_model: Text | None = Field(None, description="the model's name at the endpoint, for judge: endpoint")
    endpoint: Text = Field("https://api.openai.com/v1", description="base URL, for judge: endpoint")
    key_variable: Text = Field("OPENAI_API_KEY", description="environment variable with the endpoint's key")
    in_flight: Count = Field(64, ge=1, description="requests at once")
    max_judge_tokens: Annotated[Count, Field(ge=1)] | None = Field(
        None, description="most tokens that the endpoint may take for one round's labels, and again for its measuring"
    )
    labels: Literal["sign", "drawn"] = Field(
        "sign", description="chosen is the likelier one, a tie is left out; or it is drawn by the judge's probability"
    )
    reference: Literal["previous", "first"] = Field(
        "previous", description="of a round's training: the policy that it starts from, or the first one of all"
    )
    measure_prompts: Count = Field(
        64, ge=0, description="prompts that are not trained on, for win rate over the first policy, length and KL"
    )
    measured_by: Text | None = Field(None, description="another judge for the win rate, as judge; null for the same")
    seed: Seed = Field(0, description="of prompts, responses, drawn labels and training")
    train: dict[str, Any] = Field({}, description="keys of scaled/train.py for every round's training")

    @model_validator(mode="after")
    def _together(self) -> OnlineConfig:
        n = self.samples_per_prompt
        if self.pairs_per_prompt > n * (n - 1) // 2:
            raise UserError(f"pairs_per_prompt = {self.pairs_per_prompt}: {n} responses make {n * (n - 1) // 2} pairs")
        judges = {self.judge, self.measured_by} - {None}
        for kind, key in (("reward", "reward_model"), ("endpoint", "judge_model")):
            if (kind in judges) != (getattr(self, key) is not None):
                raise UserError(f"judge: {kind} and {key} go together")
        for key in ("endpoint", "key_variable", "in_flight", "max_judge_tokens"):
            if key in self.model_fields_set and "endpoint" not in judges:
                raise UserError(f"{key} is for judge: endpoint; leave it out")
        if self.measured_by is not None and not self.measure_prompts:
            raise UserError("measured_by measures nothing without measure_prompts: leave it out")
        if self.measure_prompts == 1:
            raise UserError("measure_prompts = 1 has no standard error: give 0 for none, or more")
        if self.reference == "first" and not self.options.preference_loss().reads.needs_reference:
            raise UserError(f"reference = first: {self.options.method} has none; leave it out")
        if self.options.zero_stage:
            raise UserError("train: zero_stage must be 0: the loop is one process")
        return self

    @cached_property
    def options(self) -> TrainConfig:
        """What every round's training has in common, wherever its files are."""
        return self.training(self.model, self.model, Path("records.jsonl"), Path(self.out), None)

    def training(self, policy: str, first: str, records: Path, out: Path, date: dt.date | None) -> TrainConfig:
        """A round's training.

        Args:
            policy: folder or hub name of what it starts from.
            first: of the first policy of all.
            records: what it trains on.
            out: its folder.
            date: that a chat template is told which asks.

        Raises:
            UserError: a key that is unknown or not to be given, or a bad value.
        """
        for key in self.train:
            if key not in FIELDS:
                raise UserError(f"train: {unknown_name(str(key), list(FIELDS))}")
            if key in OWN_KEYS:
                raise UserError(f"train: {key} is set by the loop, or has no meaning in it; leave it out")
        own: dict[str, Any] = {"model": policy, "data": str(records), "out": str(out), "date": date, "seed": self.seed}
        if self.reference == "first" and policy != first:
            own["reference_model"] = first
        try:
            return TrainConfig(**(DEFAULTS | self.train | own))
        except ValidationError as error:
            raise UserError(f"train: {first_mistake(error, optional=OPTIONAL_FOR_TRAINING)}") from None

    def decisive(self) -> dict[str, Any]:
        """Every value that may not change between a start and the next, as JSON has it."""
        return self.model_dump(mode="json", exclude={"out", "rounds", "slots", "in_flight", "max_judge_tokens"})


OPTIONAL = [name for name, field in OnlineConfig.model_fields.items() if type(None) in get_args(field.annotation)]


def load(paths: Sequence[str], settings: Sequence[str] = ()) -> OnlineConfig:
    """Read a configuration.

    Args:
        paths: YAML files, later ones over earlier ones key by key, below ``train`` too.
        settings: ``key=value`` or ``train.key=value`` each, which override the files; values are YAML.

    Raises:
        UserError: as :func:`scaled.config.compose`, or an unknown key or a bad value, with the file that it is from.
    """
    flat, origin = compose(paths, settings, nested="train")
    train = {key.removeprefix("train."): value for key, value in flat.items() if str(key).startswith("train.")}
    values = {key: value for key, value in flat.items() if not str(key).startswith("train.")}
    if train:
        values = {"train": train} | values
    for key in values:
        if key not in OnlineConfig.model_fields:
            raise UserError(f"{origin[key]}: {unknown_name(str(key), list(OnlineConfig.model_fields))}")
    for key in ("model", "prompts", "judge"):
        if key not in values:
            raise UserError(f"{', '.join(paths)}: {key} is missing: {OnlineConfig.model_fields[key].description}")
    try:
        return OnlineConfig(**values)
    except ValidationError as error:
        by_field = {key.removeprefix("train."): place for key, place in origin.items()}
        raise UserError(with_origin(error, first_mistake(error, optional=OPTIONAL), by_field)) from None


def help_lines() -> str:
    """Every key with its description and default."""
    lines = []
    for name, field in OnlineConfig.model_fields.items():
        default = "" if field.is_required() else f" [{'null' if field.default is None else field.default}]"
        text = f"{name}: {field.description}{default}"
        lines += textwrap.wrap(text, HELP_WIDTH, initial_indent="  ", subsequent_indent="      ")
    return "\n".join(lines).replace("%", "%%")

"""The one configuration of ``python toy/run.py``; the fields' descriptions are its ``--help``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from inspo.command_line import OneLineParser, UserError, first_mistake
from inspo.conditioning import Conditioning
from inspo.losses import METHODS
from inspo.preference_loss import PreferenceLoss
from toy.policies import Parametrization
from toy.problems import ReferencePolicy
from toy.style import Page
from toy.training import Optimizer, Schedule


def _once(names: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(names))


def _known(methods: tuple[str, ...]) -> tuple[str, ...]:
    for method in methods:
        if method not in METHODS:
            raise ValueError(f"--methods {method!r} must be one of {', '.join(METHODS)}")
    return _once(methods)


def _in(*plots: str) -> str:
    """The end of an option's help: the plots that read it."""
    return f" [in {', '.join(plots)}]"


_TRAINED = ("training_dynamics", "human_tables", "pairs_needed")
_COMPARED = ("training_dynamics", "pairs_needed")
_JUDGED = ("margins", "self_play")
_WITH_REFERENCE = ("realizability", "minimizer_range", "real_comparator", "frontier", "one_sided", *_TRAINED, *_JUDGED)
_WITH_STEPS = ("valley", "minimizer_range", "real_comparator", "frontier", *_TRAINED)
# Fewer datasets alone: with fewer steps some methods would be stopped half way, and findings turned round.
_QUICK = {"replicates": 12, "problems": 30, "draws": 2000}
_WITH_REDRAW = {"redraw", "out", "workers", "plain", "width"}


class ToyConfig(BaseModel):
    """Train tiny policies on preference matrices and draw what they learn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preferences: Path | None = Field(
        default=None, description="your own preference table (JSON or CSV), instead of the built-in problems"
    )
    smoothing: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        allow_inf_nan=False,
        description="wins added to both sides of every pair of your counts; 0.5 makes the log-odds of 40 : 0 finite",
    )
    out: Path = Field(default=Path("results/toy"), description="folder for plots and results.json")
    quick: bool = Field(default=False, description="fewer datasets and problems: a look in about a minute")
    redraw: bool = Field(
        default=False, description="draw the plots again from the results.json in --out, without training"
    )
    plain: bool = Field(default=False, description="axes alone, for papers; the captions are in report.md")
    width: float | None = Field(
        default=None,
        ge=3,
        le=14,
        allow_inf_nan=False,
        description="width of the figures, in inches (default: 11, with --plain 7); 3.5 is a column of a paper",
    )
    seed: int = Field(default=0, ge=0, description="seed of all sampled data")
    replicates: int = Field(
        default=64, ge=2, le=10_000, description="datasets per problem, for standard errors" + _in(*_TRAINED, "margins")
    )
    problems: int = Field(
        default=300,
        ge=2,
        le=100_000,
        description="random problems to average over" + _in("borda", "frontier", "real_comparator"),
    )
    draws: int = Field(default=20000, ge=10, le=1_000_000, description="random problems per K" + _in("flip_rates"))
    reference: ReferencePolicy = Field(
        default="uniform",
        description="reference policy; skewed: each response half as likely as the one before" + _in(*_WITH_REFERENCE),
    )
    samples: int = Field(
        default=1000,
        ge=0,
        le=1_000_000_000,
        description="preference pairs per dataset; 0 trains on the population itself" + _in("training_dynamics"),
    )
    steps: int = Field(default=1500, ge=1, le=10_000_000, description="full-batch training steps" + _in(*_WITH_STEPS))
    learning_rate: float = Field(
        default=0.02,
        gt=0,
        allow_inf_nan=False,
        description="learning rate" + _in("minimizer_range", "frontier", *_TRAINED),
    )
    optimizer: Optimizer = Field(default="adam", description="which optimizer" + _in("frontier", *_TRAINED))
    parametrization: Parametrization = Field(
        default="additive",
        description="what pi(. | x, y') and the deployed pi(. | x) share: nothing (free), response scores (additive), "
        "these where y' is two numbers (low-rank), all parameters (attention)" + _in(*_TRAINED),
    )
    methods: Annotated[tuple[str, ...], AfterValidator(_known)] = Field(
        default=("dpo", "ipo", "orpo", "simpo"),
        description=f"losses to compare, of {', '.join(METHODS)}" + _in(*_COMPARED),
    )
    conditionings: Annotated[tuple[Conditioning, ...], AfterValidator(_once)] = Field(
        default=(Conditioning.NONE, Conditioning.SYMMETRIC),
        description="conditionings to compare" + _in("training_dynamics"),
    )
    beta: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="beta of DPO, R-DPO, CPO and KTO in 1 / nats, instead of each method's own" + _in(*_TRAINED),
    )
    tau: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="tau of IPO in nats, instead of its own" + _in(*_COMPARED)
    )
    workers: int = Field(default=2, ge=1, le=256, description="processes to work in")
    psi: Literal["identity", "log_odds"] = Field(
        default="identity", description="scalarization of pi_bar, pi* and V" + _in(*_TRAINED)
    )

    @model_validator(mode="after")
    def _redraw_stands_alone(self) -> Self:
        if self.redraw and not self.model_fields_set <= _WITH_REDRAW:
            raise ValueError("--redraw trains nothing: it takes --out, --workers, --plain and --width alone")
        return self

    @model_validator(mode="after")
    def _smoothing_needs_counts(self) -> Self:
        if self.smoothing and self.preferences is None:
            raise ValueError("--smoothing is for counts of your own: give --preferences too")
        return self

    def page(self) -> Page:
        """What the figures are drawn for."""
        return Page(self.width or (7.0 if self.plain else 11.0), self.plain)

    def schedule(self) -> Schedule:
        """How to train."""
        return Schedule(self.steps, self.learning_rate, self.optimizer)

    def loss(self, method: str, conditioning: Conditioning) -> PreferenceLoss:
        """A loss at its method's own hyperparameters, but for those that an option gives."""
        hyperparameters: dict[str, float | None] = {}
        if method == "ipo":
            hyperparameters["tau"] = self.tau
        elif method in ("dpo", "r-dpo", "cpo", "kto"):  # SimPO's beta is of means over tokens: another scale
            hyperparameters["beta"] = self.beta
        given = {name: number for name, number in hyperparameters.items() if number is not None}
        return PreferenceLoss(method, conditioning, given)

    def effective(self) -> ToyConfig:
        """The configuration that runs: --quick cuts the numbers of datasets, problems and draws."""
        if not self.quick:
            return self
        return self.model_copy(update={name: min(getattr(self, name), limit) for name, limit in _QUICK.items()})

    def record(self) -> dict[str, Any]:
        """What results.json keeps: everything that decides a number, nothing that does not."""
        return self.model_dump(mode="json", exclude={"out", "redraw", "preferences", "workers", "plain", "width"})


def flag(name: str) -> str:
    """The command-line option of a field."""
    return f"--{name.replace('_', '-')}"


def parse(arguments: Sequence[str] | None = None) -> ToyConfig:
    """Build the configuration from the command line.

    Raises:
        UserError: an unknown option, or a value that it cannot have.
    """
    parser = OneLineParser(prog="python toy/run.py", description=ToyConfig.__doc__, allow_abbrev=False)
    for name, option in ToyConfig.model_fields.items():
        settings: dict[str, Any] = {"action": "store_true"}
        if option.annotation is not bool:
            settings = {"nargs": "+" if isinstance(option.default, tuple) else None, "metavar": _metavar(name, option)}
        words = f"{option.description}{_shown_default(option.default)}"
        parser.add_argument(flag(name), help=words, default=argparse.SUPPRESS, **settings)
    try:
        return ToyConfig(**vars(parser.parse_args(arguments)))
    except ValidationError as error:
        raise UserError(first_mistake(error, prefix="--")) from None


def _metavar(name: str, option: FieldInfo) -> str:
    """The values an option can have, or its name."""
    kinds = [option.annotation, *get_args(option.annotation)]
    among = [kind.value for enum in kinds if isinstance(enum, type) and issubclass(enum, Enum) for kind in enum]
    among = among or [kind for kind in kinds if isinstance(kind, str)]
    return f"{{{','.join(among)}}}" if among else name.upper()


def _shown_default(default: Any) -> str:
    if default is None or default is False:
        return ""
    many = default if isinstance(default, tuple) else (default,)
    return f" (default: {' '.join(str(one.value if isinstance(one, Enum) else one) for one in many)})"

"""The one configuration of ``python toy/run.py``; the fields' documentation is its ``--help``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NoReturn

from inspo.conditioning import Conditioning
from inspo.losses import METHODS
from toy.policies import PARAMETRIZATIONS
from toy.style import COLORS
from toy.training import OPTIMIZERS, Objective, Schedule

# What every loss is called in a plot, and its color there.
METHOD_NAMES = {
    "dpo": "DPO",
    "ipo": "IPO",
    "orpo": "ORPO",
    "simpo": "SimPO",
    "r-dpo": "R-DPO",
    "rrhf": "RRHF",
    "slic": "SLiC",
    "cpo": "CPO",
    "kto": "KTO",
}
METHOD_COLORS = dict(zip(METHOD_NAMES, COLORS, strict=True))


TRAINED = ("training_dynamics", "human_tables", "pairs_needed")


def _documented(
    text: str,
    kind: Any,
    choices: Sequence[str] | None = None,
    nargs: str | None = None,
    plots: Sequence[str] = (),
) -> dict[str, Any]:
    """An option's metadata; its help names the plots that heed it, unless all do that could."""
    named = f"{text} [in {', '.join(plots)}]" if plots else text
    return {"help": named, "type": kind, "choices": choices, "nargs": nargs, "plots": tuple(plots)}


@dataclass(frozen=True)
class ToyConfig:
    """Train tiny policies on preference matrices and draw what they learn.

    Raises:
        ValueError: a number out of range.
    """

    preferences: Path | None = field(
        default=None,
        metadata=_documented("your own preference table (JSON or CSV), instead of the built-in problems", Path),
    )
    out: Path = field(default=Path("results/toy"), metadata=_documented("folder for plots and results.json", Path))
    quick: bool = field(default=False, metadata=_documented("fewer datasets and steps: a look within seconds", bool))
    redraw: bool = field(
        default=False,
        metadata=_documented("draw the plots again from the results.json in --out, without training", bool),
    )
    seed: int = field(default=0, metadata=_documented("seed of all sampled data", int))
    replicates: int = field(
        default=64, metadata=_documented("datasets per problem, for standard errors", int, plots=TRAINED)
    )
    problems: int = field(
        default=300,
        metadata=_documented("random problems to average over", int, plots=("borda", "frontier", "real_comparator")),
    )
    draws: int = field(default=20000, metadata=_documented("random problems per K", int, plots=("flip_rates",)))
    reference: str = field(
        default="uniform",
        metadata=_documented(
            "reference policy; skewed halves from response to response",
            str,
            ("uniform", "skewed"),
            plots=("realizability", "minimizer_range", "real_comparator", "frontier", "one_sided", *TRAINED),
        ),
    )
    samples: int = field(
        default=1000,
        metadata=_documented(
            "preference pairs per dataset; 0 trains on the population itself", int, plots=("training_dynamics",)
        ),
    )
    steps: int = field(
        default=1500,
        metadata=_documented(
            "full-batch training steps",
            int,
            plots=("valley", "minimizer_range", "real_comparator", "frontier", *TRAINED),
        ),
    )
    learning_rate: float = field(
        default=0.02,
        metadata=_documented("learning rate of the optimizer", float, plots=("minimizer_range", "frontier", *TRAINED)),
    )
    optimizer: str = field(
        default="adam",
        metadata=_documented("which optimizer", str, tuple(OPTIMIZERS), plots=("frontier", *TRAINED)),
    )
    parametrization: str = field(
        default="additive",
        metadata=_documented(
            "what pi(. | x, y') and the deployed pi(. | x) share: response scores, or nothing",
            str,
            tuple(PARAMETRIZATIONS),
            plots=TRAINED,
        ),
    )
    methods: tuple[str, ...] = field(
        default=("dpo", "ipo", "orpo", "simpo"),
        metadata=_documented(
            "losses to compare", str, tuple(METHODS), "+", plots=("training_dynamics", "pairs_needed")
        ),
    )
    conditionings: tuple[str, ...] = field(
        default=("none", "symmetric"),
        metadata=_documented(
            "conditionings to compare", str, tuple(c.value for c in Conditioning), "+", plots=("training_dynamics",)
        ),
    )
    beta: float = field(
        default=0.1,
        metadata=_documented("beta of DPO, R-DPO, KTO and CPO, in 1 / nats", float, plots=TRAINED),
    )
    tau: float = field(
        default=0.1,
        metadata=_documented("tau of IPO, in nats", float, plots=("training_dynamics", "pairs_needed")),
    )
    workers: int = field(default=2, metadata=_documented("processes to work in", int))
    psi: str = field(
        default="identity",
        metadata=_documented("scalarization of pi_bar, pi* and V", str, ("identity", "log_odds"), plots=TRAINED),
    )

    def __post_init__(self) -> None:
        least = {"seed": 0, "workers": 1, "replicates": 2, "problems": 2, "draws": 10, "samples": 0, "steps": 1}
        for name, least_value in least.items():
            if getattr(self, name) < least_value:
                raise ValueError(f"--{name} {getattr(self, name)} must be at least {least_value}")
        for name in ("learning_rate", "beta", "tau"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)} must be a positive number")
        for name in ("methods", "conditionings"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        if self.redraw and replace(self, redraw=False, out=Path(), workers=2) != ToyConfig(out=Path()):
            raise ValueError("--redraw trains nothing, so it takes no other option than --out and --workers")

    def schedule(self) -> Schedule:
        """How to train."""
        return Schedule(self.steps, self.learning_rate, self.optimizer)

    def objective(self, method: str, conditioning: Conditioning) -> Objective:
        """A loss with its hyperparameters; those without an option are at common values."""
        hyperparameters: dict[str, float] = {
            "orpo": {"lam": 1.0},
            "simpo": {"beta": 2.0, "gamma": 0.5},
            "r-dpo": {"alpha": 0.05},
            "rrhf": {"lam": 1.0},
            "slic": {"delta": 1.0, "lam": 0.1},
            "cpo": {"lam": 1.0},
        }.get(method, {})
        if method == "ipo":
            hyperparameters["tau"] = self.tau
        elif method in ("dpo", "r-dpo", "cpo", "kto"):
            hyperparameters["beta"] = self.beta
        return Objective(method, conditioning, hyperparameters)

    def effective(self) -> ToyConfig:
        """The configuration that runs: --quick cuts numbers of datasets, problems, draws and steps."""
        if not self.quick:
            return self
        return replace(
            self,
            replicates=min(self.replicates, 12),
            problems=min(self.problems, 30),
            draws=min(self.draws, 2000),
            steps=min(self.steps, 250),
        )

    def record(self) -> dict[str, Any]:
        """What results.json keeps: everything that decides a number, nothing that does not."""
        kept = asdict(self) | {"methods": list(self.methods), "conditionings": list(self.conditionings)}
        for name in ("out", "redraw", "preferences", "workers"):
            del kept[name]
        return kept


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (--help lists the options)\n")


def parse(arguments: Sequence[str] | None = None) -> ToyConfig:
    """Build the configuration from the command line; a mistake ends in one line and exit code 2.

    Raises:
        ValueError: a number out of range.
    """
    parser = _OneLineParser(
        prog="python toy/run.py",
        description=str(ToyConfig.__doc__).splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    for option in fields(ToyConfig):
        flag = f"--{option.name.replace('_', '-')}"
        if option.metadata["type"] is bool:
            parser.add_argument(flag, action="store_true", help=option.metadata["help"])
            continue
        parser.add_argument(
            flag,
            default=option.default,
            type=option.metadata["type"],
            choices=option.metadata["choices"],
            nargs=option.metadata["nargs"],
            help=option.metadata["help"],
        )
    return ToyConfig(**vars(parser.parse_args(arguments)))

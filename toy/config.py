"""The one configuration of ``python toy/run.py``; the fields' documentation is its ``--help``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NoReturn

from toy.policies import PARAMETRISATIONS
from toy.training import OPTIMISERS


def _documented(text: str, kind: Any, choices: Sequence[str] | None = None) -> dict[str, Any]:
    return {"help": text, "type": kind, "choices": choices}


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
    replicates: int = field(default=64, metadata=_documented("datasets per problem, for standard errors", int))
    samples: int = field(
        default=1000, metadata=_documented("preference pairs per dataset; 0 trains on the population itself", int)
    )
    steps: int = field(default=1500, metadata=_documented("full-batch training steps", int))
    learning_rate: float = field(default=0.02, metadata=_documented("learning rate of the optimiser", float))
    optimiser: str = field(default="adam", metadata=_documented("which optimiser", str, tuple(OPTIMISERS)))
    parametrisation: str = field(
        default="additive",
        metadata=_documented(
            "what pi(. | x, y') and the deployed pi(. | x) share: response scores, or nothing",
            str,
            tuple(PARAMETRISATIONS),
        ),
    )
    beta: float = field(default=0.1, metadata=_documented("beta of DPO and InSPO, in 1 / nats", float))
    psi: str = field(
        default="identity",
        metadata=_documented("scalarization of pi_bar, pi* and V", str, ("identity", "log_odds")),
    )

    def __post_init__(self) -> None:
        for name, least in {"seed": 0, "replicates": 2, "samples": 0, "steps": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"--{name} {getattr(self, name)} must be at least {least}")
        for name in ("learning_rate", "beta"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)} must be a positive number")
        if self.redraw and replace(self, redraw=False, out=Path()) != ToyConfig(out=Path()):
            raise ValueError("--redraw trains nothing, so it takes no other option than --out")

    def effective(self) -> ToyConfig:
        """The configuration that runs: --quick cuts replicates to 16 and steps to 400 at most."""
        if not self.quick:
            return self
        return replace(self, replicates=min(self.replicates, 16), steps=min(self.steps, 400))

    def record(self) -> dict[str, Any]:
        """What results.json keeps: everything that decides a number, nothing that does not."""
        kept = asdict(self)
        for name in ("out", "redraw", "preferences"):
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
            help=option.metadata["help"],
        )
    return ToyConfig(**vars(parser.parse_args(arguments)))

"""What commands have in common that take a configuration, and the command line of the trainer."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, get_args

from inspo.command_line import OneLineParser
from scaled.config.train_config import GROUPS, TrainConfig, load

HELP_WIDTH = 100
"""Columns of ``--help``."""


@dataclass(frozen=True)
class CommandLine:
    """What the command line says: the configuration, and whether only to describe it."""

    config: TrainConfig
    dry_run: bool


def parse(arguments: Sequence[str] | None = None) -> CommandLine:
    """Read the command line.

    Raises:
        UserError: an unknown option, or as :func:`load`.
    """
    parser = OneLineParser(
        prog="deepspeed scaled/train.py",
        description=str(TrainConfig.__doc__).splitlines()[0],
        epilog="keys of the configuration:\n" + "\n".join(_help_lines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_configuration(parser, "scaled/configs/tiny.yaml")
    parser.add_argument("--dry-run", action="store_true", help="describe the run, without training")
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)  # the deepspeed launcher adds it
    options = parser.parse_args(arguments)
    return CommandLine(load(options.config, options.set), options.dry_run)


def add_configuration(parser: argparse.ArgumentParser, example: str, *, required: bool = False) -> None:
    """Declare ``--config`` and ``--set``, which both may be repeated."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        action="append",
        default=[],
        required=required,
        help=f"YAML file, such as {example}; may be repeated, later files override earlier ones key by key",
    )
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="override a key of all files; may be repeated"
    )


def _help_lines() -> list[str]:
    lines = []
    for group in GROUPS:
        lines += ["", f"{group.__doc__}".rstrip(".").lower()]
        for name, field in group.model_fields.items():
            choices = _choices(field.annotation)
            among = f" ({', '.join(choices)})" if choices else ""
            text = f"{name}: {field.description}{among} [{_as_yaml(field.default)}]"
            lines += textwrap.wrap(text, HELP_WIDTH, initial_indent="  ", subsequent_indent="      ")
    return [line.replace("%", "%%") for line in lines]


def _as_yaml(default: Any) -> str:
    value = default.value if isinstance(default, Enum) else default
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _choices(annotation: Any) -> list[str]:
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(member.value) for member in annotation]
    return [part for part in get_args(annotation) if isinstance(part, str)]

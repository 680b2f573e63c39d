"""The one configuration of ``scaled/train.py``: YAML files and ``--set key=value``; field docs are its help.

Keys are flat. They come in groups, one class each, so that a room of ``scaled/`` takes the options that it
reads and no others; :class:`TrainConfig` is all of them.
"""

from scaled.config.command_line import HELP_WIDTH, add_configuration, parse
from scaled.config.data import COLUMNS, DataOptions, DataSource, FilterOptions, SafetyOptions
from scaled.config.files import compose, read_mapping, with_origin
from scaled.config.groups import (
    RANDOM,
    AdapterOptions,
    ComputeOptions,
    EngineOptions,
    LossOptions,
    ModelOptions,
    OptimizerOptions,
    OutputOptions,
    PolicyOptions,
    SequenceOptions,
    UpdateOptions,
)
from scaled.config.kinds import Count, Number, Seed, Text
from scaled.config.train_config import FIELDS, GROUPS, NOT_DECISIVE, OPTIONAL, TrainConfig, load

__all__ = [
    "COLUMNS",
    "FIELDS",
    "GROUPS",
    "HELP_WIDTH",
    "NOT_DECISIVE",
    "OPTIONAL",
    "RANDOM",
    "AdapterOptions",
    "ComputeOptions",
    "Count",
    "DataOptions",
    "DataSource",
    "EngineOptions",
    "FilterOptions",
    "LossOptions",
    "ModelOptions",
    "Number",
    "OptimizerOptions",
    "OutputOptions",
    "PolicyOptions",
    "SafetyOptions",
    "Seed",
    "SequenceOptions",
    "Text",
    "TrainConfig",
    "UpdateOptions",
    "add_configuration",
    "compose",
    "load",
    "parse",
    "read_mapping",
    "with_origin",
]

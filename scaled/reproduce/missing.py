"""What steps need that is not here, a line each."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from huggingface_hub import try_to_load_from_cache

from inspo.command_line import UserError
from scaled.config import load
from scaled.evaluation.benchmarks.base import by_name
from scaled.evaluation.judging.options import add_judge, judge_of
from scaled.reproduce.steps import CONFIGS, Choices, Step, instruct_model
from scaled.reproduce.tables import GPT_4_TURBO


class Missing(NamedTuple):
    """Something that steps need and do not find here.

    Attributes:
        what: GPUs, copy or judge, without which a step fails, or model or data, which the hub may have.
        text: in one line.
    """

    what: str
    text: str


def missing(steps: Iterable[Step], choices: Choices) -> list[Missing]:
    """What the steps need and do not find on this machine. The network is not asked."""
    steps = list(steps)
    found = []
    gpus = max((step.gpus for step in steps), default=0)
    if gpus > torch.cuda.device_count():
        found.append(Missing("GPUs", f"{gpus} wanted, {torch.cuda.device_count()} here"))
    for name in sorted({step.model for step in steps if step.kind in ("train", "questions", "generate")}):
        model = instruct_model(name)
        if not _cached(model, "config.json"):
            token = "" if os.environ.get("HF_TOKEN") else "; HF_TOKEN is not set, and gated models need it"
            found.append(Missing("model", f"{model} is not in the hub's cache here, so that the hub is needed{token}"))
    if any(step.kind in ("train", "questions") for step in steps):
        found += _data(choices)
    for benchmark in sorted({step.benchmark for step in steps} - {"", "pairwise"}):
        try:
            by_name(benchmark).questions(choices.copies / benchmark)
        except UserError as error:
            found.append(Missing("copy", str(error)))
    if any(step.kind == "judge" for step in steps):
        try:
            judge_of(_judge_options(choices))
        except UserError as error:
            found.append(Missing("judge", str(error)))
    return found


def _data(choices: Choices) -> list[Missing]:
    sources = load([CONFIGS / "data" / f"{choices.data}.yaml"], ["architecture=tiny-llama"]).data
    return [
        Missing("data", f"{source} is not in the hub's cache here, so that the hub is needed")
        for source in sources
        if not (Path(source.path).exists() or _cached(source.path, "README.md", "dataset"))
    ]


def _cached(name: str, file: str, kind: str = "model") -> bool:
    return isinstance(try_to_load_from_cache(name, file, repo_type=kind), str)


def _judge_options(choices: Choices) -> argparse.Namespace:
    """The judge, as the command of the evaluation is told."""
    parser = argparse.ArgumentParser()
    add_judge(parser, required=True)
    return parser.parse_args(["--judge", choices.judge or GPT_4_TURBO, *choices.at()])

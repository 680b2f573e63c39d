"""What steps need that is not here, a line each."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

import torch
from huggingface_hub import try_to_load_from_cache

from inspo.command_line import UserError
from scaled.config import load
from scaled.evaluation.benchmarks.base import by_name
from scaled.evaluation.judging.options import add_judge, judge_of
from scaled.reproduce.steps import CONFIGS, Choices, Step, instruct_model
from scaled.reproduce.tables import GPT_4_TURBO


def missing(steps: Iterable[Step], choices: Choices) -> list[str]:
    """What the steps need and do not find on this machine. The network is not asked."""
    steps = list(steps)
    lines = []
    gpus = max((step.gpus for step in steps), default=0)
    if gpus > torch.cuda.device_count():
        lines.append(f"GPUs: {gpus} wanted, {torch.cuda.device_count()} here")
    lines += _models(sorted({step.model for step in steps if step.kind in ("train", "questions", "generate")}))
    if any(step.kind in ("train", "questions") for step in steps):
        lines += _data(choices)
    for benchmark in sorted({step.benchmark for step in steps} - {"", "pairwise"}):
        try:
            by_name(benchmark).questions(choices.copies / benchmark)
        except UserError as error:
            lines.append(f"copy of {benchmark}: {error}")
    if any(step.kind == "judge" for step in steps):
        lines += _judge(choices)
    return lines


def _models(names: Iterable[str]) -> list[str]:
    lines = []
    for name in names:
        model = instruct_model(name)
        if not isinstance(try_to_load_from_cache(model, "config.json"), str):
            token = "" if os.environ.get("HF_TOKEN") else "; HF_TOKEN is not set, and gated models need it"
            lines.append(f"model {model}: not in the hub's cache here, so that the hub is needed{token}")
    return lines


def _data(choices: Choices) -> list[str]:
    sources = load([CONFIGS / "data" / f"{choices.data}.yaml"], ["architecture=tiny-llama"]).data
    return [
        f"data {source}: not in the hub's cache here, so that the hub is needed"
        for source in sources
        if not Path(source.path).exists()
        and not isinstance(try_to_load_from_cache(source.path, "README.md", repo_type="dataset"), str)
    ]


def _judge(choices: Choices) -> list[str]:
    """Whether the endpoint can be asked, as the command of the evaluation will find it."""
    parser = argparse.ArgumentParser()
    add_judge(parser, required=True)
    try:
        judge_of(parser.parse_args(["--judge", choices.judge or GPT_4_TURBO, *choices.at()]))
    except UserError as error:
        return [f"judge: {error}"]
    return []

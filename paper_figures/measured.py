"""Our own numbers, from result files.

One file for one trained model:

    results/eval/MODEL/RUN.json      what judges said of it
    results/cost/MODEL/RUN.json      what training and running it cost

MODEL is a key of ``names.MODELS``, RUN one of ``commands.SETTINGS`` or ``instruct``. Each file holds

    {"model": "llama-3-8b", "run": "ins-dpo",        as in its path
     "seed": 0,                                      of the training run
     "config_hash": "5f0c...",                       of the resolved configuration
     "metrics": [
       {"metric": "alpaca_eval_lc",                  a key of names.METRICS, once
        "value": 41.3,                               percent; points of 10; seconds; GiB
        "se": 1.4,                                   standard error in the same unit, or null
        "n": 805,                                    instructions, questions, pairs or tokens behind it
        "judge": "gpt-4-1106-preview"}]}             as it was called; null where no judge decides

A cell is filled from the file alone: nothing is computed but the ratios of Tables 5 and 7. One
file serves every table that shows its setting, so that no two tables of ours can disagree.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paper_figures.commands import SETTINGS
from paper_figures.names import METRICS, MODELS

KINDS = ("eval", "cost")
_FACTS = {"model": str, "run": str, "seed": int, "config_hash": str, "metrics": list}
_NUMBERS = {"metric": (str,), "value": (int, float), "se": (int, float, type(None)), "n": (int,)}


@dataclass(frozen=True)
class Measured:
    """One number of ours; see the module."""

    value: float
    se: float | None
    n: int
    judge: str | None
    seed: int
    config_hash: str


Results = dict[tuple[str, str, str], Measured]


def load(results: Path) -> Results:
    """Every number in every result file, by (model, run, metric).

    Raises:
        ValueError: a file that is not as the module says, naming file and field.
    """
    found: Results = {}
    for kind in KINDS:
        for path in sorted((results / kind).glob("*/*.json")):
            for metric, number in _read(path).items():
                key = path.parent.name, path.stem, metric
                if key in found:
                    raise ValueError(f"{path}: {metric} is already in another file of this run")
                found[key] = number
    return found


def _read(path: Path) -> dict[str, Measured]:
    try:
        facts = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error})") from None
    _check(facts, _FACTS, f"{path}")
    for name, here, known in (("model", path.parent.name, MODELS), ("run", path.stem, (*SETTINGS, "instruct"))):
        if facts[name] != here:
            raise ValueError(f"{path}: {name} is {facts[name]!r}, but its path says {here!r}")
        if here not in known:
            raise ValueError(f"{path}: unknown {name} {here!r}; known: {', '.join(known)}")
    numbers: dict[str, Measured] = {}
    for index, entry in enumerate(facts["metrics"]):
        where = f"{path}: metrics[{index}]"
        _check_number(entry, where)
        if entry["metric"] in numbers:
            raise ValueError(f"{where}: {entry['metric']} is there twice")
        numbers[entry["metric"]] = Measured(
            entry["value"], entry["se"], entry["n"], entry["judge"], facts["seed"], facts["config_hash"]
        )
    return numbers


def _check(facts: Any, fields: dict[str, Any], where: str) -> None:
    if not isinstance(facts, dict):
        raise ValueError(f"{where}: must be an object with {', '.join(fields)}")
    for name, kinds in fields.items():
        if name not in facts:
            raise ValueError(f"{where}: {name!r} is missing")
        if isinstance(facts[name], bool) or not isinstance(facts[name], kinds):
            raise ValueError(f"{where}: {name} = {facts[name]!r} is of the wrong type")


def _check_number(entry: Any, where: str) -> None:
    _check(entry, {**_NUMBERS, "judge": (str, type(None))}, where)
    metric = entry["metric"]
    if metric not in METRICS:
        raise ValueError(f"{where}: unknown metric {metric!r}; known: {', '.join(METRICS)}")
    if not math.isfinite(entry["value"]) or not (entry["se"] is None or 0 <= entry["se"] < math.inf):
        raise ValueError(f"{where}: value = {entry['value']} and se = {entry['se']} must be finite, se not negative")
    if entry["n"] < 1:
        raise ValueError(f"{where}: n = {entry['n']} must be at least 1")
    if (entry["judge"] is None) != (METRICS[metric].judge is None):
        raise ValueError(f"{where}: {metric} needs {'no' if METRICS[metric].judge is None else 'a'} judge")

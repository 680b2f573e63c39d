"""Our own numbers, from result files.

One file for one trained model:

    results/eval/MODEL/RUN.json      what judges said of it
    results/cost/MODEL/RUN.json      what training and running it cost

MODEL is a key of ``names.MODELS``, RUN one of ``scaled.reproduce.recipes.RECIPES`` or ``instruct``. Each file holds

    {"model": "llama-3-8b", "run": "ins-dpo",        as in its path
     "seed": 0,                                      of the training run
     "config_hash": "5f0c...",                       of the resolved configuration
     "metrics": [
       {"metric": "alpaca_eval_lc",                  a key of names.METRICS, once
        "value": 41.3,                               percent; points of 10; seconds; GiB
        "se": 1.4,                                   standard error in the same unit, or null
        "n": 805,                                    instructions, questions, pairs or tokens behind it
        "judge": "gpt-4-1106-preview"}]}             as it was called; null where no judge decides

``arena_hard_sc`` also has ``"fitted_together"``, the names of all models of that fit, since its value depends on them.

A cell is filled from the file alone: nothing is computed but the ratios of Tables 5 and 7. One
file serves every table that shows its setting, so that no two tables of ours can disagree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveInt, ValidationError, model_validator

from inspo.command_line import UserError
from paper_figures.names import METRICS, MODELS
from scaled.reproduce.recipes import RECIPES


class Measured(BaseModel):
    """One number of ours; see the module."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    model: str
    run: str
    seed: int
    config_hash: str
    metric: str
    value: float
    se: NonNegativeFloat | None
    n: PositiveInt
    judge: str | None
    fitted_together: list[str] = []

    @model_validator(mode="after")
    def _known(self) -> Measured:
        known = {"model": MODELS, "run": [*RECIPES, "instruct"], "metric": METRICS}
        for name, names in known.items():
            if getattr(self, name) not in names:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; known: {', '.join(names)}")
        if (self.judge is None) != (METRICS[self.metric].judge is None):
            raise ValueError(f"{self.metric} needs {'a' if METRICS[self.metric].judge else 'no'} judge")
        if (self.metric == "arena_hard_sc") != bool(self.fitted_together):
            raise ValueError("arena_hard_sc, and no other, needs fitted_together; score again with --row")
        return self


Results = dict[tuple[str, str, str], Measured]


def load(results: Path) -> Results:
    """Every number in every result file, by (model, run, metric).

    Raises:
        UserError: a file that is not as the module says, naming file and field.
    """
    found: Results = {}
    for path in [*sorted(results.glob("eval/*/*.json")), *sorted(results.glob("cost/*/*.json"))]:
        with reading(path):
            facts = json.loads(path.read_text())
            for number in [Measured.model_validate(facts | entry) for entry in facts["metrics"]]:
                key = number.model, number.run, number.metric
                if key[:2] != (path.parent.name, path.stem):
                    raise ValueError(f"is of {number.model}/{number.run}, but its path says otherwise")
                if key in found:
                    raise ValueError(f"{number.metric} is there twice, in this file or in another of this run")
                found[key] = number
    return found


@contextmanager
def reading(path: Path, hint: str = "") -> Iterator[None]:
    """Turn whatever is wrong with a file into one line that names it and ends with the hint."""
    try:
        yield
    except ValidationError as error:
        found = error.errors()[0]
        name = "".join(f"{part}: " for part in found["loc"])
        raise UserError(f"{path}: {name}{found['msg'].removeprefix('Value error, ')}{hint}") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise UserError(f"{path}: {what}{hint}") from None

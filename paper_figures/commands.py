"""The commands that make what a figure or table of ours is read from."""

from __future__ import annotations

from collections.abc import Iterable

from scaled.reproduce.recipes import BASES, RECIPES

TOY = "make toy"
TINY = "make train-tiny"
TINY_BASELINE = (
    "deepspeed scaled/train.py --config scaled/configs/tiny.yaml"
    " --set conditioning=none --set out=results/train-tiny-baseline"
)
EVALUATE = "python -m scaled.evaluation"
TRAIN = (
    "deepspeed scaled/train.py --config scaled/configs/base/{base}.yaml"
    " --config scaled/configs/data/ultrafeedback.yaml --config scaled/configs/hardware/four-80gb.yaml"
)


def not_run(run: str) -> str:
    """What stands for a row of ours before there is a result."""
    if run == "instruct":
        return "not run here (nothing to train)"
    recipe = RECIPES[run]
    options = [f"--config {file}" for file in recipe.files] + [f"--set {setting}" for setting in recipe.settings]
    return f"not run here: `{' '.join(options)}`"


def how_to_fill(models: Iterable[str]) -> str:
    """One sentence: how the rows of ours that are missing are filled."""
    trained = " or ".join(f"`{TRAIN.format(base=BASES[model])}`" for model in models)
    return (
        f"Ours: not run here where the last column says so. A row is filled by {trained} with the options in its last"
        f" column, whose files are in scaled/configs, then for each benchmark by `{EVALUATE} generate`, `{EVALUATE}"
        " judge` and `" + EVALUATE + " score --row MODEL/RUN`, which writes `results/eval/MODEL/RUN.json`"
        " (docs/evaluation.md)."
    )

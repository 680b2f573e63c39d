"""The commands that make what a figure or table of ours is read from."""

from __future__ import annotations

TOY = "make toy"
TINY = "make train-tiny"
TINY_BASELINE = (
    "deepspeed scaled/train.py --config scaled/configs/tiny.yaml"
    " --set conditioning=none --set out=results/train-tiny-baseline"
)
REPRODUCE = "python -m scaled.reproduce --table"


def not_run(model: str, run: str) -> str:
    """What stands for a row of ours before there is a result."""
    return f"not run here: `--only {model}/{run}`"


def how_to_fill(table: int) -> str:
    """How the rows of ours that are missing are filled."""
    return (
        f"Ours: not run here where the last column says so. `{REPRODUCE} {table} --launch local` with the option in a"
        " row's last column trains it, has it judged and writes `results/eval/MODEL/RUN.json`; with `--dry-run` it says"
        " what that costs and what is missing (docs/reproduce.md)."
    )

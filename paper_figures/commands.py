"""The commands that make what a figure or table of ours is read from."""

from __future__ import annotations

from collections.abc import Iterable

TOY = "make toy"
TINY = "make train-tiny"
TINY_BASELINE = (
    "deepspeed scaled/train.py --config scaled/configs/tiny.yaml"
    " --set conditioning=none --set out=results/train-tiny-baseline"
)
EVALUATE = "python -m scaled.evaluation"
TRAIN = "deepspeed scaled/train.py --config scaled/configs/{model}-ins-dpo.yaml"

# What each method changes in its model's INS-DPO configuration; IPO, ORPO, RRHF and SLiC have no beta.
_METHODS = {
    "rrhf": "method=rrhf beta=null",
    "slic": "method=slic beta=null",
    "cpo": "method=cpo",
    "kto": "method=kto",
    "ipo": "method=ipo beta=null",
    "orpo": "method=orpo beta=null",
    "r-dpo": "method=r-dpo",
    "dpo": "",
    "simpo": "method=simpo beta=2.0 gamma=1.0",
}
_CAPS = {"30": "0.3", "40": "0.4", "50": "0.5", "uncapped": "null"}

# What each run changes in it.
SETTINGS: dict[str, str] = {
    **{method: f"{settings} conditioning=none" for method, settings in _METHODS.items()},
    **{
        f"ins-dpo-{length}-{name}": f"max_length={length} draft_cap={cap}"
        for length in (1024, 2048, 4096)
        for name, cap in _CAPS.items()
        if (length, name) != (4096, "40")  # that is ins-dpo itself
    },
    **{f"ins-{method}": settings for method, settings in _METHODS.items()},
    "one-sided-dpo": "conditioning=one_sided",
    "averaged-dpo": "conditioning=averaged",
}


def not_run(run: str) -> str:
    """What stands for a row of ours before there is a result."""
    if run == "instruct":
        return "not run here (nothing to train)"
    settings = " ".join(f"--set {setting}" for setting in SETTINGS[run].split())
    return f"not run here: {f'`{settings}`' if settings else 'the configuration as it is'}"


def how_to_fill(models: Iterable[str]) -> str:
    """One sentence: how the rows of ours that are missing are filled."""
    trained = " or ".join(f"`{TRAIN.format(model=model)}`" for model in models)
    return (
        f"Ours: not run here where the last column says so. A row is filled by {trained} with the settings in its last"
        f" column, then for each benchmark by `{EVALUATE} generate`, `{EVALUATE} judge` and `{EVALUATE} score --row"
        " MODEL/RUN`, which writes `results/eval/MODEL/RUN.json` (docs/evaluation.md)."
    )

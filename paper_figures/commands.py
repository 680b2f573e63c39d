"""The commands that make what a figure or table of ours is read from."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

TOY = "make toy"
TINY = "make train-tiny"
TINY_BASELINE = (
    "deepspeed scaled/train.py --config scaled/configs/tiny.yaml"
    " --set conditioning=none --set out=results/train-tiny-baseline"
)
TRAIN = "deepspeed scaled/train.py --config {config}"
CONFIG = "scaled/configs/{model}-ins-dpo.yaml"

_NO_BETA = ("beta=null",)  # the configuration gives INS-DPO's beta, which these losses do not have
_SIMPO = ("method=simpo", "beta=2.0", "gamma=1.0")
_PLAIN = ("conditioning=none",)

# What each run changes in its model's INS-DPO configuration.
SETTINGS: dict[str, tuple[str, ...]] = {
    "rrhf": ("method=rrhf", *_NO_BETA, *_PLAIN),
    "slic": ("method=slic", *_NO_BETA, *_PLAIN),
    "cpo": ("method=cpo", *_PLAIN),
    "kto": ("method=kto", *_PLAIN),
    "ipo": ("method=ipo", *_NO_BETA, *_PLAIN),
    "ins-ipo": ("method=ipo", *_NO_BETA),
    "orpo": ("method=orpo", *_NO_BETA, *_PLAIN),
    "ins-orpo": ("method=orpo", *_NO_BETA),
    "r-dpo": ("method=r-dpo", *_PLAIN),
    "ins-r-dpo": ("method=r-dpo",),
    "dpo": _PLAIN,
    "ins-dpo": (),
    "one-sided-dpo": ("conditioning=one_sided",),
    "averaged-dpo": ("conditioning=averaged",),
    "simpo": (*_SIMPO, *_PLAIN),
    "ins-simpo": _SIMPO,
    **{
        f"ins-dpo-{length}-{name}": (f"max_length={length}", f"draft_cap={cap}")
        for length in (1024, 2048, 4096)
        for name, cap in (("30", "0.3"), ("40", "0.4"), ("50", "0.5"), ("uncapped", "null"))
        if (length, name) != (4096, "40")  # that is ins-dpo itself
    },
}


def settings(run: str) -> str:
    """What a run adds to the training command: ``--set`` for each setting, possibly nothing."""
    return " ".join(f"--set {setting}" for setting in SETTINGS[run])


def not_run(run: str) -> str:
    """What a cell of ours says before there is a result."""
    if run == "instruct":
        return "not run here (nothing to train)"
    return f"not run here: `{settings(run)}`" if SETTINGS[run] else "not run here: the configuration as it is"


def how_to_fill(models: tuple[str, ...]) -> str:
    """One sentence: how the cells of ours that are missing are filled."""
    configs = [CONFIG.format(model=model) for model in models]
    missing = [config for config in configs if not (ROOT / config).exists()]
    trains = " or ".join(f"`{TRAIN.format(config=config)}`" for config in configs)
    yet = f" (not in this checkout: {', '.join(f'`{config}`' for config in missing)})" if missing else ""
    return (
        f"Ours: not run here. A row is filled by {trains}{yet} with the settings in its cell, then by an evaluation"
        " that writes `results/eval/MODEL/RUN.json`; the evaluation is not built yet."
    )


def named(command: str) -> str:
    """A command as a text names it, with a word where this checkout does not have it yet."""
    target = re.fullmatch(r"make (\S+)", command)
    if target:
        known = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        there = target[1] in known
    else:
        there = all((ROOT / path).exists() for path in re.findall(r"\S+\.(?:py|yaml)\b", command))
    return f"`{command}`" if there else f"`{command}` (not in this checkout yet)"

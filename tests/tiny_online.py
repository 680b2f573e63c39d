"""Rounds of training that take seconds: a small policy of random weights that comes to an end after a few tokens."""

import json
from pathlib import Path
from typing import Any

from tiny_base import write_base

from scaled.online.config import OnlineConfig

TRAIN = {
    "method": "dpo",
    "conditioning": "symmetric",
    "max_length": 64,
    "batch_size": 2,
    "micro_batch": 2,
    "max_updates": 2,
    "learning_rate": 3e-3,
    "warmup_ratio": 0,
    "precision": "float32",
    "gradient_checkpointing": False,
    "threads": 1,
    "device": "cpu",
}
THINGS = "a bird,a tool,a river,a plum,the owl,teal,red,three figs,a saw,two"
PROMPTS = [f"{verb} {what}." for verb in ("Name", "I need") for what in THINGS.split(",")]


def write_policy(folder: Path, seed: int = 1) -> Path:
    """One token in six ends its responses, so that they have six tokens on average."""
    write_base(folder, seed)
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": list(range(0, vocabulary, 6))}))
    return folder


def write_prompts(path: Path) -> Path:
    path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in PROMPTS))
    return path


def values(policy: Path, prompts: Path, out: Path, /, **changes: Any) -> dict[str, Any]:
    """Of a configuration of two rounds of a training of at least one update."""
    given = {"model": str(policy), "prompts": str(prompts), "out": str(out), "rounds": 2, "measure_prompts": 2}
    given |= {"max_tokens": 24, "judge": "tiny_online:shorter", "train": TRAIN | changes.pop("train", {})}
    return given | changes


def configured(*places: Path, **changes: Any) -> OnlineConfig:
    return OnlineConfig(**values(*places, **changes))


def shorter(_prompt: str, first: str, second: str) -> float:
    """A judge: the shorter one is preferred with 3/4."""
    return 0.5 if len(first) == len(second) else 0.75 if len(first) < len(second) else 0.25


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def undecided(*_: str) -> float:
    """A judge of ties."""
    return 0.5


def certain(*_: str) -> str:
    """No judge."""
    return "first"


def interrupted(*_: str) -> float:
    """A judge who is asked when somebody presses Ctrl-C."""
    raise KeyboardInterrupt


def enough(*_: Any) -> str:
    """A callback of a training that stops it."""
    return "enough"

"""What the steps run on, and their seconds in turns."""

from __future__ import annotations

import contextlib
import gc
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from one_pass_pairs import Selection, judged_pairs
from one_pass_steps import (
    SHAPES,
    Shape,
    Step,
    build_model,
    causal,
    one_pass,
    packed,
    plain_trl,
    reference_logps,
    two_padded_rows,
)
from one_pass_trl import make_trainer

from inspo.conditioning import Conditioning
from inspo.hf.trees import TreeAttention
from inspo.prefix_tree import PackedRow
from scaled.workarounds import quiet_deprecations

CONDITIONINGS = {
    "ins": Conditioning.SYMMETRIC,
    "dpo": Conditioning.NONE,
    "averaged": Conditioning.AVERAGED,
    "anchored": Conditioning.ANCHORED,
}


@dataclass(frozen=True)
class Setting:
    """All that decides what is measured.

    Attributes:
        shape: a key of :data:`one_pass_steps.SHAPES`.
        device: cpu or cuda; float32 or bfloat16.
        max_length: most tokens of prompt and one response, or of prompt and both.
        tuples: which of the two.
        pairs: how many.
        threads: of torch, on CPU.
        attention: how trees are attended over, see :mod:`inspo.hf.tree_attention`.
        seed: of pairs and weights.
        checkpointing: recompute activations in every step but TRL's, which decide for themselves.
    """

    shape: str
    device: str
    max_length: int
    tuples: bool
    pairs: int
    threads: int
    attention: str
    seed: int
    checkpointing: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and activations."""
        return torch.float32 if self.device == "cpu" else torch.bfloat16


@cache
def select(setting: Setting) -> Selection:
    """The setting's real pairs."""
    return judged_pairs(
        setting.pairs,
        setting.max_length,
        vocabulary=8192,
        tuples=setting.tuples,
        seed=setting.seed,
    )


class Bench:
    """One model and one selection of pairs, and every step on them.

    Args:
        setting: the setting.
        selection: other pairs than the setting's.
    """

    def __init__(self, setting: Setting, selection: Selection | None = None) -> None:
        quiet_deprecations()
        torch.set_num_threads(setting.threads)
        self.setting = setting
        self.shape: Shape = SHAPES[setting.shape]
        self.selection = selection or select(setting)
        self.pairs = self.selection.pairs
        self.model = build_model(self.shape, device=setting.device, dtype=setting.dtype, seed=setting.seed).train()
        self.reference = reference_logps(self.model, self.pairs)
        if setting.checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})

    @cached_property
    def trainer(self) -> Any:
        """TRL's trainer of these pairs."""
        folder = tempfile.TemporaryDirectory(prefix="one-pass-")
        self._folder = folder
        return make_trainer(self.model, self.pairs, Path(folder.name))

    def step(self, key: str) -> Step:
        """A step by its key.

        ``trl:8``, ``trl_checkpointed:8``, ``trl_grouped:1`` and ``two_rows:8`` name their micro-batch;
        ``ins:2048`` and any other of CONDITIONINGS their token budget, 0 for one tree a row; ``causal:0``.
        """
        kind, _, number = key.partition(":")
        size = int(number)
        if kind in CONDITIONINGS:
            return one_pass(
                self.model,
                self.pairs,
                CONDITIONINGS[kind],
                self.reference,
                token_budget=size,
                attention=self.setting.attention,
            )
        if kind == "two_rows":
            return two_padded_rows(self.model, self.pairs, self.reference, micro_batch=size)
        if kind == "causal":
            lengths = [len(row) for row in packed(self.pairs, Conditioning.SYMMETRIC, size)]
            return causal(self.model, lengths, seed=self.setting.seed)
        return plain_trl(
            self.trainer,
            self.pairs,
            micro_batch=size,
            by_length=kind == "trl_grouped",
            checkpointing=kind == "trl_checkpointed",
        )

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.setting.device == "cuda":
            torch.cuda.synchronize()


def free_memory(device: str) -> None:
    """Free what a bench held; a trainer and its model refer to each other, which only the collector undoes."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


@dataclass
class Timing:
    """Seconds of one step, repeat after repeat."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    loss: float = float("nan")


def interleave(
    bench: Bench, keys: Sequence[str], repeats: int, progress: Callable[[str], None] = lambda _: None
) -> dict[str, Timing]:
    """Time steps A B C, A B C, ...: forward and backward only, gradients dropped in between.

    A step that runs out of device memory has no seconds.
    """
    steps = {key: bench.step(key) for key in keys}
    timings = {key: Timing() for key in keys}
    for _ in range(repeats):
        for key, step in steps.items():
            progress(key)
            bench.model.zero_grad(set_to_none=True)
            bench.synchronize()
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                timings[key].loss = step.run()
                bench.synchronize()
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                continue
            timings[key].wall.append(time.perf_counter() - wall)
            timings[key].cpu.append(time.process_time() - cpu)
    bench.model.zero_grad(set_to_none=True)
    return timings


@dataclass(frozen=True)
class Ratio:
    """One step's seconds as a share of another's, repeat by repeat.

    Attributes:
        wall: median, and the smallest and largest.
        cpu: median of CPU time.
    """

    wall: float
    smallest: float
    largest: float
    cpu: float

    @classmethod
    def of(cls, numerator: Timing, denominator: Timing) -> Ratio | None:
        """None where one of the two could not run."""
        wall = [a / b for a, b in zip(numerator.wall, denominator.wall, strict=False)]
        cpu = [a / b for a, b in zip(numerator.cpu, denominator.cpu, strict=False)]
        return cls(statistics.median(wall), min(wall), max(wall), statistics.median(cpu)) if wall else None


def build_share(bench: Bench, budget: int, step_seconds: float, repeats: int = 3) -> float:
    """Seconds to build, pack and prepare the trees of INS-DPO, as a share of its step."""

    def build() -> float:
        start = time.perf_counter()
        rows: list[PackedRow] = packed(bench.pairs, Conditioning.SYMMETRIC, budget)
        for row in rows:
            TreeAttention.of(row, bench.model.device)
        bench.synchronize()
        return time.perf_counter() - start

    return min(build() for _ in range(repeats)) / step_seconds


def step_flops(shape: Shape, rows: Sequence[PackedRow]) -> float:
    """Floating-point operations that forward and backward over trees need: 2 a multiply-add, backward twice forward.

    Nothing computed twice is counted twice: not the projection of several chunks, nor a shared prompt or target.
    """
    kv = shape.hidden * shape.kv_heads // shape.heads
    layer = 2 * shape.hidden * (shape.hidden + kv) + 3 * shape.hidden * shape.intermediate
    tokens = sum(map(len, rows))
    scored = sum(len({*zip(*at, strict=True)}) for at in map(_scored, rows))
    seen = sum(int(row.positions.sum()) + len(row) for row in rows)
    forward = 2 * (shape.layers * (layer * tokens + 2 * shape.hidden * seen) + shape.hidden * shape.vocabulary * scored)
    return 3.0 * forward


def _scored(row: PackedRow) -> tuple[list[int], list[int]]:
    """Rows and labels of all targets' tokens."""
    rows, labels = (
        np.concatenate([getattr(each, name) for each in row.targets]).tolist() for name in ("rows", "labels")
    )
    return rows, labels


def matrix_peak(device: str, dtype: torch.dtype, seconds: float = 2.0) -> float:
    """Measured operations per second of a large square matrix product."""
    size = 2048 if device == "cpu" else 8192
    left, right = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(2))
    best, deadline = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        start = time.perf_counter()
        torch.mm(left, right)
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def machine(device: str, threads: int) -> str:
    """The machine and the versions, for people."""
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, {_versions()}"
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return f"{threads} threads on {name}, float32, {_versions()}"


def _versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl"))

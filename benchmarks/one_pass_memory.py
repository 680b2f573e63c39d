"""Peak memory of the steps: on CPU each in a process of its own, on CUDA by the allocator."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from one_pass_measure import Bench, Setting, select
from one_pass_pairs import longest


def peak_memory(bench: Bench, keys: Iterable[str], longest_pairs: int) -> dict[str, int | None]:
    """Peak bytes of each step, weights and gradients included, optimizer not.

    On CPU each step runs over the longest pairs in a process of its own: the growth of its peak resident
    memory from just before the step, when weights, data, reference and TRL's trainer are there, plus the
    weights. On CUDA over all pairs, by the allocator's peak; None where memory ran out.
    """
    setting = bench.setting
    if setting.device == "cuda":
        return {key: _cuda_peak(bench, key) for key in keys}
    peaks: dict[str, int | None] = {}
    for key in keys:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            peaks[key] = process.submit(_resident_peak, setting, key, longest_pairs).result()
    return peaks


def _resident_peak(setting: Setting, key: str, longest_pairs: int) -> int:
    bench = Bench(setting, longest(select(setting), longest_pairs))
    step = bench.step(key)
    weights: int = sum(parameter.numel() * parameter.element_size() for parameter in bench.model.parameters())
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc only: give freed memory back first
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak restarts from here
    step.run()
    return _resident("VmHWM") - before + weights


def _resident(name: str) -> int:
    """Bytes of VmRSS, the resident memory, or VmHWM, its peak."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _cuda_peak(bench: Bench, key: str) -> int | None:
    step = bench.step(key)
    bench.model.zero_grad(set_to_none=True)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        step.run()
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None
    return torch.cuda.max_memory_allocated()

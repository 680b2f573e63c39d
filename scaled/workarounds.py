"""What other libraries make necessary, with the version that was seen and what would make it needless."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scaled.distributed import world_size

_LOST_RANK = (
    *("closed by peer", "reset by peer", "broken pipe"),
    *("connection refused", "remote process exited", "timed out"),
)


def is_lost_rank(error: BaseException) -> bool:
    """Whether an error says that another rank is gone.

    torch 2.13: gloo and NCCL raise a plain RuntimeError for it. Needless once both raise
    ``torch.distributed.DistBackendError``, which NCCL does for some.
    """
    text = str(error).lower()
    return world_size() > 1 and isinstance(error, RuntimeError) and any(part in text for part in _LOST_RANK)


def quiet_deprecations() -> None:
    """Keep back what libraries tell each other of renamed functions; users can do nothing about it.

    torch 2.13, transformers 5.23, deepspeed 0.19.
    """
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(torch|transformers|deepspeed|accelerate)\.")


@contextmanager
def quiet(logs: Any, level: int) -> Iterator[None]:
    """Let a library say nothing below a level: our own message has it.

    Args:
        logs: ``transformers.utils.logging`` or ``datasets.utils.logging``, which have a verbosity of their own.
        level: one of :mod:`logging`.
    """
    before = logs.get_verbosity()
    logs.set_verbosity(level)
    try:
        yield
    finally:
        logs.set_verbosity(before)


def readable_by_all(folder: Path) -> None:
    """Give a folder's files the rights that any new file has, such as 0644.

    safetensors 0.8 writes files that their owner alone may read, and transformers leaves them so.
    """
    probe = folder / ".rights"
    probe.touch()
    rights = probe.stat().st_mode & 0o777
    probe.unlink()
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(rights)


def start_deepspeed(*, gpu: bool) -> None:
    """Connect DeepSpeed to the process group that is there.

    deepspeed 0.19 on CPU prefers shared-memory collectives of its own, which need a C++ compiler and a minute to
    build, and wait forever for a rank that died; gloo's fail at once. There is no option that switches them off.
    """
    import deepspeed

    if not gpu:
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed("nccl" if gpu else "gloo", auto_mpi_discovery=False, verbose=False)


def forget_accelerator() -> None:
    """Let a process that has trained before train again with other settings.

    accelerate 1.15 keeps the first Accelerator's device, precision and plugins for the whole process; its own
    tests and transformers' TrainingArguments reset it in the same way. What ``accelerate launch`` leaves in the
    environment is forgotten too, since the configuration decides: its ``--cpu`` would take DDP for DeepSpeed.
    """
    import os

    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001  # there is no public one
    GradientState._reset_state()  # noqa: SLF001
    for name in ("USE_CPU", "USE_DEEPSPEED", "MIXED_PRECISION", "TORCH_DEVICE"):
        os.environ.pop(f"ACCELERATE_{name}", None)


def keep_quantized_layout(model: Any) -> None:
    """Keep 4-bit weights as they are while they are read without a gradient on a CPU.

    bitsandbytes 0.50 packs them anew there, in place, for a faster kernel; a later backward pass takes them for
    unpacked ones, and its gradients are of no weights that ever were.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False

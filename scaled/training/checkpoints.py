"""Checkpoints that are complete or do not count, and resumption from the last complete one.

A checkpoint is a folder ``checkpoint-N`` of the files of :mod:`scaled.training.state`, N being updates. Its
manifest, written last and at once, lists every file with size and checksum: a folder without one was
cut off, a folder that differs from it is corrupt. Older checkpoints go only after that.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from inspo.command_line import one_line
from scaled.distributed import barrier, gathered, rank, world_size
from scaled.errors import SaveError
from scaled.files import write_atomically
from scaled.training import state
from scaled.workarounds import is_lost_rank

MANIFEST = "complete.json"


def checkpoint(out: Path, update: int) -> Path:
    """The folder of the checkpoint after an update."""
    return out / f"checkpoint-{update}"


def update_of(folder: Path) -> int:
    """The update after which a checkpoint was made."""
    return int(folder.name.rpartition("-")[2])


def existing(out: Path) -> list[Path]:
    """Checkpoint folders, complete or not, the latest first."""
    folders = [path for path in out.glob("checkpoint-*") if path.is_dir() and path.name.rpartition("-")[2].isdecimal()]
    return sorted(folders, key=update_of, reverse=True)


def sums(folder: Path, part: int = 0, parts: int = 1) -> dict[str, tuple[int, int]]:
    """Size and CRC-32 of a checkpoint's files; of every `parts`-th one, to share the work among ranks."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {str(path.relative_to(folder)): file_sum(path) for path in files[part::parts]}


def complete(folder: Path, files: dict[str, tuple[int, int]], **facts: Any) -> None:
    """Declare a checkpoint complete.

    Args:
        folder: the checkpoint.
        files: :func:`sums` of all its files.
        facts: what a resumption must know: world size, ZeRO stage, fingerprints, the best update so far.
    """
    manifest = {"files": files, **facts}
    write_atomically(folder / MANIFEST, json.dumps({**manifest, "checksum": _checksum(manifest)}, indent=1) + "\n")


def _checksum(manifest: Mapping[str, Any]) -> int:
    """CRC-32 of a manifest's content, however it is laid out."""
    return zlib.crc32(json.dumps(manifest, sort_keys=True).encode())


def problem(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        intact = manifest.pop("checksum") == _checksum(manifest)
    except FileNotFoundError:
        return "was cut off while it was written"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        intact = False
    if not intact:
        return f"has a corrupted {MANIFEST}"
    for name, (size, crc) in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            return f"lacks {name}"
        if path.stat().st_size != size:
            return f"has {path.stat().st_size} of the {size} bytes of {name}"
        if file_sum(path)[1] != crc:
            return f"has a corrupted {name}"
    return None


def latest(out: Path) -> tuple[Path | None, dict[Path, str]]:
    """The last complete checkpoint, and what is wrong with each later one."""
    wrong: dict[Path, str] = {}
    for folder in existing(out):
        if (what := problem(folder)) is None:
            return folder, wrong
        wrong[folder] = what
    return None, wrong


def set_aside(folder: Path) -> Path | None:
    """Take a checkpoint that is not used out of the count, so that pruning cannot prefer it to good ones.

    Returns:
        Where a damaged one is now; None for one that was cut off, which is of no use and removed.
    """
    if not (folder / MANIFEST).exists():
        discard(folder)
        return None
    damaged = folder.with_name(f"damaged-{folder.name}")
    shutil.rmtree(damaged, ignore_errors=True)
    return folder.rename(damaged)


def facts(folder: Path) -> dict[str, Any]:
    """What :func:`complete` was told about a checkpoint."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    return manifest


def last_complete(out: Path) -> str:
    """Name of the last folder with a manifest, for messages."""
    return next((folder.name for folder in existing(out) if (folder / MANIFEST).is_file()), "none")


def discard(folder: Path) -> None:
    """Remove a checkpoint; its manifest goes first, so that what is left of it never counts."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def prune(out: Path, keep: int, best: Path | None) -> None:
    """Remove all but the last `keep` complete checkpoints and the best one."""
    folders = [folder for folder in existing(out) if (folder / MANIFEST).is_file()]
    for folder in folders[keep:]:
        if best is None or folder.name != best.name:
            discard(folder)


def file_sum(path: Path) -> tuple[int, int]:
    """Size in bytes and CRC-32 of a file."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(2**22):
            crc = zlib.crc32(block, crc)
    return path.stat().st_size, crc


class Checkpoints:
    """A run's checkpoints: saved whole, the last ones and the best kept. All ranks take part.

    Args:
        out: the run's folder.
        keep: how many complete ones are kept, beside the best.
        facts: what a resumption must find unchanged.
        best_update: the update with the smallest validation loss so far, or None.
        best_loss: that loss in nats.

    Attributes:
        best_update: likewise.
    """

    def __init__(
        self,
        out: Path,
        keep: int,
        facts: Mapping[str, Any],
        best_update: int | None = None,
        best_loss: float | None = None,
    ) -> None:
        self._out, self._keep, self._facts = out, keep, facts
        self.best_update, self._best_loss = best_update, best_loss

    def note_loss(self, update: int, loss: float) -> None:
        """Take note of a validation loss: the checkpoint of the smallest is kept, and is the result."""
        if self._best_loss is None or loss < self._best_loss:
            self.best_update, self._best_loss = update, loss

    def save(self, update: int, accelerator: Accelerator, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Save after an update, then remove what is no longer kept.

        Raises:
            SaveError: it could not be written; earlier ones are as they were.
        """
        folder = checkpoint(self._out, update)
        if rank() == 0 and folder.exists():
            discard(folder)
        barrier()
        try:
            state.save(folder, accelerator, model, optimizer)
            barrier()
            parts = gathered(sums(folder, rank(), world_size()))
            if rank() == 0:
                files = {name: value for part in parts for name, value in part.items()}
                best = {"best_update": self.best_update, "best_loss": self._best_loss}
                complete(folder, files, update=update, **best, **self._facts)
        except Exception as error:  # OSError, torch's RuntimeError, safetensors' own: each library has another
            if is_lost_rank(error):
                raise
            shutil.rmtree(folder, ignore_errors=True)
            raise SaveError(
                f"{folder.name} could not be written ({one_line(error)}): free space on the disk of {self._out} "
                f"and start again; last complete checkpoint: {last_complete(self._out)}"
            ) from error
        barrier()
        if rank() == 0:
            prune(self._out, self._keep, None if self.best_update is None else checkpoint(self._out, self.best_update))

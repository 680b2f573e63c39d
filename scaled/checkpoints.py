"""Checkpoints that are complete or do not count, and resumption from the last complete one.

A checkpoint is a folder ``checkpoint-N`` as transformers' Trainer writes it, N being updates. Its
manifest, written last and at once, lists every file with size and checksum: a folder without one was
cut off, a folder that differs from it is corrupt. Older checkpoints go only after that.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

MANIFEST = "complete.json"


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's content; a reader, or a crash, sees the old or the new, never a part."""
    staged = path.with_name(f".{path.name}.new")
    with staged.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)


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
        facts: what a resumption must know: ranks, ZeRO stage, data, initial weights.
    """
    write_atomically(folder / MANIFEST, json.dumps({"files": files, **facts}, indent=1) + "\n")


def problem(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
    except FileNotFoundError:
        return "was cut off while it was written"
    except (OSError, ValueError, KeyError, TypeError):
        return f"has an unreadable {MANIFEST}"
    for name, (size, crc) in files.items():
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

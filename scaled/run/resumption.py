"""A run's folder belongs to one run: of this configuration, on these data, from these initial weights."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from filelock import BaseFileLock, FileLock, Timeout

from inspo.command_line import UserError
from scaled.config import NOT_DECISIVE, RANDOM, TrainConfig
from scaled.distributed import from_first, gathered, rank
from scaled.model.loading import weights_fingerprint
from scaled.model.random_weights import write_random_model
from scaled.run.prepare import Prepared
from scaled.training import checkpoints

logger = logging.getLogger(__name__)

T = TypeVar("T")


def claim_folder(config: TrainConfig) -> None:
    """Make the run's folder, or check that it belongs to this configuration.

    Raises:
        UserError: it cannot be written, or belongs to another one.
    """
    out = Path(config.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)  # ranks may meet here
    except OSError as error:
        raise UserError(f"out = {out}: cannot be written ({error.strerror}); name another folder") from None
    earlier = _kept(out).get("config")
    if not isinstance(earlier, dict) or not _trained(out):
        return
    now = config.resolved()
    changed = [
        f"{name} was {earlier.get(name)!r}"
        for name in now
        if name not in NOT_DECISIVE and earlier.get(name) != now[name]
    ]
    if changed:
        raise UserError(f"out = {out} holds a run of another configuration ({', '.join(changed)}): set another out")


def first_day(out: Path) -> dt.date:
    """The day that the chat template was told at a run's first start, if its folder says so; else today."""
    try:
        return dt.date.fromisoformat(_kept(out)["date"])
    except (ValueError, KeyError, TypeError):
        return dt.date.today()  # noqa: DTZ011  # the user's own


def _kept(out: Path) -> dict[str, Any]:
    """What the folder's config.json holds; nothing where there is none, or no object in it."""
    try:
        kept = json.loads((out / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _trained(out: Path) -> bool:
    """Whether an update was made: a start that failed before leaves nothing that another would mix with."""
    journal = out / "metrics.jsonl"
    return (
        (out / "run.json").exists()
        or bool(checkpoints.existing(out))
        or (journal.exists() and journal.stat().st_size > 0)
    )


def lock_folder(out: Path) -> BaseFileLock:
    """Hold a run's folder against other starts, until released or the process ends, however it ends.

    The lock is the kernel's (flock); over NFS it holds between machines where the server grants locks (version 4).

    Raises:
        UserError: another process holds it.
    """
    lock, owner = FileLock(out / ".lock"), out / ".owner"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = owner.read_text() if owner.exists() else "another process"
        raise UserError(f"out = {out} is in use by {who}: wait for it to end, or set another out") from None
    owner.write_text(f"process {os.getpid()} on {socket.gethostname()}")
    return lock


def check_finished(config: TrainConfig, ready: Prepared) -> None:
    """Compare a finished run with what it was made from and what it wrote.

    Raises:
        UserError: other data or initial weights, or files that are gone or changed.
    """
    out = Path(config.out)
    again = f"remove {out / 'run.json'} to have the result written again from its checkpoint, or set another out"
    try:
        record = json.loads((out / "run.json").read_text())
        made = {name: str(record[f"{of}_fingerprint"]) for name, of in _FINGERPRINTS.items()}
        made["reference"] = str(record.get("reference_weights_fingerprint"))
        files = {str(name): (int(size), int(crc)) for name, (size, crc) in record["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{out / 'run.json'} is not as it was written: {again}") from None
    now = {"data": ready.train.fingerprint, "validation": ready.validation.fingerprint}
    if config.model != RANDOM:
        now["weights"] = weights_fingerprint(ready.source, ready.architecture)
    now |= ready.reference_fingerprints
    if what := _other(made, now):
        raise UserError(f"{out} holds a run on other {what}: set another out to train on these")
    if not files:
        raise UserError(f"{out / 'run.json'} names no files of a result: {again}")
    for name, expected in files.items():
        path = out / name
        if not path.is_file() or checkpoints.file_sum(path) != expected:
            raise UserError(f"{path} is {'changed' if path.is_file() else 'gone'} since the run ended: {again}")


_FINGERPRINTS = {"data": "data", "validation": "validation", "weights": "initial_weights"}
"""What a run is made from -> what run.json calls its fingerprint."""

_WORDS = {
    "data": "data",
    "validation": "validation data",
    "weights": "initial weights",
    "reference": "weights of the reference",
}


def _other(made: Mapping[str, Any], now: Mapping[str, str]) -> str | None:
    """In words, the first thing that is another one now than a run was made from; None where nothing is."""
    return next((_WORDS[name] for name, value in now.items() if made.get(name) != value), None)


def on_first(act: Callable[[], T]) -> T:
    """What rank 0 does, and on every rank what comes of it: a value, or a mistake of the user's."""
    done: tuple[T | None, str | None] = None, None
    if rank() == 0:
        try:
            done = act(), None
        except UserError as error:
            done = None, str(error)
    value, problem = from_first(done)
    if problem is not None:
        raise UserError(problem)
    return cast("T", value)


def find_checkpoint(config: TrainConfig) -> Path | None:
    """The checkpoint to go on from, the same on all ranks; later ones are set aside, and named.

    Raises:
        UserError: it was made with another ZeRO stage.
    """
    folder: Path | None = None
    if rank() == 0:
        folder, wrong = checkpoints.latest(Path(config.out))
        for path, what in wrong.items():
            kept = checkpoints.set_aside(path)
            logger.warning("%s %s: not used%s", path.name, what, f", kept as {kept.name}" if kept else "")
        if folder is not None:
            logger.warning("going on from %s", folder.name)
    folder = from_first(folder)
    if folder is not None:
        stage = checkpoints.facts(folder).get("zero_stage")
        if stage != config.zero_stage:
            raise UserError(
                f"{folder} was made with zero_stage = {stage}, not {config.zero_stage}: "
                "start as before, or set another out"
            )
    return folder


def settle_fingerprints(config: TrainConfig, ready: Prepared, resume: Path | None) -> dict[str, str]:
    """Fingerprints of data and initial weights, which a resumed run must share with its checkpoint.

    With ``model: random`` the weights are made here: always anew at a start from nothing, so that those
    of an attempt that was given up are never trained.

    Returns:
        ``data`` and ``validation``, hashes of the tokens; ``weights``, of the initial weights; ``reference``, of the
        reference's, where it is another model.

    Raises:
        UserError: the checkpoint was made from others, or ranks differ.
    """
    if rank() == 0 and config.model == RANDOM and not (resume is not None and Path(ready.source).is_dir()):
        write_random_model(Path(ready.source), ready.architecture, ready.tokenizer, config.seed)
    weights = weights_fingerprint(ready.source, ready.architecture) if rank() == 0 else ""
    found = {
        "data": ready.train.fingerprint,
        "validation": ready.validation.fingerprint,
        "weights": from_first(weights),
        **ready.reference_fingerprints,
    }
    if any(other != found for other in gathered(found)):
        raise UserError(f"ranks read other records from {config.named('data')}: give all machines the same files")
    if resume is not None and (what := _other(checkpoints.facts(resume), found)):
        raise UserError(
            f"{resume} was made with other {what}: put them back to go on, or set another out to start anew"
        )
    return found

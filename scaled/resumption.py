"""A run's folder belongs to one run: of this configuration, on these data, from these initial weights."""

from __future__ import annotations

import json
import logging
import zlib
from pathlib import Path

from scaled import checkpoints
from scaled.base import write_base
from scaled.config import NOT_DECISIVE, RANDOM, ConfigError, TrainConfig
from scaled.data import fingerprint
from scaled.lifecycle import from_first, gathered, rank, ranks
from scaled.prepare import Prepared

logger = logging.getLogger(__name__)


def claim_folder(config: TrainConfig) -> None:
    """Make the run's folder, or check that it belongs to this configuration.

    Raises:
        ConfigError: it cannot be written, or belongs to another one.
    """
    out = Path(config.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)  # ranks may meet here
    except OSError as error:
        raise ConfigError(f"out = {out}: cannot be written ({error.strerror}); name another folder") from None
    try:
        earlier = json.loads((out / "config.json").read_text())["config"]
    except (OSError, ValueError, KeyError):
        return
    now = config.resolved()
    changed = [
        f"{name} was {earlier.get(name)!r}"
        for name in now
        if name not in NOT_DECISIVE and earlier.get(name) != now[name]
    ]
    if changed:
        raise ConfigError(f"out = {out} holds a run of another configuration ({', '.join(changed)}): set another out")


def claim_on_first(config: TrainConfig) -> None:
    """:func:`claim_folder` by rank 0, with its answer on every rank."""
    problem = None
    if rank() == 0:
        try:
            claim_folder(config)
        except ConfigError as error:
            problem = str(error)
    if problem := from_first(problem):
        raise ConfigError(problem)


def find_checkpoint(config: TrainConfig) -> Path | None:
    """The checkpoint to go on from, the same on all ranks; later ones are set aside, and named.

    Raises:
        ConfigError: it was made by other ranks or another ZeRO stage.
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
        facts = checkpoints.facts(folder)
        for name, now in (("ranks", ranks()), ("zero_stage", config.zero_stage)):
            if facts[name] != now:
                raise ConfigError(
                    f"{folder} was made with {name} = {facts[name]}, not {now}: start as before, or set another out"
                )
    return folder


def settle_identity(config: TrainConfig, ready: Prepared, resume: Path | None) -> dict[str, str]:
    """Fingerprints of data and initial weights, which a resumed run must share with its checkpoint.

    With ``model: random`` the weights are made here: always anew at a start from nothing, so that those
    of an attempt that was given up are never trained.

    Returns:
        ``data`` and ``validation``, hashes of the tokens; ``weights``, of the initial weights.

    Raises:
        ConfigError: the checkpoint was made from others, or ranks differ.
    """
    if rank() == 0 and config.model == RANDOM and not (resume is not None and Path(ready.source).is_dir()):
        write_base(Path(ready.source), ready.architecture, ready.tokenizer, config.seed)
    identity = {
        "data": fingerprint(ready.train.pairs),
        "validation": fingerprint(ready.held_out.pairs),
        "weights": from_first(weights_identity(ready) if rank() == 0 else ""),
    }
    if any(other != identity for other in gathered(identity)):
        raise ConfigError(f"ranks read other records from {config.data}: give all machines the same files")
    if resume is not None:
        facts = checkpoints.facts(resume)
        for name, now in identity.items():
            if facts.get(name) != now:
                key = {"data": "data", "validation": "held-out data", "weights": "initial weights"}[name]
                raise ConfigError(
                    f"{resume} was made with other {key}: put them back to go on, or set another out to start anew"
                )
    return identity


def weights_identity(ready: Prepared) -> str:
    """What tells initial weights apart: checksums of a folder's files, or the commit of a hub's repository."""
    folder = Path(ready.source)
    if not folder.is_dir():
        return f"{ready.source} at {getattr(ready.architecture, '_commit_hash', None)}"
    crc = 0
    for pattern in ("config.json", "*.safetensors", "*.bin"):
        for path in sorted(folder.glob(pattern)):
            crc = zlib.crc32(f"{path.name} {checkpoints.file_sum(path)}".encode(), crc)
    return f"crc32 {crc:08x}"

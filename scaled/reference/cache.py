"""Files of reference log-probs, under a key of everything that the numbers depend on.

A file carries its key and a checksum of its numbers, so what is read is either what was asked for,
whole, or nothing. Files appear under their name only when they are complete.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedConfig

from inspo.conditioning import LogpRequest, Role
from scaled.data.examples import Examples

logger = logging.getLogger(__name__)

Key = dict[str, str]
"""What the numbers depend on: the name of each part, and its value or a hash of it, in readable order."""

Span = tuple[int, int]

FORMAT = "2"
"""Counted up whenever the same key would mean other numbers or another layout."""

_NOT_ARCHITECTURE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache")


def reference_key(examples: Examples, requests: Sequence[LogpRequest], about: Mapping[str, str]) -> Key:
    """Everything that the log-probs of the examples depend on.

    Truncation is in the tokens, which are hashed as they are scored. Where no request has a context,
    separator and draft cap touch nothing, so objectives that differ in them alone share a file.

    Args:
        examples: the data, cut to its limits, and how trees are laid out.
        requests: the log-probs.
        about: what they depend on beside the data: weights, architecture, dtype, template, attention.
    """
    separator, context = examples.layout.separator, any(request.context is not None for request in requests)
    return {
        "format": FORMAT,
        **about,
        "data": examples.fingerprint,
        "separator": f"{list(separator.before_context)} {list(separator.before_target)}" if context else "no context",
        "draft_cap": str(examples.layout.draft_cap) if context else "no context",
        "requests": ", ".join(map(request_name, requests)),
    }


def architecture_digest(architecture: PreTrainedConfig) -> str:
    """Model type and a sha256 of every number of an architecture that decides what it computes."""
    parts = {name: value for name, value in architecture.to_dict().items() if name not in _NOT_ARCHITECTURE}
    text = json.dumps(parts, sort_keys=True, default=str)
    return f"{architecture.model_type} {hashlib.sha256(text.encode()).hexdigest()}"


def request_name(request: LogpRequest) -> str:
    """``chosen``, or ``chosen given rejected``: names in keys and files."""
    return request.target.value + ("" if request.context is None else f" given {request.context.value}")


def _request(name: str) -> LogpRequest:
    target, _, context = name.partition(" given ")
    return LogpRequest(Role(target), Role(context) if context else None)


def key_digest(key: Key) -> str:
    """Sha256 of a key, in hexadecimal."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


Columns = dict[LogpRequest, Tensor]
"""For each request (N,) log-probs of consecutive pairs in nats, summed over tokens."""


class UnusableReferenceError(ValueError):
    """A reference whose numbers are not finite, or cannot be exchanged. The message is one line with the fix."""


class UnusableFileError(ValueError):
    """A cache file that cannot be used: unreadable, cut short, changed, or made for something else."""


def write_columns(path: Path, key: Key, columns: Columns, span: Span) -> None:
    """Write numbers of the pairs ``span[0]:span[1]``. The file appears whole or not at all."""
    tensors = {request_name(request): tensor for request, tensor in columns.items()}
    metadata = {"key": json.dumps(key), "span": json.dumps(span), "checksum": _checksum(tensors)}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    save_file(tensors, unfinished, metadata)
    unfinished.replace(path)


def read_columns(path: Path, key: Key, span: Span) -> Columns:
    """Read what :func:`write_columns` wrote.

    Raises:
        UnusableFileError: anything but the whole numbers of this key and span, saying what is wrong.
    """
    tensors: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            for name in file.keys():  # noqa: SIM118  # not a dictionary
                # A copy: the file is mapped, and training must not read what becomes of it later.
                tensors[name] = file.get_tensor(name).clone()
        found, found_span = json.loads(metadata["key"]), tuple(json.loads(metadata["span"]))
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UnusableFileError(f"{path}: not a whole reference cache: {error}") from error
    if metadata.get("checksum") != _checksum(tensors):
        raise UnusableFileError(f"{path}: the numbers differ from their checksum")
    if different := [part for part in {**key, **found} if key.get(part) != found.get(part)]:
        part = different[0]
        raise UnusableFileError(
            f"{path}: made for other {' and '.join(different)}: "
            f"{part} is {_short(found.get(part))} there and {_short(key.get(part))} here"
        )
    if found_span != span:
        raise UnusableFileError(f"{path}: holds the pairs {found_span}, not {span}")
    return {_request(name): tensor for name, tensor in tensors.items()}


def _short(value: str | None) -> str:
    return "not given" if value is None else value if len(value) <= 80 else f"{value[:24]}..."


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.view(torch.uint8).numpy().data)
    return digest.hexdigest()


class CacheFolder:
    """The cache of one key in a folder: one finished file, and shards until it is there.

    Attributes:
        file: where the finished numbers are.
    """

    def __init__(self, folder: Path, key: Key, pairs: int) -> None:
        name = f"reference-{key_digest(key)[:20]}"
        self.file = folder / f"{name}.safetensors"
        self._key, self._span = key, (0, pairs)
        self._shards = folder / f"{name}.shards"

    def read(self) -> Columns | None:
        """The finished numbers, or None where there are none that can be used."""
        return self._usable(self.file, self._span)

    def read_shard(self, span: Span) -> Columns | None:
        """The numbers of some pairs from an unfinished pass, or None."""
        return self._usable(self._shard(span), span)

    def write_shard(self, span: Span, columns: Columns) -> None:
        """Keep the numbers of some pairs."""
        write_columns(self._shard(span), self._key, columns, span)

    def finish(self, spans: Sequence[Span]) -> None:
        """Join the shards into the finished file, with the key beside it in JSON, and delete them.

        Raises:
            UnusableReferenceError: a shard that another rank should have written.
        """
        parts = []
        for span in spans:
            part = self.read_shard(span)
            if part is None:
                raise UnusableReferenceError(
                    f"{self._shard(span)} is missing: the cache's folder must be shared by all ranks"
                )
            parts.append(part)
        joined = {request: torch.cat([part[request] for part in parts]) for request in parts[0]}
        write_columns(self.file, self._key, joined, self._span)
        sidecar = {"key": self._key, "pairs": self._span[1]}
        self.file.with_suffix(".json").write_text(json.dumps(sidecar, indent=2) + "\n", encoding="utf-8")
        for leftover in self._shards.iterdir():
            leftover.unlink()
        self._shards.rmdir()

    def _shard(self, span: Span) -> Path:
        return self._shards / f"{span[0]:08d}-{span[1]:08d}.safetensors"

    def _usable(self, path: Path, span: Span) -> Columns | None:
        if not path.exists():
            return None
        try:
            return read_columns(path, self._key, span)
        except UnusableFileError as error:
            logger.warning("computing again: %s", error)
            return None

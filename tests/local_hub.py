"""A hub on this machine: folders served as `huggingface_hub` asks for repositories, for processes of their own.

Give such a process :meth:`Hub.environment`: the endpoint is read when `huggingface_hub` is imported. Revisions are
folders' names, and each is its own commit.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote


class Hub(ThreadingHTTPServer):
    """Serves repositories until it is closed.

    Attributes:
        repositories: kind (``datasets`` or ``models``) and name -> revision -> folder.
        asked: every request, ``METHOD path``.
    """

    def __init__(self, repositories: Mapping[tuple[str, str], Mapping[str, Path]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories = repositories
        self.asked: list[str] = []

    def environment(self, cache: Path) -> dict[str, str]:
        """Variables of a process that takes this for the hub, with a cache of its own."""
        return {"HF_ENDPOINT": f"http://127.0.0.1:{self.server_port}", "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}


@contextmanager
def serving(repositories: Mapping[tuple[str, str], Mapping[str, Path]]) -> Iterator[Hub]:
    """A hub while a block runs."""
    with Hub(repositories) as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


def commit_of(folder: Path) -> str:
    """What stands for the commit of a folder's content: 40 hexadecimal digits."""
    digest = hashlib.sha1(usedforsecurity=False)
    for file in _files(folder):
        digest.update(file.encode() + (folder / file).read_bytes())
    return digest.hexdigest()


def _files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path, _, query = self.path.partition("?")
        self.server.asked.append(f"{self.command} {path}")
        api = re.fullmatch(
            r"/api/(datasets|models)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?", path
        )
        raw = re.fullmatch(r"/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if api:
            kind, name, verb, revision, rest = api.groups()
        elif raw:
            kind, name, revision, rest = raw.groups()
            verb = "resolve"
        else:
            return self._send(404, b"")
        folders = self.server.repositories.get((kind or "models", name))
        if folders is None:
            return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        revisions = {**folders, **{commit_of(folder): folder for folder in folders.values()}}
        folder = revisions.get(unquote(revision or "main"))
        if folder is None:
            return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        return self._of(folder, name, verb, unquote(rest or ""), parse_qs(query), body)

    def _of(self, folder: Path, name: str, verb: str | None, rest: str, query: dict, body: bytes) -> None:
        commit = commit_of(folder)
        if verb == "resolve":
            if not (folder / rest).is_file():
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            data = (folder / rest).read_bytes()
            return self._send(200, data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit})  # noqa: S324  # as git names it
        if verb == "paths-info":
            asked = json.loads(body)["paths"] if body[:1] == b"{" else parse_qs(body.decode())["paths"]
            found = [self._entry(folder, path) for path in asked if (folder / path).exists()]
        elif verb == "tree":
            within = folder / rest
            if not within.is_dir():
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            deep = query.get("recursive", ["false"])[0].lower() in ("true", "1")
            paths = sorted(within.rglob("*") if deep else within.iterdir())
            found = [self._entry(folder, str(path.relative_to(folder))) for path in paths]
        else:
            siblings = [{"rfilename": file} for file in _files(folder)]
            found = {"id": name, "sha": commit, "private": False, "tags": [], "downloads": 0, "siblings": siblings}
        return self._send(200, json.dumps(found).encode(), {"Content-Type": "application/json"})

    @staticmethod
    def _entry(folder: Path, path: str) -> dict[str, object]:
        if (folder / path).is_dir():
            return {"type": "directory", "path": path, "oid": "0" * 40, "size": 0}
        data = (folder / path).read_bytes()
        return {"type": "file", "path": path, "oid": hashlib.sha1(data).hexdigest(), "size": len(data)}  # noqa: S324  # as git names it

    def _send(self, status: int, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | dict(headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = _answer  # noqa: N815  # the standard library's names

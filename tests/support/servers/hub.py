"""A small Hugging Face Hub on loopback that serves folders, and can cut, corrupt, slow down and refuse."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.support.servers import running

LARGE = (".safetensors",)
"""What is stored beside git, by its SHA-256."""
REPO = "tiny/wan"
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@dataclass
class Faults:
    """What goes wrong. Counts are used up."""

    cuts: dict[str, int] = field(default_factory=dict)
    """How often the connection breaks half way through the rest of a file."""
    corrupt: dict[str, int] = field(default_factory=dict)
    """How often one byte of a file is another."""
    refusals: list[int] = field(default_factory=list)
    """Statuses that answer the next requests for a file."""
    gated: bool = False
    ignores_ranges: bool = False
    seconds_a_chunk: float = 0.0
    chunk_bytes: int = 4096
    entries: list[dict[str, object]] = field(default_factory=list)
    """More files that the list of a repository names."""
    silent: threading.Event | None = None
    """Files come only when it is set."""


class HubServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Path] = {}
        self.commits: dict[str, str] = {}
        self.faults = Faults()
        self.requests: list[tuple[str, str]] = []
        """(path of a file, its Range header) of each that was asked for."""
        self.authorizations: set[str] = set()
        """The Authorization headers of requests for a repository."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def publish(self, name: str, folder: Path) -> str:
        """Serve a folder as the main branch of owner/name, and give the commit."""
        content = "".join(f"{path}{_oid(path)}" for path in sorted(folder.rglob("*")) if path.is_file())
        self.repositories[name] = folder
        self.commits[name] = hashlib.sha1(content.encode(), usedforsecurity=False).hexdigest()
        return self.commits[name]

    def bytes_asked(self, path: str) -> list[str]:
        return [bounds for asked, bounds in self.requests if asked == path]


@contextmanager
def hub_server() -> Iterator[HubServer]:
    with running(HubServer()) as server:
        yield server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_GET(self) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts[:2] == ["api", "models"]:
            name, rest = "/".join(parts[2:4]), parts[4:]
        else:
            name, rest = "/".join(parts[:2]), parts[2:]
        folder = self.server.repositories.get(name)
        if folder is None:
            self._refuse(401, "RepoNotFound")
        elif self.server.faults.gated:
            self._refuse(403, "GatedRepo")
        elif len(rest) > 1 and rest[1] not in ("main", self.server.commits[name]):
            self._refuse(404, "RevisionNotFound")
        else:
            self.server.authorizations.add(self.headers.get("Authorization", ""))
            self._answer(name, folder, rest)

    def _answer(self, name: str, folder: Path, asked: list[str]) -> None:
        match asked:
            case [] | ["revision", _]:
                self._json({"id": name, "sha": self.server.commits[name], "tags": ["license:apache-2.0"]})
            case ["tree", _, *_]:
                entries = [_entry(folder, path) for path in sorted(folder.rglob("*")) if path.is_file()]
                self._json([*entries, *self.server.faults.entries])
            case ["resolve", _, *path]:
                self._file(name, folder, "/".join(path))
            case _:
                self._refuse(404, "EntryNotFound")

    def _file(self, name: str, folder: Path, path: str) -> None:
        faults, bounds = self.server.faults, self.headers.get("Range", "")
        self.server.requests.append((path, bounds))
        if not (folder / path).is_file():
            return self._refuse(404, "EntryNotFound")
        if faults.refusals:
            return self._refuse(faults.refusals.pop(0), "")
        data = bytearray((folder / path).read_bytes())
        if faults.corrupt.get(path, 0) > 0:
            faults.corrupt[path] -= 1
            data[-1] ^= 1
        start = 0 if faults.ignores_ranges or not bounds else int(bounds.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", self.server.commits[name])
        self.send_header("ETag", f'"{_oid(folder / path)}"')
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        self._body(path, bytes(data[start:]))

    def _body(self, path: str, data: bytes) -> None:
        faults = self.server.faults
        if faults.silent is not None:
            faults.silent.wait(30)
        is_cut = faults.cuts.get(path, 0) > 0
        if is_cut:
            faults.cuts[path] -= 1
            data = data[: len(data) // 2]
        while data:
            chunk, data = data[: faults.chunk_bytes], data[faults.chunk_bytes :]
            self.wfile.write(chunk)
            time.sleep(faults.seconds_a_chunk)
        if is_cut:
            self.close_connection = True
            self.wfile.flush()
            self.connection.shutdown(2)

    def _json(self, data: object) -> None:
        text = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""

    def handle(self) -> None:
        with suppress(ConnectionError):  # a client that was cancelled has hung up
            super().handle()


def _entry(folder: Path, path: Path) -> dict[str, object]:
    size = path.stat().st_size
    entry: dict[str, object] = {"type": "file", "path": path.relative_to(folder).as_posix(), "size": size}
    if path.suffix in LARGE:
        return {**entry, "oid": "0" * 40, "lfs": {"oid": _oid(path), "size": size, "pointerSize": 134}}
    return {**entry, "oid": _oid(path)}


def _oid(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix in LARGE:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()

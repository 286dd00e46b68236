"""A model's repository into the ordinary Hugging Face cache: pinned to a commit, resumed, checked, whole or not there.

huggingface_hub 2.4 begins a file anew after a cut, and checks no hash; a shard of 10 GB deserves better. So the bytes
are fetched here, into the cache's own layout, and its `model_index.json` comes last: until then there is no model.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError

from wan_pipeline.errors import Cancelled, ModelError
from wan_pipeline.models.cache import INDEX, CachedRepository, RemoteFile, Repository
from wan_pipeline.models.hub import Hub, in_words
from wan_pipeline.storage.files import RESERVE_BYTES, check_writable, storage_error

WEIGHTS = re.compile(r"(model|diffusion_pytorch_model)(-\d+-of-\d+)?\.safetensors(\.index\.json)?")
"""The plain ones: what has a variant in its name, such as `model.fp16.safetensors`, is a copy of these."""
SMALL = frozenset({".json", ".model", ".txt"})
TRIES_WITHOUT_PROGRESS = 5
SPEED_SECONDS = 10.0
READ_BYTES = 8 * 2**20

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TransferProgress:
    """One moment of a download, or of the checking of what is here."""

    file: str
    done_bytes: int
    total_bytes: int
    bytes_per_second: float = 0.0
    """Of late; 0 until it is known."""

    @property
    def eta_seconds(self) -> float | None:
        return (self.total_bytes - self.done_bytes) / self.bytes_per_second if self.bytes_per_second else None


class TransferObserver(Protocol):
    def transferred(self, transfer: TransferProgress) -> None: ...

    def cancelled(self) -> bool: ...


@dataclass(frozen=True)
class DownloadPlan:
    """What is to be fetched of one commit, and what of it is here."""

    repository: Repository
    branch: str | None
    """The branch that the commit was taken from; None if a tag or a commit was asked for."""
    files: tuple[RemoteFile, ...]
    missing: tuple[RemoteFile, ...]
    here_bytes: int
    """Of the files that are whole, and of the begun ones."""

    @property
    def total_bytes(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def needed_bytes(self) -> int:
        """What the disk must still hold."""
        return self.total_bytes - self.here_bytes


def plan_download(hub: Hub, repo: str, revision: str | None = None) -> DownloadPlan:
    """What there is to fetch, by the model index and the list of files. Raises ModelError."""
    repository = hub.look_up(repo, revision)
    files = needed_files(repository, hub.read_config(repository, INDEX))
    cached = CachedRepository(repo)
    missing = tuple(file for file in files if not _is_here(cached, repository.commit, file))
    begun = sum(min(_size(cached.part(file)), file.size) for file in missing)
    whole = sum(file.size for file in files) - sum(file.size for file in missing)
    branch = revision or constants.DEFAULT_REVISION
    return DownloadPlan(
        repository, branch if branch == constants.DEFAULT_REVISION else None, tuple(files), missing, whole + begun
    )


def needed_files(repository: Repository, index: dict[str, Any]) -> list[RemoteFile]:
    """The files that the index's components are made of, the index last. Raises ModelError if one has no weights."""
    components = {name for name, entry in index.items() if isinstance(entry, list) and entry and entry[0] is not None}
    files = [file for file in repository.files if _is_needed(PurePosixPath(file.path), components)]
    weighted = {PurePosixPath(file.path).parent.name for file in files if file.path.endswith(".safetensors")}
    for name in sorted(components):
        has_config = repository.file(f"{name}/config.json") is not None
        if has_config and name not in weighted:
            raise ModelError(f"{repository.name} has no .safetensors weights in {name}; choose another repository.")
    return [*files, *(file for file in repository.files if file.path == INDEX)]


def download(hub: Hub, order: DownloadPlan, observer: TransferObserver, pause_seconds: float = 1.0) -> Path:
    """Fetch what is missing and give the folder of the model. What has come stays, whatever happens.

    `pause_seconds` is how long to wait before the second try of a file. Raises ModelError, StorageError, Cancelled.
    """
    cached = CachedRepository(order.repository.name)
    commit = order.repository.commit
    check_writable(cached.root.parent)
    with cached.locked():
        _check_room(order, cached.root.parent)
        fetch = _Fetch(hub, order, cached, observer, pause_seconds)
        for file in order.files:
            if not _is_here(cached, commit, file):
                fetch.file(file)
            if not cached.pointer(commit, file.path).is_file():
                cached.link(commit, file)
        cached.pin(order.repository, list(order.files), order.branch)
    return cached.root / "snapshots" / commit


def damaged_files(repo: str, commit: str, observer: TransferObserver) -> list[str] | None:
    """Read all that was fetched of a commit: the files that are missing or not as published; None if unknown.

    Raises ModelError, Cancelled.
    """
    cached = CachedRepository(repo)
    files = cached.manifest(commit)
    if files is None:
        return None
    meter = Meter(observer, sum(file.size for file in files))
    damaged = []
    for file in files:
        path = cached.pointer(commit, file.path)
        meter.file = file.path
        if not path.is_file() or _size(path) != file.size or not _is_as_published(path, file, meter.add):
            damaged.append(file.path)
    return damaged


class _Fetch:
    """The files of one order, one after another."""

    def __init__(
        self, hub: Hub, order: DownloadPlan, cached: CachedRepository, observer: TransferObserver, pause_seconds: float
    ) -> None:
        self._hub = hub
        self._repository = order.repository
        self._cached = cached
        self._meter = Meter(observer, order.total_bytes, order.here_bytes)
        self._pause = pause_seconds

    def file(self, file: RemoteFile) -> None:
        """Bring it into the cache, whole and as published: what was damaged on the way or on the disk comes anew."""
        part = self._cached.part(file)
        self._meter.file = file.path
        for _ in range(2):
            self._complete(file, part)
            if _is_as_published(part, file, lambda count: self._meter.add(0)):
                self._cached.publish(part, file)
                return
            logger.warning("%s of %s arrived damaged", file.path, self._repository.name)
            self._meter.add(-file.size)
            part.unlink()
        raise ModelError(
            f"{file.path} of {self._repository.name} arrived damaged twice (its hash is not the published one) "
            "and was thrown away; try again later, or on another network."
        )

    def _complete(self, file: RemoteFile, part: Path) -> None:
        """Fetch until the size is right, again after each cut, and give up when nothing more comes."""
        part.parent.mkdir(parents=True, exist_ok=True)
        if _size(part) > file.size:
            self._meter.add(-file.size)
            part.unlink()
        tries = 0
        while (before := _size(part)) < file.size or not part.exists():
            try:
                with in_words(self._repository.name, self._hub.endpoint):
                    self._stream(file, part)
            except ModelError as error:
                tries = 1 if _size(part) > before else tries + 1
                if tries > TRIES_WITHOUT_PROGRESS or not _may_pass(error.__cause__):
                    raise
                logger.warning("%s", error)
                self._wait(self._pause * 2 ** (tries - 1))

    def _stream(self, file: RemoteFile, part: Path) -> None:
        start = _size(part)
        with self._hub.stream(self._repository, file, start) as response:
            try:
                with part.open("ab") as out:
                    if start and response.status_code != httpx2.codes.PARTIAL_CONTENT:  # it sends all from the start
                        out.truncate(0)
                        self._meter.add(-start)
                        start = 0
                    for chunk in response.iter_raw():
                        wanted = chunk[: max(file.size - start, 0)]
                        out.write(wanted)
                        self._meter.add(len(wanted))
                        start += len(chunk)
            except OSError as error:
                raise storage_error(part.parent, error) from error
        if start < file.size:
            raise httpx2.RemoteProtocolError(f"{start:,} of {file.size:,} bytes came of {file.path}")

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._meter.add(0)
            time.sleep(min(left, 0.2))


class Meter:
    """Counts bytes, tells the observer, and asks whether to go on."""

    def __init__(self, observer: TransferObserver, total: int, done: int = 0) -> None:
        self._observer = observer
        self._total, self._done = total, done
        self._marks = deque([(time.monotonic(), done)])
        """(when, bytes), about ten a second: the speed is that of the last seconds."""
        self.file = ""

    def add(self, count: int) -> None:
        """Raises Cancelled."""
        if self._observer.cancelled():
            raise Cancelled("The download was stopped.")
        self._done += count
        now = time.monotonic()
        if now - self._marks[-1][0] > 0.1:
            self._marks.append((now, self._done))
        while now - self._marks[0][0] > SPEED_SECONDS and len(self._marks) > 2:
            self._marks.popleft()
        (since, before) = self._marks[0]
        speed = max(self._done - before, 0) / (now - since) if now - since > 0.5 else 0.0
        self._observer.transferred(TransferProgress(self.file, self._done, self._total, speed))


def _is_needed(path: PurePosixPath, components: set[str]) -> bool:
    if len(path.parts) != 2 or path.parts[0] not in components:
        return False
    return _is_weights(path) or (path.suffix in SMALL and not path.name.endswith(".safetensors.index.json"))


def _is_weights(path: PurePosixPath) -> bool:
    return WEIGHTS.fullmatch(path.name) is not None


def _is_here(cached: CachedRepository, commit: str, file: RemoteFile) -> bool:
    """Whole by its size; its hash was checked when it came."""
    return any(
        path.is_file() and _size(path) == file.size for path in (cached.blob(file), cached.pointer(commit, file.path))
    )


def _is_as_published(path: Path, file: RemoteFile, read: Callable[[int], None]) -> bool:
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
    try:
        with path.open("rb") as content:
            while chunk := content.read(READ_BYTES):
                digest.update(chunk)
                read(len(chunk))
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error}); check the disk.") from error
    return digest.hexdigest() == file.etag


def _check_room(order: DownloadPlan, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < order.needed_bytes + RESERVE_BYTES:
        raise ModelError(
            f"{order.repository.name} needs {order.needed_bytes / 1e9:,.1f} GB more and the disk of {folder} has "
            f"{free / 1e9:,.1f} GB free; free some space, or set HF_HOME to a folder on another disk."
        )


def _may_pass(error: BaseException | None) -> bool:
    """Whether it is worth another try: a cut, silence, or a server that is overloaded."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in (408, 429, 500, 502, 503, 504)
    return isinstance(error, httpx2.TransportError)


def _size(path: Path) -> int:
    """Bytes of a file; 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

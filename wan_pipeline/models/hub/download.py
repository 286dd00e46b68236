"""Downloads a model's repository into the Hugging Face cache: pinned to a commit, resumed, verified, all or nothing.

huggingface_hub 2.4 starts a file again after a lost connection and verifies no hash, which is too little for shards of
10 GB. So this module downloads the bytes itself, into the same cache. `model_index.json` comes last: without it the
cache holds no model.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError

from wan_pipeline.errors import ModelError
from wan_pipeline.models.hub.cache import CachedRepository, RemoteFile, Repository
from wan_pipeline.models.hub.client import Hub, model_errors
from wan_pipeline.models.reading.configs import CONFIG_SUFFIXES, INDEX, Config, components
from wan_pipeline.models.transfer import READ_BYTES, Meter, TransferObserver, check_free_space
from wan_pipeline.storage.files import check_writable, storage_error

WEIGHTS = re.compile(r"(model|diffusion_pytorch_model)(-\d+-of-\d+)?\.safetensors(\.index\.json)?")
"""A name with a variant in it, such as `model.fp16.safetensors`, is a second copy of the same weights."""
MAX_FAILURES = 5
"""Tries in a row that may bring no byte of a file."""
TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
CANCEL_POLL_SECONDS = 0.2

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DownloadPlan:
    """The files of one commit that a model needs, and how much of them is in the cache."""

    repository: Repository
    branch: str | None
    """The branch whose commit this is; None if a tag or a commit was asked for."""
    files: tuple[RemoteFile, ...]
    missing: tuple[RemoteFile, ...]
    present_bytes: int
    """Bytes in the cache, unfinished files included."""

    @property
    def total_bytes(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def needed_bytes(self) -> int:
        """Left to download."""
        return self.total_bytes - self.present_bytes


def plan_download(hub: Hub, repo: str, revision: str | None = None) -> DownloadPlan:
    """Compare a repository on the Hub with the cache. Raises ModelError."""
    repository = hub.look_up(repo, revision)
    files = needed_files(repository, hub.read_config(repository, INDEX))
    cached = CachedRepository(repo)
    missing = tuple(file for file in files if not _is_present(cached, repository.commit, file))
    complete = sum(file.size for file in files) - sum(file.size for file in missing)
    unfinished = sum(min(_size(cached.part(file)), file.size) for file in missing)
    branch = constants.DEFAULT_REVISION if revision in (None, constants.DEFAULT_REVISION) else None
    return DownloadPlan(repository, branch, tuple(files), missing, complete + unfinished)


def needed_files(repository: Repository, index: Config) -> list[RemoteFile]:
    """The files of the components in the model index, and the index itself, last.

    Raises ModelError if a component has no weights in safetensors format.
    """
    names = components(index)
    files = [file for file in repository.files if _is_needed(PurePosixPath(file.path), names)]
    have_weights = {PurePosixPath(file.path).parent.name for file in files if file.path.endswith(".safetensors")}
    for name in sorted(names):
        if repository.file(f"{name}/config.json") is not None and name not in have_weights:
            raise ModelError(f"{repository.name} has no .safetensors weights in {name}; choose another repository.")
    return [*files, *(file for file in repository.files if file.path == INDEX)]


def download(hub: Hub, plan: DownloadPlan, observer: TransferObserver, pause_seconds: float = 1.0) -> Path:
    """Download what is missing and give the model's folder. Bytes that have arrived are kept, whatever happens.

    `pause_seconds` passes before the second try of a file, and twice as long before each further one.
    Raises ModelError, StorageError, Cancelled.
    """
    cached = CachedRepository(plan.repository.name)
    commit, folder = plan.repository.commit, cached.root.parent
    check_writable(folder)
    with cached.locked():
        remedy = "set HF_HOME to a folder on another disk"
        check_free_space(folder, plan.needed_bytes, plan.repository.name, remedy)
        downloader = _Downloader(hub, plan, cached, observer, pause_seconds)
        for file in plan.files:
            if not _is_present(cached, commit, file):
                downloader.download(file)
            if not cached.pointer(commit, file.path).is_file():
                cached.link(commit, file)
        cached.pin(plan.repository, plan.files, plan.branch)
    return cached.folder(commit)


def damaged_files(repo: str, commit: str, observer: TransferObserver) -> list[str] | None:
    """Hash every file of a commit: the paths that are missing or differ from the Hub; None without a manifest.

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
        if not path.is_file() or _size(path) != file.size or not _has_published_hash(path, file, meter.add):
            damaged.append(file.path)
    return damaged


class _Downloader:
    """Downloads the files of one plan, one after another."""

    def __init__(
        self, hub: Hub, plan: DownloadPlan, cached: CachedRepository, observer: TransferObserver, pause_seconds: float
    ) -> None:
        self._hub = hub
        self._repository = plan.repository
        self._cached = cached
        self._meter = Meter(observer, plan.total_bytes, plan.present_bytes)
        self._pause_seconds = pause_seconds

    def download(self, file: RemoteFile) -> None:
        """Bring a file into the cache, verified. What was damaged on the way or on the disk is downloaded again, once.

        Raises ModelError, StorageError, Cancelled.
        """
        part = self._cached.part(file)
        self._meter.file = file.path
        for _ in range(2):
            self._complete(file, part)
            if _has_published_hash(part, file, lambda _: self._meter.add(0)):
                self._cached.publish(part, file)
                return
            logger.warning("%s of %s arrived damaged", file.path, self._repository.name)
            self._meter.add(-file.size)
            part.unlink()
        raise ModelError(
            f"{file.path} of {self._repository.name} arrived damaged twice (its hash is not the published one) "
            "and was deleted; try again later, or on another network."
        )

    def _complete(self, file: RemoteFile, part: Path) -> None:
        """Resume until the size is right. Raises ModelError when several tries in a row bring nothing."""
        part.parent.mkdir(parents=True, exist_ok=True)
        if _size(part) > file.size:
            self._meter.add(-file.size)
            part.unlink()
        failures = 0
        while (before := _size(part)) < file.size or not part.exists():
            try:
                with model_errors(self._repository.name, self._hub.endpoint):
                    self._stream(file, part)
            except ModelError as error:
                failures = 1 if _size(part) > before else failures + 1
                if failures > MAX_FAILURES or not _is_transient(error.__cause__):
                    raise
                logger.warning("%s", error)
                self._wait(self._pause_seconds * 2 ** (failures - 1))

    def _stream(self, file: RemoteFile, part: Path) -> None:
        """Append what the Hub sends. Raises httpx2.RemoteProtocolError if it ends early."""
        start = _size(part)
        with self._hub.stream(self._repository, file, start) as response:
            try:
                with part.open("ab") as out:
                    if start and response.status_code != httpx2.codes.PARTIAL_CONTENT:  # the server ignores ranges
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
            raise httpx2.RemoteProtocolError(f"{start:,} of {file.size:,} bytes of {file.path} arrived")

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._meter.add(0)  # so that it can be cancelled while it waits
            time.sleep(min(left, CANCEL_POLL_SECONDS))


def _is_needed(path: PurePosixPath, names: dict[str, str]) -> bool:
    if len(path.parts) != 2 or path.parts[0] not in names:
        return False
    if WEIGHTS.fullmatch(path.name):
        return True
    return path.suffix in CONFIG_SUFFIXES and not path.name.endswith(".safetensors.index.json")


def _is_present(cached: CachedRepository, commit: str, file: RemoteFile) -> bool:
    """Whether a file is complete, by its size; its hash was verified when it was downloaded."""
    return any(
        path.is_file() and _size(path) == file.size for path in (cached.blob(file), cached.pointer(commit, file.path))
    )


def _has_published_hash(path: Path, file: RemoteFile, on_read: Callable[[int], None]) -> bool:
    """Hash a file as the Hub does. `on_read` gets the bytes of each chunk, and may raise to stop."""
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
    try:
        with path.open("rb") as content:
            while chunk := content.read(READ_BYTES):
                digest.update(chunk)
                on_read(len(chunk))
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error}); check the disk.") from error
    return digest.hexdigest() == file.etag


def _is_transient(error: BaseException | None) -> bool:
    """Whether another try may succeed: a lost connection, a timeout, an overloaded server."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in TRANSIENT_STATUSES
    return isinstance(error, httpx2.TransportError)


def _size(path: Path) -> int:
    """Bytes of a file; 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

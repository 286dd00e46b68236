"""The Hugging Face cache: where a repository's files are on the disk. It is shared with every other program.

    models--owner--name/blobs/<etag>              a file, named by its hash; `<etag>.incomplete` while it is downloaded
    models--owner--name/snapshots/<commit>/<path>  a link to it
    models--owner--name/refs/<branch>             the commit of a branch

Wan Studio adds `refs/wan-studio`, the commit that it uses whatever other programs download later, and
`wan-studio/<commit>.json`, a manifest with the size and hash of each file, for `verify`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

from filelock import FileLock, Timeout
from huggingface_hub import constants
from pydantic import Field

from wan_pipeline.errors import ModelError
from wan_pipeline.models.reading.configs import INDEX, MAX_CONFIG_BYTES
from wan_pipeline.storage.files import storage_error, whole_file
from wan_pipeline.storage.outside import OutsideDataError, parse, read_json_file

PINNED = "wan-studio"
COMMIT = re.compile("[0-9a-f]{7,64}")
MAX_FILE_BYTES = 2**50
PLAIN_PATH = r"^[A-Za-z0-9_+-][A-Za-z0-9_.+ -]*(/[A-Za-z0-9_+-][A-Za-z0-9_.+ -]*)*$"
"""A path that stays within its folder and means the same on every system."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository, with what is needed to download and verify it."""

    path: Annotated[str, Field(pattern=PLAIN_PATH)]
    """Relative to the top of the repository, with slashes."""
    size: Annotated[int, Field(ge=0, le=MAX_FILE_BYTES)]
    """Bytes."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None
    """None for a small file, which git itself stores."""
    git_sha1: Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
    """Hash of the git blob: a header, then the content; for a large file that of the pointer in its place."""

    @property
    def etag(self) -> str:
        """The name of the file's blob in the cache."""
        return self.sha256 or self.git_sha1


@dataclass(frozen=True)
class Repository:
    """One commit of a repository."""

    name: str
    """owner/name."""
    commit: str
    licence: str | None
    files: tuple[RemoteFile, ...]

    def file(self, path: str) -> RemoteFile | None:
        return next((file for file in self.files if file.path == path), None)


@dataclass(frozen=True)
class CachedRepository:
    """The folder of one repository in the cache. It need not exist."""

    name: str

    @property
    def root(self) -> Path:
        return Path(constants.HF_HUB_CACHE) / f"models--{self.name.replace('/', '--')}"

    def blob(self, file: RemoteFile) -> Path:
        return self.root / "blobs" / file.etag

    def part(self, file: RemoteFile) -> Path:
        """The bytes of a file that have been downloaded so far."""
        return self.root / "blobs" / f"{file.etag}.incomplete"

    def folder(self, commit: str) -> Path:
        """The files of a commit, by their own names."""
        return self.root / "snapshots" / commit

    def pointer(self, commit: str, path: str) -> Path:
        return self.folder(commit) / Path(path)

    def snapshot(self) -> Path | None:
        """The folder of the pinned commit, else that of the main branch; None if neither has a model index."""
        for ref in (PINNED, constants.DEFAULT_REVISION):
            commit = self._ref(ref)
            if commit and self.pointer(commit, INDEX).is_file():
                return self.folder(commit)
        return None

    def pinned(self) -> str | None:
        """The commit that the studio pinned; None if it never downloaded the repository completely."""
        return self._ref(PINNED)

    def is_begun(self) -> bool:
        """Whether an unfinished download can be resumed."""
        return any((self.root / "blobs").glob("*.incomplete")) or (
            self.snapshot() is None and any((self.root / "snapshots").glob("*/*"))
        )

    def publish(self, part: Path, file: RemoteFile) -> None:
        """Flush a complete, checked file to the disk and give it its name. Raises StorageError."""
        try:
            with part.open("rb+") as content:
                os.fsync(content.fileno())
            part.replace(self.blob(file))
        except OSError as error:
            raise storage_error(part.parent, error) from error

    def link(self, commit: str, file: RemoteFile) -> None:
        """Link a blob into the folder of its commit, or move it there where links are not allowed (some Windows).

        Raises StorageError.
        """
        pointer, blob = self.pointer(commit, file.path), self.blob(file)
        try:
            pointer.parent.mkdir(parents=True, exist_ok=True)
            pointer.unlink(missing_ok=True)
            try:
                pointer.symlink_to(os.path.relpath(blob, pointer.parent))
            except OSError:
                shutil.move(blob, pointer)
        except OSError as error:
            raise storage_error(pointer.parent, error) from error

    def pin(self, repository: Repository, files: Sequence[RemoteFile], branch: str | None) -> None:
        """Write the manifest of a complete download and make its commit the one in use. Raises StorageError."""
        manifest = {file.path: {"size": file.size, "sha256": file.sha256, "git_sha1": file.git_sha1} for file in files}
        with whole_file(self._manifest(repository.commit)) as part:
            part.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        for ref in (PINNED, *([branch] if branch else [])):
            with whole_file(self.root / "refs" / ref) as part:
                part.write_text(repository.commit, encoding="utf-8")

    def has_manifest(self, commit: str) -> bool:
        """Whether the studio has downloaded this commit completely."""
        return self._manifest(commit).is_file()

    def manifest(self, commit: str) -> list[RemoteFile] | None:
        """The files of a commit that the studio downloaded; None if others did. Raises ModelError if unreadable."""
        path = self._manifest(commit)
        try:
            table = parse(dict[str, dict[str, Any]], read_json_file(path, MAX_CONFIG_BYTES))
            return [parse(RemoteFile, {**facts, "path": name}) for name, facts in table.items()]
        except FileNotFoundError:
            return None
        except (OSError, OutsideDataError) as error:
            raise ModelError(f"{path} cannot be read ({error}); download the model again.") from error

    def forget(self, commit: str, path: str) -> None:
        """Remove a damaged file, so that the next download replaces it. Raises StorageError."""
        pointer = self.pointer(commit, path)
        try:
            blob = pointer.resolve()
            pointer.unlink(missing_ok=True)
            blob.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(pointer.parent, error) from error

    def remove(self) -> int:
        """Remove the repository and give the bytes freed. It disappears at once, then its files are deleted.

        Raises StorageError.
        """
        if not self.root.exists():
            return 0
        doomed = self.root.with_name(f".removing-{uuid4().hex[:8]}")
        try:
            files = [path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink()]
            size = sum(path.stat().st_size for path in files)
            self.root.rename(doomed)
            shutil.rmtree(doomed)
        except OSError as error:
            raise storage_error(self.root, error) from error
        return size

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from downloading or removing it. Raises ModelError if one does so now."""
        path = self.root.parent / ".locks" / self.root.name / "wan-studio.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path, timeout=0):
                yield
        except Timeout:
            raise ModelError(f"{self.name} is being downloaded by another program; wait until it is done.") from None
        except OSError as error:
            raise storage_error(path.parent, error) from error

    def _ref(self, name: str) -> str | None:
        with suppress(OSError, ValueError):
            commit = (self.root / "refs" / name).read_text(encoding="utf-8").strip()
            return commit if COMMIT.fullmatch(commit) else None
        return None

    def _manifest(self, commit: str) -> Path:
        return self.root / "wan-studio" / f"{commit}.json"

"""The ordinary Hugging Face cache: where a repository's files lie. Shared with every other program of this machine.

    models--owner--name/blobs/<hash>              a file, by its hash; `<hash>.incomplete` until it is whole
    models--owner--name/snapshots/<commit>/<path>  a link to it
    models--owner--name/refs/<branch>             the commit that a branch was at

Ours are `refs/wan-studio`, the commit that the studio works with whatever others fetch later, and
`wan-studio/<commit>.json`, the sizes and hashes of what was fetched, for `verify`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout
from huggingface_hub import constants

from wan_pipeline.errors import ModelError
from wan_pipeline.storage.files import storage_error, whole_file

PINNED = "wan-studio"
INDEX = "model_index.json"


@dataclass(frozen=True)
class RemoteFile:
    path: str
    """With slashes, from the repository's root."""
    size: int
    sha256: str | None
    """None for small files, which git itself holds."""
    git_sha1: str
    """Of git's blob: a header, then the content; for a large file that of the pointer in its place."""

    @property
    def etag(self) -> str:
        """What the Hugging Face cache calls the file."""
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
    """The cache's folder of one repository; it need not be there."""

    name: str

    @property
    def root(self) -> Path:
        return Path(constants.HF_HUB_CACHE) / f"models--{self.name.replace('/', '--')}"

    def blob(self, file: RemoteFile) -> Path:
        return self.root / "blobs" / file.etag

    def part(self, file: RemoteFile) -> Path:
        """What has come of a file so far."""
        return self.root / "blobs" / f"{file.etag}.incomplete"

    def pointer(self, commit: str, path: str) -> Path:
        return self.root / "snapshots" / commit / Path(path)

    def snapshot(self) -> Path | None:
        """The commit's folder that the studio pinned, else that of the main branch; None if no model index is there."""
        for ref in (PINNED, constants.DEFAULT_REVISION):
            with suppress(OSError, ValueError):
                commit = (self.root / "refs" / ref).read_text(encoding="utf-8").strip()
                folder = self.root / "snapshots" / commit
                if commit and (folder / INDEX).is_file():
                    return folder
        return None

    def pinned(self) -> str | None:
        """The commit that the studio pinned; None if it never fetched the repository whole."""
        try:
            return (self.root / "refs" / PINNED).read_text(encoding="utf-8").strip() or None
        except (OSError, ValueError):
            return None

    def is_begun(self) -> bool:
        """Whether a download has left something here that it can go on with."""
        return any((self.root / "blobs").glob("*.incomplete")) or (
            self.snapshot() is None and any((self.root / "snapshots").glob("*/*"))
        )

    def publish(self, part: Path, file: RemoteFile) -> None:
        """A file that is whole and checked gets its name."""
        try:
            with part.open("rb+") as whole:
                os.fsync(whole.fileno())
            part.replace(self.blob(file))
        except OSError as error:
            raise storage_error(part.parent, error) from error

    def link(self, commit: str, file: RemoteFile) -> None:
        """Let a file be seen in its commit's folder; where there are no links, on some Windows, it moves there."""
        pointer, blob = self.pointer(commit, file.path), self.blob(file)
        try:
            pointer.parent.mkdir(parents=True, exist_ok=True)
            _remove(pointer)
            try:
                pointer.symlink_to(os.path.relpath(blob, pointer.parent))
            except OSError:
                shutil.move(blob, pointer)
        except OSError as error:
            raise storage_error(pointer.parent, error) from error

    def pin(self, repository: Repository, files: list[RemoteFile], branch: str | None) -> None:
        """All is here: from now on this commit is the model."""
        table = {file.path: {"size": file.size, "sha256": file.sha256, "git_sha1": file.git_sha1} for file in files}
        with whole_file(self._manifest(repository.commit)) as part:
            part.write_text(json.dumps(table, indent=1), encoding="utf-8")
        for ref in (PINNED, *([branch] if branch else [])):
            with whole_file(self.root / "refs" / ref) as part:
                part.write_text(repository.commit, encoding="utf-8")

    def manifest(self, commit: str) -> list[RemoteFile] | None:
        """What was fetched of a commit, if the studio has fetched it. Raises ModelError for an unreadable list."""
        path = self._manifest(commit)
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            return [RemoteFile(name, fact["size"], fact["sha256"], fact["git_sha1"]) for name, fact in table.items()]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{path} cannot be read ({error}); download the model again.") from error

    def forget(self, commit: str, path: str) -> None:
        """Take a damaged file out of the cache, so that the next download fetches it."""
        pointer = self.pointer(commit, path)
        blob = pointer.resolve()
        _remove(pointer)
        _remove(blob)

    def remove(self) -> int:
        """All of the repository, at once, and the bytes it took: first the folder is nobody's, then it goes."""
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
        """Raises ModelError if another program of ours is fetching or removing it."""
        path = self.root.parent / ".locks" / self.root.name / "wan-studio.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path, timeout=0):
                yield
        except Timeout:
            raise ModelError(f"{self.name} is being downloaded by another program; wait for it to end.") from None
        except OSError as error:
            raise storage_error(path.parent, error) from error

    def _manifest(self, commit: str) -> Path:
        return self.root / "wan-studio" / f"{commit}.json"


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)

"""The input files of a clip: found and hashed on the studio's machine, kept by hash on a node."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path, PurePosixPath

from wan_pipeline.clips.inputs.files import InputFiles
from wan_pipeline.cluster.wire import CHUNK_BYTES, NodeCalls, SentFile
from wan_pipeline.errors import ImageError, NodeLost, UserError
from wan_pipeline.lora.library import SUFFIX, LoraLibrary
from wan_pipeline.progress import Cancellable, check_cancelled
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import storage_error, whole_file
from wan_pipeline.storage.hashes import SHA256, FileHashes

MAX_KEPT_BYTES = 32 * 2**30
"""Of sent files on a node. The next clip that needs one which was removed has it sent again."""
IN_USE_SECONDS = 3600.0
"""Files used so lately are kept all the same: a clip's files may still be arriving, or being read."""


class StudioFiles:
    """The files of the studio's machine."""

    def __init__(self, settings: Settings) -> None:
        self._inputs = InputFiles(settings.inputs)
        self._loras = LoraLibrary.of(settings)
        self._hashes = FileHashes(settings.cache / "hashes")

    def of(self, request: GenerationRequest) -> dict[SentFile, Path]:
        """What a clip is made from, beside its model.

        Raises UserError for a file that is not there, or whose name could mean another place on a node.
        """
        files: dict[SentFile, Path] = {}
        for name in request.input_names:
            path = self._inputs.find(name)
            if path is None or not path.is_file():
                raise ImageError(f"The input {name[:16]} is no longer in the workspace; choose the file again.")
            files[SentFile(path.name, self._sha256(path), is_lora=False)] = path
        for lora in request.loras:
            for path in self._paths(lora.name):
                name, expert = self._name_of(path), self._loras.expert_of(path)
                files[SentFile(name, self._sha256(path), is_lora=True, expert=expert)] = path
        for file in files:
            _safe(file)
        return files

    def _paths(self, name: str) -> list[Path]:
        """A LoRA's files; with the half of a pair that is used alone also the other, which says what it is half of."""
        paths = self._loras.find(name).paths
        return [*paths, *(other for path in paths if len(paths) == 1 and (other := self._loras.counterpart(path)))]

    def _name_of(self, path: Path) -> str:
        """Its path below the folder of LoRAs that it is in, by which it has its name."""
        folder = next(folder for folder in self._loras.folders if path.is_relative_to(folder))
        return path.relative_to(folder).as_posix()

    def _sha256(self, path: Path) -> str:
        try:
            return self._hashes.sha256(path)
        except OSError as error:
            raise storage_error(path.parent, error) from error


def send(files: dict[SentFile, Path], node: NodeCalls, observer: Cancellable) -> None:
    """Send a node those files that it does not have. Raises NodeLost, StorageError or Cancelled."""
    missing = set(node.missing(tuple(files)))
    for file, path in files.items():
        if file.sha256 in missing:
            missing.remove(file.sha256)
            _send(file.sha256, path, node, observer)


def _send(sha256: str, path: Path, node: NodeCalls, observer: Cancellable) -> None:
    try:
        size, offset = path.stat().st_size, 0
        with path.open("rb") as opened:
            while chunk := opened.read(CHUNK_BYTES):
                check_cancelled(observer)
                node.receive(sha256, offset, chunk, is_last=offset + len(chunk) >= size)
                offset += len(chunk)
    except OSError as error:
        raise storage_error(path.parent, error) from error


class NodeFiles:
    """The files that were sent to a node: kept by hash, laid out under their names for one clip.

    Several workers of a machine share the kept files; each has a layout of its own.
    """

    def __init__(self, kept: Path, inputs: Path, loras: Path, part: Path) -> None:
        """`kept` and `inputs` are shared; `loras` and `part`, where a file arrives, belong to the worker."""
        self._kept = kept
        self._inputs = inputs
        self._loras = loras
        self._part = part
        for folder in (kept, inputs, loras):
            folder.mkdir(parents=True, exist_ok=True)
        self._drop_oldest()

    def missing(self, files: tuple[SentFile, ...]) -> tuple[str, ...]:
        """Hashes of those that are not kept. The others are used now, and so kept for a while."""
        return tuple(dict.fromkeys(file.sha256 for file in files if not _touched(self._path(file.sha256))))

    def receive(self, sha256: str, offset: int, content: bytes, *, is_last: bool) -> None:
        """Write a part at its offset, which a repeated call does again. Raises StorageError, and NodeLost."""
        if self._path(sha256).is_file():  # also after the last part, whose answer may have been lost
            return
        try:
            with self._part.open("r+b" if offset else "wb") as part:
                part.seek(offset)
                part.write(content)
            if not is_last:
                return
            with self._part.open("rb") as whole:
                arrived = hashlib.file_digest(whole, "sha256").hexdigest()
            if arrived != sha256:
                raise NodeLost("An input file did not arrive as it was sent.")
            self._part.replace(self._path(sha256))
        except OSError as error:
            raise storage_error(self._kept, error) from error
        self._drop_oldest()

    def lay_out(self, files: tuple[SentFile, ...]) -> None:
        """Put the files where a clip looks for them, and no other LoRAs. Raises UserError for a name that leads out."""
        try:
            if self._loras.exists():
                shutil.rmtree(self._loras)  # an old one of the same name would be used
            self._loras.mkdir(parents=True)
        except OSError as error:
            raise storage_error(self._loras, error) from error
        for file in files:
            name, kept = _safe(file), self._path(file.sha256)
            if file.is_lora:
                _link(kept, self._loras / name)
            elif not _touched(self._inputs / name):  # its name is the hash of its pixels
                _link(kept, self._inputs / name)

    def _drop_oldest(self) -> None:
        """Remove what was used longest ago until MAX_KEPT_BYTES are left, and what never arrived whole."""
        for folder in (self._kept, self._inputs):  # second names of the same files, where the disk has such names
            left = MAX_KEPT_BYTES
            for path, facts in _newest_first(folder):
                left -= facts.st_size
                is_over = left < 0 or path.suffix == ".part"
                if is_over and facts.st_mtime < time.time() - IN_USE_SECONDS:
                    with suppress(OSError):  # another worker has removed it
                        path.unlink(missing_ok=True)

    def _path(self, sha256: str) -> Path:
        if not SHA256.fullmatch(sha256):
            raise UserError(f"'{sha256[:80]}' is no SHA-256.")
        return self._kept / sha256


def _touched(path: Path) -> bool:
    """Whether the file is there; then it counts as used now."""
    try:
        os.utime(path)
    except OSError:
        return path.is_file()
    return True


def _newest_first(folder: Path) -> list[tuple[Path, os.stat_result]]:
    found = []
    for path in folder.iterdir():
        with suppress(OSError):  # another worker has removed it
            found.append((path, path.stat()))
    return sorted(found, key=lambda pair: pair[1].st_mtime, reverse=True)


def _safe(file: SentFile) -> PurePosixPath:
    name = PurePosixPath(file.name)
    if name.is_absolute() or ".." in name.parts or "\\" in file.name or ":" in file.name:
        raise UserError(
            f"The file '{file.name[:80]}' cannot be sent to another machine, where its name may mean another folder; "
            "give it a name without ':', '\\' and '..'."
        )
    if file.is_lora and name.suffix != SUFFIX:
        raise UserError(f"'{file.name[:80]}' is no LoRA; its name must end with {SUFFIX}.")
    return name


def _link(kept: Path, target: Path) -> None:
    """A second name of a kept file; a copy where the disk has no such names."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):
            os.link(kept, target)
            return
        with whole_file(target) as part:
            shutil.copyfile(kept, part)
    except OSError as error:
        raise storage_error(target.parent, error) from error

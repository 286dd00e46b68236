"""Files that guests send for a later request, each under a name that cannot be guessed, for the key that sent it.

A guest never names a path: a name that is not an upload's is never looked up on the disk.
"""

from __future__ import annotations

import io
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import BinaryIO
from uuid import uuid4

from wan_pipeline.errors import StorageError, UserError
from wan_pipeline.storage.temporary import temporary_folder

MAX_BYTES_OF_KEY = 256 * 2**20
MAX_BYTES = 2 * 2**30
"""Limit for all keys together."""
LEAST_BYTES = 2**16
"""The least that a file counts for, against a flood of empty ones."""
LIFE_SECONDS = 86_400.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Upload:
    path: Path
    key_id: str
    size: int
    at: float


class Uploads:
    """Uploads of one server, in a folder of their own that goes when the server ends.

    What is older than a day is removed when the next file comes.
    """

    def __init__(
        self,
        parent: Path,
        max_of_key: int = MAX_BYTES_OF_KEY,
        max_in_all: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`parent` is where the folder is made, with the first file. Sizes are in bytes."""
        self._parent = parent
        self._max_of_key = max_of_key
        self._max_in_all = max_in_all
        self._clock = clock
        self._folder: TemporaryDirectory[str] | None = None
        self._files: dict[str, _Upload] = {}
        self._lock = Lock()

    def add(self, content: BinaryIO, ending: str, key_id: str) -> str:
        """Keep a file and give its name. Raises UserError if it is more than the key may have, or StorageError."""
        size = max(content.seek(0, io.SEEK_END), LEAST_BYTES)
        content.seek(0)
        name = f"{uuid4().hex}{ending}"
        try:
            with self._lock:
                self._forget_old()
                self._check_room(size, key_id)
                path = self._made_folder() / name
                self._files[name] = _Upload(path, key_id, size, self._clock())
            with path.open("wb") as file:
                shutil.copyfileobj(content, file)
        except OSError as error:
            with self._lock:
                self._forget(name)
            logger.warning("An upload could not be kept: %s", error)
            raise StorageError("The file could not be kept; ask the owner to look at the disk.") from error
        return name

    def path(self, name: str, key_id: str) -> Path:
        """The path of a file of this key. Raises UserError for any other name, whether there is such a file or not."""
        with self._lock:
            self._forget_old()
            upload = self._files.get(name)
        if upload is None or upload.key_id != key_id:
            raise UserError(f"'{name[:80]}' is no file that you uploaded in the last day; upload it, then try again.")
        return upload.path

    def _check_room(self, size: int, key_id: str) -> None:
        uploads, megabytes = self._files.values(), f"{size / 2**20:.1f} MB"
        if sum(upload.size for upload in uploads if upload.key_id == key_id) + size > self._max_of_key:
            raise UserError(
                f"With this file of {megabytes} you would have sent more than {self._max_of_key // 2**20} MB in a day; "
                "use one that you sent before, or wait until tomorrow."
            )
        if sum(upload.size for upload in uploads) + size > self._max_in_all:
            raise UserError(f"There is no room for this file of {megabytes} just now; try again in some hours.")

    def _made_folder(self) -> Path:
        if self._folder is None:
            self._folder = temporary_folder(self._parent, "uploads")
        return Path(self._folder.name)

    def _forget_old(self) -> None:
        ended = self._clock() - LIFE_SECONDS
        for name in [name for name, upload in self._files.items() if upload.at < ended]:
            self._forget(name)

    def _forget(self, name: str) -> None:
        if (upload := self._files.pop(name, None)) is not None:
            with suppress(OSError):
                upload.path.unlink(missing_ok=True)

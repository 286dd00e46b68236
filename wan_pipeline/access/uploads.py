"""Which caller uploaded which file through Gradio's route, so that no one names a file that is not theirs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from wan_pipeline.access.http import App, Message, Receive, Scope, Send
from wan_pipeline.errors import UserError

MAX_BYTES_OF_KEY = 256 * 2**20
MAX_BYTES = 2 * 2**30
LIFE_SECONDS = 86_400.0


@dataclass
class _Upload:
    key_id: str
    size: int
    at: float


@dataclass
class Uploads:
    """Files by their paths, with the id of the key that brought them; empty for the owner's."""

    _files: dict[Path, _Upload] = field(default_factory=dict)

    def add(self, path: Path, key_id: str) -> None:
        """Remember a file. One that is beyond the quota of its key, or of all, is deleted instead."""
        self._forget_old()
        size = path.stat().st_size if path.is_file() else 0
        of_key = sum(upload.size for upload in self._files.values() if upload.key_id == key_id)
        in_all = sum(upload.size for upload in self._files.values())
        if key_id and (of_key + size > MAX_BYTES_OF_KEY or in_all + size > MAX_BYTES):
            _delete(path)
        else:
            self._files[path.resolve()] = _Upload(key_id, size, time.monotonic())

    def checked(self, path: Path, key_id: str) -> Path:
        """The path, if this caller uploaded it. Raises UserError for any other, whether it exists or not."""
        upload = self._files.get(path.resolve())
        if upload is None or upload.key_id != key_id:
            raise UserError("That is not a file that you uploaded; send it again, at most 256 MB in a day.")
        return path

    def _forget_old(self) -> None:
        ended = time.monotonic() - LIFE_SECONDS
        for path in [path for path, upload in self._files.items() if upload.at < ended]:
            del self._files[path]
            _delete(path)


def recording(app: App, uploads: Uploads, key_id_of: Callable[[Scope], str]) -> App:
    """`app`, whose answers to uploads are read: a list of the paths at which they lie."""

    async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
        body = b""

        async def send_recorded(message: Message) -> None:
            nonlocal body
            if message["type"] == "http.response.body":
                body += message.get("body", b"")
                if not message.get("more_body"):
                    _record(body, uploads, key_id_of(scope))
            await send(message)

        await app(scope, receive, send_recorded)

    return recorded


def _record(body: bytes, uploads: Uploads, key_id: str) -> None:
    with suppress(ValueError):  # an error of the route is no list
        paths = json.loads(body)
        for path in paths if isinstance(paths, list) else ():
            uploads.add(Path(str(path)), key_id)


def _delete(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)

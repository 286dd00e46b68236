"""Where the studio can be reached from outside just now, told by the app that serves it to its other programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import Field

from wan_pipeline.access.guard import PARAMETER
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.locks import WorkspaceLocks, is_held
from wan_pipeline.storage.outside import OutsideDataError, parse, read_json_file


@dataclass(frozen=True)
class _Published:
    url: Annotated[str, Field(pattern=r"^https?://[^\s]{1,300}$")]


class PublicAddress:
    """Of one workspace. A file holds it, and a lock of the operating system tells whether it still holds."""

    def __init__(self, workspace: Path) -> None:
        self._file = workspace / "cache" / "public-address.json"
        self._lock = WorkspaceLocks(workspace).public_address()

    @contextmanager
    def published(self, url: str) -> Iterator[None]:
        """Within the block the studio can be reached at `url`. Raises StorageError."""
        with whole_file(self._file) as part:
            part.write_text(json.dumps({"url": url}), encoding="utf-8")
        with self._lock:
            yield

    def current(self) -> str | None:
        """None while no app is shared."""
        if not is_held(self._lock):
            return None
        try:
            return parse(_Published, read_json_file(self._file)).url
        except (OSError, OutsideDataError):
            return None


def invitation(address: str, secret: str) -> str:
    """The link that lets its bearer in."""
    return f"{address.rstrip('/')}/?{PARAMETER}={quote(secret)}"

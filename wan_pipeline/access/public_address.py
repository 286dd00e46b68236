"""Under which public address the app of a workspace can be reached, for other processes to read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.storage.outside import OutsideDataError, read_json_file


class PublicAddress:
    """A small file in the workspace, written by the app that is shared."""

    def __init__(self, workspace: Path) -> None:
        self._path = workspace / "public_address.json"
        self._locks = WorkspaceLocks(workspace)

    def read(self) -> str | None:
        """The address; None if no app of this workspace is shared now."""
        try:
            found = read_json_file(self._path)
        except (OSError, OutsideDataError):
            return None
        url = found.get("url") if isinstance(found, dict) else None
        # An app that was killed leaves the file behind.
        return url if isinstance(url, str) and self._locks.any_app_is_alive() else None

    @contextmanager
    def published(self, url: str) -> Iterator[None]:
        """While the block runs. Raises StorageError."""
        with whole_file(self._path) as part:
            part.write_text(json.dumps({"url": url}), encoding="utf-8")
        try:
            yield
        finally:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

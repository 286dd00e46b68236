"""Which expert of Wan 2.2 A14B a LoRA is for where its files do not tell: what people have said, by hash. No torch."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Any

from wan_pipeline.errors import StorageError
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.hashes import FileHashes
from wan_pipeline.storage.outside import OutsideDataError, parse, read_json_file


class Expert(StrEnum):
    HIGH = "high"
    """The high-noise expert, which denoises the early steps."""
    LOW = "low"
    BOTH = "both"

    @property
    def numbers(self) -> tuple[int, ...]:
        """The transformers: 0 is the high-noise expert, 1 the low-noise one."""
        return {Expert.HIGH: (0,), Expert.LOW: (1,), Expert.BOTH: (0, 1)}[self]


class RememberedExperts:
    """Answers of people, in a JSON file of the workspace: an expert by the SHA-256 of a LoRA file."""

    def __init__(self, file: Path, hashes: FileHashes) -> None:
        self._file = file
        self._hashes = hashes
        self._lock = Lock()
        self._known: tuple[tuple[int, int], dict[str, Expert]] | None = None
        """Size and time of the file when it was read, and its answers."""

    def remember(self, sha256: str, expert: Expert) -> None:
        """Raises StorageError, also for a file that cannot be read: it may hold answers."""
        with self._lock:
            try:
                table = self._table() | {sha256: expert.value}
            except (OSError, OutsideDataError) as error:
                raise StorageError(f"{self._file} cannot be read: {error}; mend or delete it.") from error
            with whole_file(self._file) as part:
                part.write_text(json.dumps(table, indent=1, sort_keys=True), encoding="utf-8")
            self._known = None

    def of(self, path: Path, *, quickly: bool = False) -> Expert | None:
        """What was said of a file. It is hashed only if there are answers, and `quickly` not even then.

        Raises OSError, StorageError.
        """
        known = self._read()
        sha256 = (self._hashes.known(path) if quickly else self._hashes.sha256(path)) if known else None
        return known.get(sha256) if sha256 else None

    def _read(self) -> dict[str, Expert]:
        """The answers that can be read; of others people are asked again. Read once as long as the file stays."""
        with self._lock:
            try:
                facts = self._file.stat()
                state = facts.st_size, facts.st_mtime_ns
                if self._known is None or self._known[0] != state:
                    answers = {key: value for key, value in self._table().items() if value in list(Expert)}
                    self._known = state, {key: Expert(value) for key, value in answers.items()}
                return self._known[1]
            except (OSError, OutsideDataError):
                return {}

    def _table(self) -> dict[str, Any]:
        """What the file holds; nothing if there is none. Raises OSError, OutsideDataError."""
        try:
            return parse(dict[str, Any], read_json_file(self._file))
        except FileNotFoundError:
            return {}

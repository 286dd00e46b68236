"""Which expert of Wan 2.2 A14B a LoRA is for where its files do not tell: what people have said, by hash. No torch."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path

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

    def remember(self, sha256: str, expert: Expert) -> None:
        """Raises StorageError."""
        known = {key: value.value for key, value in self._read().items()} | {sha256: expert.value}
        with whole_file(self._file) as part:
            part.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")

    def of(self, path: Path, *, quickly: bool = False) -> Expert | None:
        """What was said of a file. It is hashed only if there are answers, and `quickly` not even then.

        Raises OSError, StorageError.
        """
        known = self._read()
        sha256 = (self._hashes.known(path) if quickly else self._hashes.sha256(path)) if known else None
        return known.get(sha256) if sha256 else None

    def _read(self) -> dict[str, Expert]:
        """The answers; none where the file is damaged: people are asked again."""
        try:
            return parse(dict[str, Expert], read_json_file(self._file))
        except (OSError, OutsideDataError):
            return {}

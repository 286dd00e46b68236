"""Which expert of Wan 2.2 A14B a LoRA is for: by its metadata, or as people have said, by hash. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Any

from wan_pipeline.errors import StorageError
from wan_pipeline.lora.pairs import half_of
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.hashes import FileHashes
from wan_pipeline.storage.outside import OutsideDataError, parse, read_json_file

MAX_TEXT = 300
"""Characters of a line of metadata that are looked at."""


class Expert(StrEnum):
    HIGH = "high"
    """The high-noise expert, which denoises the early steps."""
    LOW = "low"
    BOTH = "both"

    @property
    def numbers(self) -> tuple[int, ...]:
        """The transformers: 0 is the high-noise expert, 1 the low-noise one."""
        return {Expert.HIGH: (0,), Expert.LOW: (1,), Expert.BOTH: (0, 1)}[self]


_CHECKPOINT_KEYS = ("ss_sd_model_name", "ss_dit", "ss_base_model", "base_model", "modelspec.architecture")
"""Where trainers note the checkpoint that they trained on."""
_NAME_KEYS = ("ss_output_name", "modelspec.title")
"""Where they note what they called the LoRA."""
_STEPS_KEYS = ("ss_min_timestep", "ss_max_timestep")
"""musubi-tuner's keys: the range of timesteps of 1,000 that was trained."""
_BOUNDARY = (800.0, 900.0)
"""The expert of high noise begins between these timesteps: at 875 for text, at 900 for images."""


def expert_by_metadata(metadata: Mapping[str, str]) -> Expert | None:
    """The expert that a file's metadata names: the checkpoint, the timesteps that were trained, or the LoRA's name.

    None where nothing says, or one line says both.
    """
    checkpoint = (_named_in(metadata.get(key, "")) for key in _CHECKPOINT_KEYS)
    names = (_named_in(metadata.get(key, "")) for key in _NAME_KEYS)
    return next((told for told in (*checkpoint, _by_timesteps(metadata), *names) if told), None)


def _named_in(text: str) -> Expert | None:
    """The expert that a word such as `high_noise` names. "high" alone may mean anything; none if it names both."""
    half = half_of(Path(f"{text[:MAX_TEXT]}.x")) if text else None
    if half is None or not half.is_certain:
        return None
    other = half_of(Path(f"{half.after}.x"))
    if other is not None and other.is_certain and other.is_high is not half.is_high:
        return None
    return Expert.HIGH if half.is_high else Expert.LOW


def _by_timesteps(metadata: Mapping[str, str]) -> Expert | None:
    try:
        low, high = (float(metadata.get(key, "")) for key in _STEPS_KEYS)
    except ValueError:  # not noted, or "None"
        return None
    if low >= _BOUNDARY[0]:
        return Expert.HIGH
    return Expert.LOW if low < high <= _BOUNDARY[1] else None


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

"""The list of models: each with its facts, whether it is on this machine, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from wan_pipeline.errors import ModelError
from wan_pipeline.models.files import check_files, folder_bytes, revision_of
from wan_pipeline.models.hub.cache import CachedRepository
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.spec import Availability, ModelSpec

UNPUBLISHED = "It is not published in diffusers layout; docs/handover.md says how to convert it."


class Status(StrEnum):
    INSTALLED = "installed"
    """Complete and ready."""
    DAMAGED = "damaged"
    """Some of its files are missing, cut short or malformed."""
    PARTIAL = "partial"
    """A download was started and can be resumed."""
    AVAILABLE = "available"
    """Can be downloaded."""
    ANNOUNCED = "announced"
    """Known by name; no open weights yet."""
    UNSUPPORTED = "unsupported"
    """There are weights, and this version cannot run them."""
    MISSING = "missing"
    """The folder that it was imported from is gone."""


@dataclass(frozen=True)
class Entry:
    """One model of the list."""

    spec: ModelSpec
    status: Status
    folder: Path | None
    revision: str | None
    """The commit of its repository, if it is in the Hugging Face cache."""
    gigabytes: float
    """10^9 bytes on the disk, or, approximately, to download."""
    problem: str = ""
    """What is wrong or missing, in one sentence."""

    def to_dict(self) -> dict[str, Any]:
        """The fields of `models --json`."""
        spec = self.spec
        return {
            "id": spec.id,
            "title": spec.title,
            "repo": spec.repo,
            "status": self.status,
            "modes": list(spec.abilities),
            "revision": self.revision,
            "gigabytes": round(self.gigabytes, 3),
            "licence": spec.licence,
            "folder": None if self.folder is None else str(self.folder),
            "problem": self.problem or None,
            **self._own_facts(),
        }

    def _own_facts(self) -> dict[str, Any]:
        spec, sound = self.spec, self.spec.sound
        if sound:
            return {
                "makes": sound.makes,
                "sample_rate": sound.sample_rate,
                "channels": sound.channels,
                "max_seconds": sound.max_seconds,
                "steps": spec.num_inference_steps,
            }
        return {
            "sizes": [f"{size.width}x{size.height}" for size in spec.sizes],
            "frames": spec.num_frames,
            "fps": spec.fps,
            "steps": spec.num_inference_steps,
            "guidance": spec.guidance_scale,
            "guidance_2": spec.guidance_scale_2,
            "flow_shift": spec.flow_shift,
        }


def make_entry(spec: ModelSpec, library: ModelLibrary) -> Entry:
    """Look at the disk, and at no network."""
    folder = library.folder(spec)
    if folder is None:
        return _absent(spec)
    revision, size = revision_of(folder), folder_bytes(folder) / 1e9
    if spec.missing:
        return Entry(spec, Status.UNSUPPORTED, folder, revision, size, spec.missing)
    try:
        check_files(folder, spec.title)
    except ModelError as error:
        status = Status.PARTIAL if _is_unfinished(spec, revision) else Status.DAMAGED
        return Entry(spec, status, folder, revision, size, str(error))
    return Entry(spec, Status.INSTALLED, folder, revision, size)


def _absent(spec: ModelSpec) -> Entry:
    status, problem = _absent_status(spec), spec.missing
    if status is Status.MISSING:
        problem = (
            UNPUBLISHED if spec.sound else f"The folder of {spec.title} is gone; move it back, or remove the model."
        )
    return Entry(spec, status, None, None, spec.download_gb, problem)


def _absent_status(spec: ModelSpec) -> Status:
    if spec.availability is Availability.ANNOUNCED:
        return Status.ANNOUNCED
    if spec.missing:
        return Status.UNSUPPORTED
    if spec.repo is None:
        return Status.MISSING
    return Status.PARTIAL if CachedRepository(spec.repo).is_begun() else Status.AVAILABLE


def _is_unfinished(spec: ModelSpec, revision: str | None) -> bool:
    """Whether another program has downloaded a part of it."""
    return bool(spec.repo and revision) and not CachedRepository(str(spec.repo)).has_manifest(str(revision))

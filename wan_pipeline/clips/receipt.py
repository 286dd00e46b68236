"""The receipt: all that is needed to make a clip again, as JSON beside it and in its comment tag."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from wan_pipeline import __version__
from wan_pipeline.clips.naming import receipt_path
from wan_pipeline.clips.provenance import Passes, Provenance
from wan_pipeline.clips.read import read_receipt
from wan_pipeline.errors import NoReceiptError, ReceiptError
from wan_pipeline.requests.limits import Text
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.outside import OutsideDataError, Time, parse, read_json_file

RECEIPT_VERSION = 2
"""Version 1 had no hashes of files, and `environment` at the top instead of `provenance`."""

OWN_KEYS = frozenset({"receipt", "request", "frames_sha256"})
"""Any of these makes a JSON comment a receipt of this studio, perhaps a damaged one."""

MAX_SECONDS = 1e9
"""Thirty years."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
JobId = Annotated[str, Field(pattern="^[0-9A-Za-z_-]{0,64}$")]
Count = Annotated[int, Field(ge=0, le=10**6)]
Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS)]
Megabytes = Annotated[float, Field(ge=0, le=1e9)]


@dataclass(frozen=True)
class SavedLatents:
    """The file with a clip's final latents, beside the clip."""

    file: Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f]{1,255}$")]
    """Its name when the clip was made; a clip that is renamed has it under its own new name."""
    bytes: Annotated[int, Field(ge=0, le=2**36)]
    sha256: Sha256


Level = Annotated[float, Field(ge=-100, le=100)]
"""LUFS or decibels."""


@dataclass(frozen=True)
class MadeSound:
    """How a model made a sound."""

    model: Annotated[str, Field(max_length=80)]
    prompt: Text
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)]
    seconds: Seconds
    steps: Count
    licence: Annotated[str, Field(max_length=200)]
    """Of the model."""
    fingerprint: Annotated[str, Field(max_length=64)] = ""
    """Of the model's files."""
    revision: Annotated[str, Field(max_length=80)] = ""
    """Commit of its repository, if it came from the Hub."""
    plan: Annotated[str, Field(max_length=80)] = ""
    """How it used the device's memory."""
    environment: dict[str, str] = field(default_factory=dict)
    """Versions and device, which the samples depend on beside the seed."""


@dataclass(frozen=True)
class Sound:
    """The sound that was put under a clip."""

    file: Annotated[str, Field(max_length=255)]
    """Name of the file that it came from."""
    sha256: Sha256 | None
    """Hash of the sound as it is encoded."""
    gain_db: Annotated[float, Field(ge=-100, le=100)] = 0.0
    at_seconds: Annotated[float, Field(ge=-MAX_SECONDS, le=MAX_SECONDS)] = 0.0
    lufs: Annotated[float, Field(ge=-100, le=0)] | None = None
    """The integrated loudness that it was brought to."""
    fade_in: Seconds = 0.0
    fade_out: Seconds = 0.0
    over: Annotated[str, Field(max_length=255)] = ""
    """Name of the file of a second sound, under which the first one is lowered."""
    measured_lufs: Level | None = None
    """The integrated loudness that was measured when it was done."""
    made: MadeSound | None = None
    """None for a sound that came from a file."""


@dataclass(frozen=True)
class Receipt:
    """How a clip was made. Of one read from a file only kinds and ranges are checked: whether it is true, is not."""

    request: GenerationRequest
    frames_sha256: Sha256
    """Hash of the frames before encoding."""
    provenance: Provenance
    encoder: dict[str, str] = field(default_factory=dict)
    latents: SavedLatents | None = None
    """None for clips that keep none, and those of older versions."""
    sound: Sound | None = None
    passes: Passes | None = None
    """What a step cache saved; None for clips without one."""
    ended_at: Count = 0
    """Steps after which it ended early; 0 for clips that did all."""
    seconds: dict[str, Seconds] = field(default_factory=dict)
    """Time of each stage but saving."""
    peak_memory_mb: Megabytes = 0.0
    warnings: tuple[str, ...] = ()
    job: JobId = ""
    """Id of the job; empty for a clip of the command line."""
    project: Text = ""
    made_by: Text = ""
    """Id of the key that a guest made it with; empty for the owner's."""
    attempt: Count = 1
    resumed_from: Count = 0
    """Denoising steps that an earlier attempt had done."""
    made_at: Time = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    made_with: str = f"Wan Studio {__version__}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "receipt": RECEIPT_VERSION,
            "made_with": self.made_with,
            "made_at": self.made_at.isoformat(),
            "job": self.job,
            "project": self.project,
            **({"made_by": self.made_by} if self.made_by else {}),
            "attempt": self.attempt,
            "resumed_from": self.resumed_from,
            "request": self.request.to_dict(),
            "frames_sha256": self.frames_sha256,
            "provenance": self.provenance.to_dict(),
            "encoder": self.encoder,
            **({"latents": asdict(self.latents)} if self.latents else {}),
            **({"sound": asdict(self.sound)} if self.sound else {}),
            **({"passes": asdict(self.passes)} if self.passes else {}),
            **({"ended_at": self.ended_at} if self.ended_at else {}),
            "seconds": {stage: round(value, 3) for stage, value in self.seconds.items()},
            "peak_memory_mb": round(self.peak_memory_mb),
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, data: object) -> Receipt:
        """The inverse of `to_dict`, for receipts of version 1 too. Raises ReceiptError."""
        try:
            return parse(cls, _upgrade(parse(_Head, data), data))
        except OutsideDataError as error:
            raise ReceiptError(f"The receipt cannot be read: {error}.") from error


@dataclass(frozen=True)
class _Head:
    """What must be known of a receipt to read the rest."""

    request: dict[str, Any]
    made_at: Time  # the default of Receipt is for new ones
    receipt: Annotated[int, Field(ge=0)] = 0
    environment: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] | None = None


def write_receipt(receipt: Receipt, clip: Path) -> Path:
    """Write the receipt beside its clip. Raises StorageError."""
    path = receipt_path(clip)
    text = json.dumps(receipt.to_dict(), ensure_ascii=False, indent=2, sort_keys=True)
    with whole_file(path) as part:
        part.write_text(text + "\n", encoding="utf-8")
    return path


def load_receipt(path: Path) -> Receipt:
    """Read the receipt inside a clip, else the one beside it; or a receipt file itself.

    Raises ReceiptError if there is none that can be read, StorageError for a file that is no video.
    """
    try:
        receipt = (None if path.suffix.lower() == ".json" else receipt_inside(path)) or receipt_beside(path)
    except ReceiptError as error:
        raise ReceiptError(f"{path.name}: {error}") from error
    if receipt is None:
        raise NoReceiptError(
            f"{path.name}: There is no receipt of this studio inside it or beside it; only clips of Wan Studio that "
            "were not stripped have one."
        )
    return receipt


def receipt_inside(clip: Path) -> Receipt | None:
    """Read the receipt in a clip's comment tag; None if there is none of this studio.

    Raises ReceiptError if it cannot be read, StorageError for a file that is no video.
    """
    data = read_receipt(clip)
    is_own = data is not None and OWN_KEYS & data.keys()  # else they are the notes of another program
    return Receipt.from_dict(data) if is_own else None


def receipt_beside(clip: Path) -> Receipt | None:
    """Read the receipt beside a clip; None if there is no such file. Raises ReceiptError if it cannot be read."""
    try:
        return Receipt.from_dict(read_json_file(receipt_path(clip)))
    except FileNotFoundError:
        return None
    except (OutsideDataError, OSError) as error:
        raise ReceiptError(f"The receipt cannot be read: {error}.") from error


def _upgrade(head: _Head, data: Any) -> dict[str, Any]:
    """A receipt of any known version in the form of RECEIPT_VERSION. Raises ReceiptError for a later one."""
    if head.receipt > RECEIPT_VERSION:
        raise ReceiptError(
            f"The receipt has version {head.receipt}, and this studio knows {RECEIPT_VERSION}; update the studio."
        )
    provenance = head.provenance
    if head.receipt < 2:
        environment = {name: value for name, value in head.environment.items() if name != "model_fingerprint"}
        provenance = {"environment": environment}
    present = {key: value for key, value in data.items() if value is not None}
    return {**present, "provenance": {"model": head.request.get("model"), **(provenance or {})}}

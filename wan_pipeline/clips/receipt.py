"""The receipt: all that is needed to make a clip again, beside it as JSON and inside it as its comment."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from wan_pipeline import __version__
from wan_pipeline.clips.naming import receipt_path
from wan_pipeline.clips.provenance import Provenance
from wan_pipeline.clips.read import MAX_RECEIPT_BYTES, read_receipt
from wan_pipeline.errors import ReceiptError, RequestError
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.storage.files import whole_file

RECEIPT_VERSION = 2
"""1 had no hashes of files, and `environment` held what `provenance` holds now."""

T = TypeVar("T")


@dataclass(frozen=True)
class Receipt:
    """How a clip came to be. One that was read from a file is somebody's claim, right in its kinds only."""

    request: GenerationRequest
    frames_sha256: str
    """Of the frames before encoding."""
    provenance: Provenance
    encoder: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage, all but saving."""
    peak_memory_mb: float = 0.0
    warnings: tuple[str, ...] = ()
    job: str = ""
    """The id of its job; empty for a clip of the command line."""
    project: str = ""
    attempt: int = 1
    resumed_from: int = 0
    """Denoising steps that an earlier attempt had done."""
    made_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """ISO 8601, UTC."""
    made_with: str = f"Wan Studio {__version__}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "receipt": RECEIPT_VERSION,
            "made_with": self.made_with,
            "made_at": self.made_at,
            "job": self.job,
            "project": self.project,
            "attempt": self.attempt,
            "resumed_from": self.resumed_from,
            "request": self.request.to_dict(),
            "frames_sha256": self.frames_sha256,
            "provenance": self.provenance.to_dict(),
            "encoder": self.encoder,
            "seconds": {stage: round(value, 3) for stage, value in self.seconds.items()},
            "peak_memory_mb": round(self.peak_memory_mb),
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Receipt:
        """The inverse of `to_dict`, also for receipts of version 1. Raises ReceiptError or RequestError."""
        version = _get(data, "receipt", int, 0)
        if version > RECEIPT_VERSION:
            raise ReceiptError(
                f"The receipt has version {version}, and this studio knows {RECEIPT_VERSION}; update the studio."
            )
        sha256 = _get(data, "frames_sha256", str, "")
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ReceiptError("The receipt names no hash of the clip's frames; it may have been changed by hand.")
        request = GenerationRequest.from_dict(_get(data, "request", dict, {}))
        return cls(
            request=request,
            frames_sha256=sha256,
            provenance=_provenance(data, request),
            encoder=_table(data, "encoder", str),
            seconds=_table(data, "seconds", (int, float)),
            peak_memory_mb=_get(data, "peak_memory_mb", (int, float), 0.0),
            warnings=tuple(str(text) for text in _get(data, "warnings", list, list[str]())),
            job=_get(data, "job", str, ""),
            project=_get(data, "project", str, ""),
            attempt=_get(data, "attempt", int, 1),
            resumed_from=_get(data, "resumed_from", int, 0),
            made_at=_get(data, "made_at", str, ""),
            made_with=_get(data, "made_with", str, ""),
        )


def write_receipt(receipt: Receipt, clip: Path) -> Path:
    """Write the receipt beside its clip. Raises StorageError."""
    path = receipt_path(clip)
    text = json.dumps(receipt.to_dict(), ensure_ascii=False, indent=2, sort_keys=True)
    with whole_file(path) as part:
        part.write_text(text + "\n", encoding="utf-8")
    return path


def load_receipt(path: Path) -> Receipt:
    """The receipt inside an MP4, else the one beside it; or that of a receipt file itself.

    Raises ReceiptError for a file without one or with one that cannot be used, StorageError for no video at all.
    """
    data = None if path.suffix.lower() == ".json" else read_receipt(path)
    try:
        return Receipt.from_dict(_beside(path) if data is None else data)
    except RequestError as error:
        raise ReceiptError(f"The receipt of {path.name} does not fit this studio: {error}") from error
    except ReceiptError as error:
        raise ReceiptError(f"{path.name}: {error}") from error


def _beside(path: Path) -> dict[str, Any]:
    file = receipt_path(path)
    try:
        if file.stat().st_size > MAX_RECEIPT_BYTES:
            raise ReceiptError(f"The receipt is larger than {MAX_RECEIPT_BYTES // 2**20} MB and is not read.")
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReceiptError(
            "There is no receipt inside it or beside it; only clips of Wan Studio that were not stripped have one."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ReceiptError(f"The receipt beside it cannot be read ({str(error)[:200]}).") from error
    if not isinstance(data, dict):
        raise ReceiptError("The receipt beside it is not a table of settings.")
    return data


def _provenance(data: dict[str, Any], request: GenerationRequest) -> Provenance:
    if _get(data, "receipt", int, 0) < 2:
        environment = _table(data, "environment", str)
        environment.pop("model_fingerprint", None)
        return Provenance(request.model, environment=environment)
    facts: dict[str, Any] = _get(data, "provenance", dict, {})
    return Provenance(
        model=_get(facts, "model", str, request.model),
        revision=_get(facts, "revision", str, "") or None,
        model_files=_table(facts, "model_files", str),
        loras=_table(facts, "loras", str),
        image=_get(facts, "image", str, "") or None,
        plan=_get(facts, "plan", str, ""),
        environment=_table(facts, "environment", str),
    )


def _get(data: dict[str, Any], key: str, kind: type | tuple[type, ...], otherwise: T) -> T:
    """The value if it is there and of its kind. Raises ReceiptError for one of another kind."""
    value = data.get(key)
    if value is None:
        return otherwise
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ReceiptError(
            f"The receipt has '{key}' = {value!r:.40}, which cannot be; it may have been changed by hand."
        )
    return cast(T, value)


def _table(data: dict[str, Any], key: str, kind: type | tuple[type, ...]) -> dict[str, Any]:
    table: dict[str, Any] = _get(data, key, dict, {})
    return {name: value for name in table if (value := _get(table, name, kind, None)) is not None}

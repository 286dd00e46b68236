"""The receipt: all that is needed to make a clip again, beside it as JSON and inside it as its comment."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wan_pipeline import __version__
from wan_pipeline.clips.naming import receipt_path
from wan_pipeline.request import GenerationRequest
from wan_pipeline.storage import whole_file

RECEIPT_VERSION = 1


def make_receipt(
    request: GenerationRequest,
    *,
    frames_sha256: str,
    seconds: dict[str, float],
    peak_memory_mb: float,
    environment: dict[str, str],
    warnings: tuple[str, ...],
) -> dict[str, Any]:
    """`frames_sha256` is of the decoded frames before encoding; `seconds` is by stage."""
    return {
        "receipt": RECEIPT_VERSION,
        "made_with": f"Wan Studio {__version__}",
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "request": request.to_dict(),
        "frames_sha256": frames_sha256,
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "peak_memory_mb": round(peak_memory_mb),
        "environment": environment,
        "warnings": list(warnings),
    }


def write_receipt(receipt: dict[str, Any], clip: Path) -> Path:
    """Write the receipt beside its clip. Raises StorageError."""
    path = receipt_path(clip)
    with whole_file(path) as part:
        part.write_text(json.dumps(receipt, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return path

"""What the gallery lists of a clip, read from the receipt beside it."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wan_pipeline.clips.naming import poster_path, receipt_path
from wan_pipeline.errors import RequestError
from wan_pipeline.requests.request import GenerationRequest

MAX_RECEIPT_BYTES = 2**20

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """A row of the gallery before the person has done anything to it. Files are named, without their folder."""

    id: str
    request: GenerationRequest
    clip: str
    poster: str
    made_at: str
    """ISO 8601, UTC."""
    frames_sha256: str
    seconds: float
    """What making it took."""
    project: str = ""
    binned_at: str | None = None


def read_entry(clip: Path, binned_at: str | None = None) -> Entry | None:
    """The entry of an MP4 by its receipt; None without one that can be read, which the log tells."""
    path = receipt_path(clip)
    try:
        if path.stat().st_size > MAX_RECEIPT_BYTES:
            raise ValueError("it is larger than a receipt can be")
        return _entry(json.loads(path.read_text(encoding="utf-8")), clip, binned_at)
    except FileNotFoundError:
        return None  # not ours, or not whole yet: the receipt comes last
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RequestError) as error:
        logger.warning("%s is not listed in the gallery: its receipt cannot be read (%s).", clip.name, error)
        return None


def _entry(receipt: dict[str, Any], clip: Path, binned_at: str | None) -> Entry:
    request = GenerationRequest.from_dict(receipt["request"])
    return Entry(
        id=str(receipt.get("job") or clip.stem),
        request=request,
        clip=clip.name,
        poster=poster_path(clip).name,
        made_at=datetime.fromisoformat(receipt["made_at"]).astimezone(UTC).isoformat(),
        frames_sha256=str(receipt.get("frames_sha256", "")),
        seconds=float(sum(receipt.get("seconds", {}).values())),
        project=str(receipt.get("project", "")),
        binned_at=binned_at,
    )

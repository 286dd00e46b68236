"""A clip to show. Its files do not exist."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.support.requests import make_request
from wan_pipeline.clips.gallery import Clip

CLIP = Clip(
    id="one",
    path=Path("clips/a b.mp4"),
    poster=Path("clips/a b.webp"),
    made_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
    request=make_request(preset="noir"),
    project="Film",
    seconds=7.0,
    frames_sha256="f" * 64,
    starred=False,
    note="",
    is_binned=False,
)

"""Files of clips in a folder, and what its gallery says of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.files.receipts import make_receipt
from tests.support.requests import make_request
from wan_pipeline.clips.gallery import Gallery, GalleryQuery
from wan_pipeline.wording import duration

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def put(folder: Path, name: str, *, hour: int = 0, receipt: dict[str, Any] | None = None, **request: Any) -> None:
    """A clip's files, as the worker leaves them. The pictures hold nothing."""
    (folder / f"{name}.mp4").write_bytes(b"mp4")
    (folder / f"{name}.webp").write_bytes(b"webp")
    (folder / f"{name}.latents").write_bytes(b"latents")
    facts = {"job": f"job-{name}", "made_at": (NOON + timedelta(hours=hour)).isoformat(), **(receipt or {})}
    content = make_receipt(request=make_request(**request).to_dict(), **facts)
    (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def names(gallery: Gallery, query: GalleryQuery | None = None, offset: int = 0, limit: int = 100) -> list[str]:
    return [clip.path.stem for clip in gallery.page(query or GalleryQuery(), offset, limit).items]


def show_page(gallery: Gallery) -> str:
    """All that a page computes of its clips, as text that a browser can be sent."""
    lines = []
    for clip in gallery.page(GalleryQuery(), 0, 100).items:
        request, when = clip.request, clip.made_at.astimezone().strftime("%d %b %Y, %H:%M")
        ratio, length = request.width / request.height, (request.num_frames - 1) / request.fps
        lines.append(f"{clip.id} {request.prompt} {when} {ratio:.5f} {length:.3g} s, {duration(clip.seconds)}")
    return "\n".join(lines).encode().decode()

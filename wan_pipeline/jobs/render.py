"""One clip from request to files: the path that the worker and the command line share."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.naming import poster_path, receipt_path
from wan_pipeline.clips.poster import write_poster
from wan_pipeline.clips.receipt import make_receipt, write_receipt
from wan_pipeline.engine.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.jobs.job import Finished
from wan_pipeline.request import GenerationRequest

if TYPE_CHECKING:
    from wan_pipeline.engine.engine import Rendered


class Renderer(Protocol):
    """All that is known of the engine here."""

    def render(self, request: GenerationRequest, observer: Observer) -> Rendered: ...

    def close(self) -> None: ...


def make_clip(renderer: Renderer, request: GenerationRequest, observer: Observer, clip: Path) -> Finished:
    """Render, encode, and put poster and receipt beside the clip. Raises StudioError and leaves no file then."""
    rendered = renderer.render(request, observer)
    check_cancelled(observer)
    observer.progress(Progress(Stage.SAVING))
    started = time.monotonic()
    _save(request, rendered, clip)
    seconds = {**rendered.seconds, Stage.SAVING.value: time.monotonic() - started}
    return Finished(
        request, clip, poster_path(clip), receipt_path(clip), rendered.sha256, seconds, tuple(rendered.warnings)
    )


def already_made(request: GenerationRequest, clip: Path) -> Finished | None:
    """What `make_clip` has left at `clip` in another life; None unless it came to its end, which is the receipt."""
    try:
        receipt = json.loads(receipt_path(clip).read_text(encoding="utf-8"))
        details = receipt["frames_sha256"], receipt["seconds"], tuple(receipt["warnings"])
    except (OSError, ValueError, KeyError):
        return None
    return Finished(request, clip, poster_path(clip), receipt_path(clip), *details) if clip.is_file() else None


def _save(request: GenerationRequest, rendered: Rendered, clip: Path) -> None:
    """All three files or none. The clip goes first: if it finds no room, what lies there from before stays whole.

    The receipt goes last: where it lies, all is there.
    """
    receipt = make_receipt(
        request,
        frames_sha256=rendered.sha256,
        seconds=rendered.seconds,
        peak_memory_mb=rendered.peak_memory_mb,
        environment=rendered.environment,
        warnings=rendered.warnings,
    )
    encode(rendered.frames, request.fps, clip, receipt)
    try:
        write_poster(rendered.frames, poster_path(clip))
        write_receipt(receipt, clip)
    except BaseException:
        for path in (clip, poster_path(clip)):
            path.unlink(missing_ok=True)
        raise

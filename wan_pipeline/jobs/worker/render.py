"""One clip from request to files: the path that the worker and the command line share."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from wan_pipeline.clips.encode import encode, encoder_settings
from wan_pipeline.clips.naming import poster_path, receipt_path
from wan_pipeline.clips.poster import write_poster
from wan_pipeline.clips.receipt import Receipt, write_receipt
from wan_pipeline.jobs.job import Finished
from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.storage.crash import CrashPoint, crash_point

if TYPE_CHECKING:
    from wan_pipeline.engine.rendered import Rendered


class Renderer(Protocol):
    """All that is known of the engine here."""

    def render(
        self, request: GenerationRequest, observer: Observer, checkpoint: Path | None = None, plan: str = ""
    ) -> Rendered: ...

    def encode_texts(
        self, requests: Sequence[GenerationRequest], plan: str = "", observer: Observer | None = None
    ) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Label:
    """What a receipt says of the job, and whether the MP4 carries one. That beside the clip is always written."""

    job: str = ""
    project: str = ""
    attempt: int = 1
    strip_metadata: bool = False


def make_clip(
    renderer: Renderer, request: GenerationRequest, observer: Observer, clip: Path, label: Label | None = None
) -> Finished:
    """Render, encode, and put poster and receipt beside the clip. Raises StudioError and leaves no file then."""
    return save_clip(request, renderer.render(request, observer), observer, clip, label)


def save_clip(
    request: GenerationRequest, rendered: Rendered, observer: Observer, clip: Path, label: Label | None = None
) -> Finished:
    """The second half of `make_clip`, which needs no device. Raises StorageError or Cancelled and leaves no file then.

    It can be cancelled until the receipt is written: from then on the clip is made.
    """
    check_cancelled(observer)
    observer.progress(Progress(Stage.SAVING))
    started = time.monotonic()
    _save(request, rendered, observer, clip, label or Label())
    seconds = {**rendered.seconds, Stage.SAVING.value: time.monotonic() - started}
    return Finished(
        request, clip, poster_path(clip), receipt_path(clip), rendered.sha256, seconds, tuple(rendered.warnings)
    )


def already_made(request: GenerationRequest, clip: Path) -> Finished | None:
    """What `make_clip` has left at `clip` in another life; None unless it came to its end, which is the receipt."""
    try:
        receipt = json.loads(receipt_path(clip).read_text(encoding="utf-8"))
        details = receipt["frames_sha256"], receipt["seconds"], tuple(receipt["warnings"])
        same = receipt["request"] == json.loads(request.to_json())  # a job can be edited between two tries
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not same or not clip.is_file():
        return None
    return Finished(request, clip, poster_path(clip), receipt_path(clip), *details)


def _save(request: GenerationRequest, rendered: Rendered, observer: Observer, clip: Path, label: Label) -> None:
    """All three files or none. The clip goes first: if it finds no room, what lies there from before stays whole.

    The receipt goes last: where it lies, all is there.
    """
    receipt = _receipt(request, rendered, label)
    encode(rendered.frames, request.fps, clip, None if label.strip_metadata else receipt.to_dict())
    crash_point(CrashPoint.CLIP_SAVED)
    try:
        write_poster(rendered.frames, poster_path(clip))
        crash_point(CrashPoint.POSTER_SAVED)
        check_cancelled(observer)
        write_receipt(receipt, clip)
        crash_point(CrashPoint.RECEIPT_SAVED)
    except BaseException:
        for path in (clip, poster_path(clip)):
            path.unlink(missing_ok=True)
        raise


def _receipt(request: GenerationRequest, rendered: Rendered, label: Label) -> Receipt:
    return Receipt(
        request=request,
        frames_sha256=rendered.sha256,
        provenance=rendered.provenance,
        encoder=encoder_settings(),
        seconds=rendered.seconds,
        peak_memory_mb=rendered.peak_memory_mb,
        warnings=rendered.warnings,
        job=label.job,
        project=label.project,
        attempt=label.attempt,
        resumed_from=rendered.resumed_from,
    )

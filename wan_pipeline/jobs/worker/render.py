"""One clip from request to files: the path that the worker and the command line share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from wan_pipeline.clips.encode import encode, encoder_settings
from wan_pipeline.clips.latents import facts_of, write_latents
from wan_pipeline.clips.naming import latents_path, poster_path, receipt_path
from wan_pipeline.clips.poster import write_poster
from wan_pipeline.clips.receipt import Receipt, receipt_beside, write_receipt
from wan_pipeline.errors import ReceiptError
from wan_pipeline.jobs.job import Finished
from wan_pipeline.planning.memory_plan import devices_of
from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.storage.crash import CrashPoint, crash_point

if TYPE_CHECKING:
    from wan_pipeline.engine.rendered import Rendered


class Renderer(Protocol):
    """What the jobs need of the engine."""

    def render(
        self, request: GenerationRequest, observer: Observer, checkpoint: Path | None = None, plan: str = ""
    ) -> Rendered: ...

    def encode_texts(
        self, requests: Sequence[GenerationRequest], plan: str = "", observer: Observer | None = None
    ) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Label:
    """What the receipt says of the job. `strip_metadata` leaves it out of the MP4; the sidecar is always written."""

    job: str = ""
    project: str = ""
    made_by: str = ""
    attempt: int = 1
    strip_metadata: bool = False


def make_clip(
    renderer: Renderer, request: GenerationRequest, observer: Observer, clip: Path, label: Label | None = None
) -> Finished:
    """Render, encode, and write poster and receipt beside the clip. On an error, StudioError, it leaves no file."""
    return save_clip(request, renderer.render(request, observer), observer, clip, label)


def save_clip(
    request: GenerationRequest, rendered: Rendered, observer: Observer, clip: Path, label: Label | None = None
) -> Finished:
    """Save a rendered clip; needs no device. On an error, StorageError or Cancelled, it leaves no file.

    It can be cancelled until the receipt is written: from then on the clip is finished.
    """
    check_cancelled(observer)
    observer.progress(Progress(Stage.SAVING))
    started = time.monotonic()
    _save(request, rendered, observer, clip, label or Label())
    seconds = {**rendered.seconds, Stage.SAVING.value: time.monotonic() - started}
    return Finished(
        request,
        clip,
        poster_path(clip),
        receipt_path(clip),
        rendered.sha256,
        seconds,
        tuple(rendered.warnings),
        rendered.provenance.applied_loras,
        devices_of(rendered.provenance.plan),
    )


def already_made(request: GenerationRequest, clip: Path) -> Finished | None:
    """The finished clip of this request at `clip`, from an earlier process. None without a receipt: it comes last."""
    try:
        receipt = receipt_beside(clip)
    except ReceiptError:
        return None
    if receipt is None or receipt.request != request or not clip.is_file():  # a job can be edited between two tries
        return None
    made = receipt.provenance
    details = receipt.frames_sha256, receipt.seconds, receipt.warnings, made.applied_loras, devices_of(made.plan)
    return Finished(request, clip, poster_path(clip), receipt_path(clip), *details)


def _save(request: GenerationRequest, rendered: Rendered, observer: Observer, clip: Path, label: Label) -> None:
    """Write all files or none. The clip is first: if the disk is full, older files stay whole.

    The receipt is last: where there is one, the clip is complete.
    """
    receipt = _receipt(request, rendered, label, clip)
    encode(rendered.frames, request.fps, clip, None if label.strip_metadata else receipt.to_dict())
    crash_point(CrashPoint.CLIP_SAVED)
    try:
        write_poster(rendered.frames, poster_path(clip))
        crash_point(CrashPoint.POSTER_SAVED)
        _save_latents(rendered, clip)
        check_cancelled(observer)
        write_receipt(receipt, clip)
        crash_point(CrashPoint.RECEIPT_SAVED)
    except BaseException:
        for path in (clip, poster_path(clip), latents_path(clip)):
            path.unlink(missing_ok=True)
        raise


def _save_latents(rendered: Rendered, clip: Path) -> None:
    """Write them, if they are to be kept. Those of an older clip of this name go with it."""
    if rendered.latents is None:
        latents_path(clip).unlink(missing_ok=True)
        return
    write_latents(rendered.latents, clip)
    crash_point(CrashPoint.LATENTS_SAVED)


def _receipt(request: GenerationRequest, rendered: Rendered, label: Label, clip: Path) -> Receipt:
    return Receipt(
        request=request,
        frames_sha256=rendered.sha256,
        provenance=rendered.provenance,
        encoder=encoder_settings(),
        latents=None if rendered.latents is None else facts_of(rendered.latents, clip),
        passes=rendered.passes,
        ended_at=rendered.ended_at,
        seconds=rendered.seconds,
        peak_memory_mb=rendered.peak_memory_mb,
        warnings=rendered.warnings,
        job=label.job,
        project=label.project,
        made_by=label.made_by,
        attempt=label.attempt,
        resumed_from=rendered.resumed_from,
    )

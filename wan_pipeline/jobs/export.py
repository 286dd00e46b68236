"""Exports one clip: from its latents where it kept them, else from the 8 bits of its MP4."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from hashlib import sha256
from itertools import chain
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from wan_pipeline.clips.export.formats import check_output
from wan_pipeline.clips.export.levels import eight_bits, sixteen_bits, widened
from wan_pipeline.clips.export.order import START_HOUR, Exported, ExportOrder, first_of
from wan_pipeline.clips.export.rates import frame_of, parse_rate, timecode
from wan_pipeline.clips.export.write import FrameWriter, writing
from wan_pipeline.clips.ffmpeg import SAFE_OPTIONS, file_url
from wan_pipeline.clips.latents import NoLatentsError, read_latents
from wan_pipeline.clips.read import read_frames
from wan_pipeline.clips.receipt import Receipt, load_receipt
from wan_pipeline.errors import ModelError, NoReceiptError, StorageError
from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.settings import Settings

REEL_CHARACTERS = 8
"""An edit list of CMX 3600 has room for so many."""


class _FrameHash:
    """The hash of a receipt, `frames_sha256`, taken while the frames go by."""

    def __init__(self, shape: tuple[int, int, int, int]) -> None:
        self._hash = sha256(repr(shape).encode())

    def add(self, frames: NDArray[np.uint8]) -> None:
        self._hash.update(np.ascontiguousarray(frames).data)

    def __str__(self) -> str:
        return self._hash.hexdigest()


def export(clip: Path, order: ExportOrder, settings: Settings, observer: Observer) -> Exported:
    """Write a clip as the order says, whole or not at all.

    Raises RequestError for an order that cannot be carried out, StorageError, GenerationError and Cancelled.
    """
    check_output(order.format, order.output)
    try:
        receipt = load_receipt(clip)
        latents = read_latents(clip, receipt.latents)
        return _from_latents(clip, receipt, latents, order, settings, observer)
    except (NoLatentsError, NoReceiptError, ModelError) as error:
        return _from_mp4(clip, order, observer, f"The levels are those of the MP4, 8 bits. {error}")


def reel_of(clip: Path, receipt: Receipt | None) -> str:
    """A short name of letters and digits for a clip: its job's, else of its file's name."""
    if receipt is not None and receipt.job:
        return receipt.job[:REEL_CHARACTERS].upper()
    return sha256(clip.stem.encode()).hexdigest()[:REEL_CHARACTERS].upper()


def _from_latents(
    clip: Path, receipt: Receipt, latents: bytes, order: ExportOrder, settings: Settings, observer: Observer
) -> Exported:
    from wan_pipeline.engine.master import decode_master  # here: torch takes seconds to import

    request, then = receipt.request, receipt.provenance
    rate, size = order.rate or Fraction(request.fps), (request.width, request.height)
    threads = int(then.environment.get("threads", "0")) if then.environment.get("strict") == "yes" else None
    found = _FrameHash((request.num_frames, request.height, request.width, 3))
    with writing(order, size, rate, reel_of(clip, receipt)) as writer:
        write = partial(_write_floats, writer, found)
        decode_master(settings, request.model, latents, then.plan, observer, write, threads)
    is_same = str(found) == receipt.frames_sha256
    warnings = (
        ()
        if is_same
        else ("The frames differ from the clip's in their last bits: it was made on other hardware or versions.",)
    )
    return _exported(order, writer.count, rate, from_latents=True, warnings=warnings)


def _write_floats(writer: FrameWriter, found: _FrameHash, frames: NDArray[np.float32]) -> None:
    found.add(eight_bits(frames))
    writer.write(sixteen_bits(frames))


def _from_mp4(clip: Path, order: ExportOrder, observer: Observer, reason: str) -> Exported:
    frames = read_frames(clip)
    first = next(frames, None)
    if first is None:
        raise StorageError(f"{clip.name} holds no frames; choose a clip.")
    rate = order.rate or rate_of(clip)
    height, width = first.shape[:2]
    with writing(order, (width, height), rate, reel_of(clip, None)) as writer:
        for number, frame in enumerate(chain([first], frames)):
            check_cancelled(observer, "export")
            observer.progress(Progress(Stage.SAVING, number))
            writer.write(widened(frame[None]))
    return _exported(order, writer.count, rate, from_latents=False, warnings=(reason,))


def rate_of(clip: Path) -> Fraction:
    """The frame rate that a video's file tells. Raises StorageError."""
    reader: Iterator[dict[str, float]] = imageio_ffmpeg.read_frames(file_url(clip), input_params=SAFE_OPTIONS)
    try:
        return parse_rate(str(next(reader)["fps"]))
    except (OSError, RuntimeError, StopIteration, KeyError) as error:
        raise StorageError(f"The frame rate of {clip.name} cannot be read; name one.") from error


def _exported(
    order: ExportOrder, frames: int, rate: Fraction, *, from_latents: bool, warnings: tuple[str, ...]
) -> Exported:
    form = order.format
    code = timecode(frame_of(START_HOUR, rate) - order.handles, rate) if form.has_timecode or form.name == "exr" else ""
    return Exported(
        order.output, frames, form.bits, str(rate), from_latents, order.handles, first_of(form), code, warnings
    )

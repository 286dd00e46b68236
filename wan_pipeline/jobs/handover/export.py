"""Exports one clip: from its latents where it kept them, else from the 8 bits of its MP4."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wan_pipeline.clips.export.bit_depth import eight_bits, sixteen_bits, widened
from wan_pipeline.clips.export.order import Exported, ExportOrder, first_of
from wan_pipeline.clips.export.rates import exr_has_timecode, timecode
from wan_pipeline.clips.export.source import Source, open_source
from wan_pipeline.clips.export.write import FrameWriter, writing
from wan_pipeline.clips.frame_hash import FrameHash
from wan_pipeline.clips.naming import check_other
from wan_pipeline.clips.read import read_frames
from wan_pipeline.clips.receipt import Receipt
from wan_pipeline.errors import ModelError
from wan_pipeline.jobs.background.verify import recorded_threads
from wan_pipeline.jobs.device import TakeDevice
from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled
from wan_pipeline.settings import Settings

OTHER_BITS = "The frames differ from the clip's in their last bits: it was made on other hardware or versions."


def export(
    clip: Path, order: ExportOrder, settings: Settings, observer: Observer, device: TakeDevice = nullcontext
) -> Exported:
    """Write a clip as the order says, whole or not at all. `device` is held while latents are decoded.

    Raises RequestError for an order that cannot be carried out, StorageError, GenerationError and Cancelled.
    """
    check_other(clip, order.output)
    source = open_source(clip)
    rate = order.rate or source.rate
    with writing(order, source.size, rate, order.reel or source.reel) as writer:
        from_latents, warnings = feed(source, settings, observer, writer, device)
    form = order.format
    has_code = form.has_timecode or (form.name == "exr" and exr_has_timecode(rate))
    code = timecode(order.start(rate), rate) if has_code else ""
    first = first_of(form)
    return Exported(
        order.output, writer.count, form.bits, str(rate), from_latents, order.handles, first, code, warnings
    )


def feed(
    source: Source, settings: Settings, observer: Observer, writer: FrameWriter, device: TakeDevice = nullcontext
) -> tuple[bool, tuple[str, ...]]:
    """Give all frames of a clip to the writer: whether they are from latents, and what is to be said of them.

    Raises StorageError, GenerationError and Cancelled, and what the writer raises.
    """
    reason = source.reason
    if source.latents is not None and source.receipt is not None:
        try:
            with device():
                return True, _feed_latents(source.receipt, source.latents, settings, observer, writer)
        except ModelError as error:  # before the first frame
            reason = str(error)
    for number, frame in enumerate(read_frames(source.clip)):
        check_cancelled(observer, "export")
        observer.progress(Progress(Stage.SAVING, number, source.frames))
        writer.write(widened(frame[None]))
    return False, (f"The levels are those of {source.clip.name}, 8 bits. {reason}",)


def _feed_latents(
    receipt: Receipt, latents: bytes, settings: Settings, observer: Observer, writer: FrameWriter
) -> tuple[str, ...]:
    from wan_pipeline.engine.decoding.master import decode_master  # here: torch takes seconds to import

    then, request = receipt.provenance, receipt.request
    threads = (recorded_threads(then) or 0) if then.environment.get("strict") == "yes" else None
    found = FrameHash((request.num_frames, request.height, request.width, 3))
    write = partial(_write_floats, writer, found)
    decode_master(settings, then, latents, observer, write, threads)
    return () if found.hexdigest() == receipt.frames_sha256 else (OTHER_BITS,)


def _write_floats(writer: FrameWriter, found: FrameHash, frames: NDArray[np.float32]) -> None:
    found.add(eight_bits(frames))
    writer.write(sixteen_bits(frames))

"""Writes frames in a format: whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wan_pipeline.clips.export.exr import ExrWriter
from wan_pipeline.clips.export.formats import FIRST_FRAME, SEQUENCE_DIGITS, Format, check_output, check_size
from wan_pipeline.clips.export.order import ExportOrder
from wan_pipeline.clips.export.pipe import frame_pipe
from wan_pipeline.clips.export.rates import timecode
from wan_pipeline.clips.ffmpeg import file_url
from wan_pipeline.errors import StorageError
from wan_pipeline.storage.files import whole_file, whole_folder


class FrameWriter(Protocol):
    def write(self, frames: NDArray[np.uint16]) -> None:
        """Take (t, H, W, 3) levels of 16 bits, in order."""


class HeldWriter:
    """Repeats the first and the last frame `handles` times."""

    def __init__(self, writer: FrameWriter, handles: int) -> None:
        self._writer, self._handles = writer, handles
        self._last: NDArray[np.uint16] | None = None
        self.count = 0

    def write(self, frames: NDArray[np.uint16]) -> None:
        if self._last is None:
            self._hold(frames[:1])
        self._writer.write(frames)
        self.count += len(frames)
        self._last = frames[-1:].copy()

    def finish(self) -> None:
        if self._last is not None:
            self._hold(self._last)

    def _hold(self, frame: NDArray[np.uint16]) -> None:
        for _ in range(self._handles):
            self._writer.write(frame)
        self.count += self._handles


@contextmanager
def writing(order: ExportOrder, size: tuple[int, int], rate: Fraction, reel: str) -> Iterator[HeldWriter]:
    """Give what takes the frames of (width, height). What was written is there when the context ends well.

    `reel` is the name by which an edit list finds the material. Raises RequestError for an output or a size that does
    not fit the format, StorageError, and what is raised within.
    """
    form = order.format
    check_output(form, order.output)
    check_size(form, *size)
    place = whole_folder if form.is_sequence else whole_file
    with place(order.output) as part, _writer(order, part, size, rate, reel) as writer:
        held = HeldWriter(writer, order.handles)
        yield held
        held.finish()


@contextmanager
def _writer(order: ExportOrder, part: Path, size: tuple[int, int], rate: Fraction, reel: str) -> Iterator[FrameWriter]:
    form = order.format
    start = order.start(rate)
    if form.name == "exr":
        try:
            yield ExrWriter(part, order.output.name, rate, order.transfer, start)
        except RuntimeError as error:
            raise StorageError(f"The EXR files could not be written: {error}") from error
        return
    options = [*(["-vf", form.filters] if form.filters else []), *form.options, *_tags(form)]
    if form.has_timecode:
        options += ["-timecode", timecode(start, rate), "-metadata:s:v:0", f"reel_name={reel}"]
    if form.is_sequence:
        options += ["-start_number", str(FIRST_FRAME)]
    with frame_pipe(size, rate, form.bits, [*options, _target(order, part)]) as pipe:
        yield pipe


def _tags(form: Format) -> list[str]:
    """The colour tags of the container, which must say what the filters made."""
    if "out_color_matrix" not in form.filters:
        return []
    return ["-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-color_range", "tv"]


def _target(order: ExportOrder, part: Path) -> str:
    if not order.format.is_sequence:
        return file_url(part)
    name = f"{order.output.name}.".replace("%", "%%") + f"%0{SEQUENCE_DIGITS}d{order.format.endings[0]}"
    return file_url(part).replace("%", "%%") + f"/{name}"

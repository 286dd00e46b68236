"""Larger frames, made while a clip's frames go by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wan_pipeline.clips.export.write import FrameWriter
from wan_pipeline.progress import Cancellable, Observer, Progress, Stage, check_cancelled

if TYPE_CHECKING:
    from wan_pipeline.engine.upscaler.clip import ClipUpscaler

Frame = NDArray[np.uint16]
"""(H, W, 3), 16 bits."""


class LargerWriter:
    """A writer that passes on larger frames, once they are ready."""

    def __init__(self, writer: FrameWriter, upscaler: ClipUpscaler) -> None:
        self._writer, self._upscaler = writer, upscaler

    def write(self, frames: NDArray[np.uint16]) -> None:
        for frame in frames:
            self._pass_on(self._upscaler.add(frame))

    def finish(self) -> None:
        """There are no more frames."""
        self._pass_on(self._upscaler.end())

    def _pass_on(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            self._writer.write(frame[None])


class SpooledWriter:
    """A writer that puts frames into a temporary file, until what makes them has left the device."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._shape: tuple[int, ...] = ()

    def write(self, frames: NDArray[np.uint16]) -> None:
        self._shape = frames.shape[1:]
        self._file.write(np.ascontiguousarray(frames).tobytes())

    def replay(self) -> Iterator[NDArray[np.uint16]]:
        """All frames (1, H, W, 3), in order."""
        self._file.seek(0)
        size = int(np.prod(self._shape)) * np.dtype(np.uint16).itemsize
        while self._shape and (content := self._file.read(size)):
            yield np.frombuffer(content, np.uint16).reshape(1, *self._shape)


@contextmanager
def finished(writer: LargerWriter, *, spool: bool) -> Iterator[FrameWriter]:
    """Give what takes a clip's frames; when the context ends well, all of the larger ones are written.

    With `spool` no frame is enlarged before the context ends.
    """
    if not spool:
        yield writer
    else:
        with TemporaryFile() as file:
            spooled = SpooledWriter(file)
            yield spooled
            for frames in spooled.replay():
                writer.write(frames)
    writer.finish()


class LargerProgress:
    """Tells an observer how many of a clip's frames are done."""

    def __init__(self, observer: Observer, frames: int) -> None:
        self._observer, self._frames = observer, frames
        self._done = 0.0

    def tick(self, frames: float) -> None:
        """So many more are done. Raises Cancelled."""
        self._done += frames
        self._observer.progress(Progress(Stage.SAVING, min(int(self._done), self._frames), self._frames))
        check_cancelled(self._observer, "export")


class OnlyCancelled:
    """An observer of work whose progress is told elsewhere."""

    def __init__(self, observer: Cancellable) -> None:
        self._observer = observer

    def progress(self, progress: Progress) -> None:
        pass

    def cancelled(self) -> bool:
        return self._observer.cancelled()

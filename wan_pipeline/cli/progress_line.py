"""Progress on a terminal: one line that is written over; in a log file, one line a stage and a few in between."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TextIO

from wan_pipeline.progress import Progress, Stage
from wan_pipeline.wording import duration

LOG_SECONDS = 5.0


class Line:
    """The line of a stream that progress is written on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._over_write = stream.isatty()
        self._stage: str | None = None
        self._written_at = 0.0
        self._is_open = False

    def write(self, text: str, stage: str, *, always: bool = False) -> None:
        """Write over the line. In a log it is a line of its own, of each stage one in LOG_SECONDS, or `always`."""
        now = time.monotonic()
        is_early = stage == self._stage and now - self._written_at < LOG_SECONDS
        if not self._over_write and is_early and not always:
            return
        self._stage, self._written_at = stage, now
        if self._over_write:
            self._stream.write(f"\r\x1b[2K{text}")
            self._is_open = True
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def close(self) -> None:
        if self._is_open:
            self._stream.write("\n")


class ProgressLine:
    """An observer that writes to a stream and never cancels: Ctrl+C is a KeyboardInterrupt there."""

    def __init__(self, stream: TextIO) -> None:
        self._line = Line(stream)

    def progress(self, progress: Progress) -> None:
        self._line.write(_line(progress), progress.stage)

    def cancelled(self) -> bool:
        return False

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._line.close()


def _line(progress: Progress) -> str:
    """For example: denoising 5/16, 4 s left."""
    steps = f" {progress.step}/{progress.total}" if progress.total else ""
    left = f", {duration(progress.eta_seconds)} left" if progress.eta_seconds is not None else ""
    stage = "waiting for the device" if progress.stage is Stage.QUEUED else progress.stage
    return f"{stage}{steps}{left}"

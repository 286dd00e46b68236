"""A training's progress on a terminal, or in a log."""

from __future__ import annotations

from types import TracebackType
from typing import TextIO

from wan_pipeline.cli.progress_line import Line
from wan_pipeline.trainer.progress import TrainingProgress
from wan_pipeline.wording import duration


class TrainingLine:
    """An observer that writes to a stream, and cancels once `stop` was called."""

    def __init__(self, stream: TextIO) -> None:
        self._line = Line(stream)
        self._is_stopping = False

    def stop(self) -> None:
        self._is_stopping = True

    def progress(self, progress: TrainingProgress) -> None:
        is_last = progress.total > 0 and progress.step == progress.total
        self._line.write(_text(progress), progress.stage, always=is_last)

    def cancelled(self) -> bool:
        return self._is_stopping

    def __enter__(self) -> TrainingLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._line.close()


def _text(progress: TrainingProgress) -> str:
    """For example: training 20/80, loss 0.1234, 4 s left."""
    steps = f" {progress.step}/{progress.total}" if progress.total else ""
    loss = f", loss {progress.loss:.4f}" if progress.loss is not None else ""
    left = f", {duration(progress.eta_seconds)} left" if progress.eta_seconds is not None else ""
    note = f": {progress.note}" if progress.note else ""
    return f"{progress.stage}{steps}{loss}{left}{note}"

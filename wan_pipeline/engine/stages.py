"""A job's way from stage to stage: reports, cancelling, seconds and memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from wan_pipeline.engine.device.placement import MemoryGauge
from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled

logger = logging.getLogger(__name__)


class Stages:
    """An observer between the engine and the job's own: it measures, and passes everything on."""

    def __init__(self, observer: Observer, memory: MemoryGauge) -> None:
        self._observer = observer
        self.memory = memory
        self.seconds: dict[str, float] = {}
        """Of the finished stages."""

    @contextmanager
    def enter(self, stage: Stage, total: int = 0, done: int = 0) -> Iterator[None]:
        """`done` of `total` steps may be behind us already. Raises Cancelled instead of entering, if asked for."""
        check_cancelled(self)
        self.progress(Progress(stage, done, total))
        started = time.monotonic()
        yield
        self.seconds[stage.value] = time.monotonic() - started
        logger.info("%s took %.2f s", stage.capitalize(), self.seconds[stage.value])

    def progress(self, progress: Progress) -> None:
        self.memory.sample()
        self._observer.progress(progress)

    def cancelled(self) -> bool:
        return self._observer.cancelled()

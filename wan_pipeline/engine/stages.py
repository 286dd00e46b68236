"""The stages of one clip: progress, cancelling, seconds and peak memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from wan_pipeline.engine.device.placement import MemoryGauge
from wan_pipeline.progress import Observer, Progress, Stage, check_cancelled

logger = logging.getLogger(__name__)


class Stages:
    """An observer that measures time and memory, and passes every report on to the job's observer."""

    def __init__(self, observer: Observer, memory: MemoryGauge) -> None:
        self._observer = observer
        self.memory = memory
        self.seconds: dict[str, float] = {}
        """Seconds by finished stage."""

    @contextmanager
    def enter(self, stage: Stage, total: int = 0, done: int = 0) -> Iterator[None]:
        """Time a stage, of which `done` of `total` steps are done already. Raises Cancelled."""
        check_cancelled(self)
        self.progress(Progress(stage, done, total))
        started = time.monotonic()
        yield
        self.seconds[stage.value] = time.monotonic() - started
        logger.info("%s took %.2f s", stage.capitalize(), self.seconds[stage.value])

    def add_seconds(self, stage: Stage, seconds: float) -> None:
        """Count what an earlier run spent in a finished stage."""
        self.seconds[stage.value] += seconds

    def progress(self, progress: Progress) -> None:
        self.memory.sample()
        self._observer.progress(progress)

    def cancelled(self) -> bool:
        return self._observer.cancelled()

"""Trainings for tests, and watching them."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.settings import Settings
from wan_pipeline.trainer.progress import TrainingProgress, TrainingStage
from wan_pipeline.trainer.request import TrainingRequest
from wan_pipeline.trainer.trained import Trained

STEPS = 6
"""Of `request_of`."""
JOB_STEPS = 40
"""Of `of`: enough for something to come between."""


class Watcher:
    """Counts steps, and cancels after some."""

    def __init__(self, stop_after: int = 1000) -> None:
        self.told: list[TrainingProgress] = []
        self._stop_after = stop_after

    def progress(self, progress: TrainingProgress) -> None:
        self.told.append(progress)

    def cancelled(self) -> bool:
        return any(one.step >= self._stop_after for one in self.told if one.stage is TrainingStage.TRAINING)


def run(request: TrainingRequest, settings: Settings, stop_after: int = 1000) -> Trained:
    from wan_pipeline.trainer.run import train  # imports torch, which tests of light modules do without

    return train(request, settings, Watcher(stop_after))


def of(pictures: Path, name: str = "look") -> TrainingRequest:
    return TrainingRequest(pictures, name, steps=JOB_STEPS, rank=2)

"""Watching a training."""

from __future__ import annotations

from wan_pipeline.trainer.progress import TrainingProgress, TrainingStage


class Watcher:
    """Counts steps, and cancels after some."""

    def __init__(self, stop_after: int = 1000) -> None:
        self.told: list[TrainingProgress] = []
        self._stop_after = stop_after

    def progress(self, progress: TrainingProgress) -> None:
        self.told.append(progress)

    def cancelled(self) -> bool:
        return any(one.step >= self._stop_after for one in self.told if one.stage is TrainingStage.TRAINING)

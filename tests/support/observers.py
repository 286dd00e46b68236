"""Observers for tests."""

from __future__ import annotations

from wan_pipeline.models.transfer import TransferProgress
from wan_pipeline.progress import Progress, Stage


class Recorder:
    """Keeps every report; asks to stop once `stop_at` (stage, step) has been reported."""

    def __init__(self, stop_at: tuple[Stage, int] | None = None) -> None:
        self.reports: list[Progress] = []
        self._stop_at = stop_at

    def progress(self, progress: Progress) -> None:
        self.reports.append(progress)

    def cancelled(self) -> bool:
        return any((report.stage, report.step) == self._stop_at for report in self.reports)

    def of(self, stage: Stage) -> list[Progress]:
        return [report for report in self.reports if report.stage is stage]


class Watcher:
    """Keeps every report of a transfer; asks to stop once `stop_at` of it is done."""

    def __init__(self, stop_at: float = 2.0) -> None:
        self.seen: list[TransferProgress] = []
        self._stop_at = stop_at

    def transferred(self, progress: TransferProgress) -> None:
        self.seen.append(progress)

    def cancelled(self) -> bool:
        return bool(self.seen) and self.seen[-1].done_bytes >= self._stop_at * self.seen[-1].total_bytes

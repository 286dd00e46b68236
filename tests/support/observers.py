"""Observers for tests."""

from __future__ import annotations

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

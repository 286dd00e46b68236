"""Where the files of a job lie, and what is left of them when its worker dies."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from wan_pipeline.clips.naming import clip_name, poster_path, receipt_path
from wan_pipeline.jobs.job import Finished, Job
from wan_pipeline.jobs.worker.render import already_made
from wan_pipeline.settings import Settings

STRAY_SECONDS = 24 * 3600.0
"""A `.part` file as old as this has no process that would still write to it."""


class JobFiles:
    """All names depend on the job alone, so that a job taken up again replaces what it left."""

    def __init__(self, settings: Settings, job: Job) -> None:
        self.clip = settings.clips / clip_name(job.request, job.created_at, job.id)
        self.preview = settings.previews / f"{job.id}.webp"
        self.checkpoint = settings.checkpoints / f"{job.id}.safetensors"
        self._job = job

    def finished(self) -> Finished | None:
        """The clip, if it came to its end; perhaps only its row is missing."""
        return already_made(self._job.request, self.clip)

    def remove_unfinished(self) -> None:
        """What a worker that died left half done. Its checkpoint stays: the job goes on from it."""
        halves = [self.preview, *self._parts(self.preview), *self._parts(self.checkpoint)]
        halves += self.clip.parent.glob(f"*_{self._job.id[:8]}.*.part")
        if not receipt_path(self.clip).exists():
            halves += [self.clip, poster_path(self.clip)]
        for path in halves:
            _remove(path)

    @staticmethod
    def _parts(path: Path) -> list[Path]:
        return list(path.parent.glob(f"{path.name}.*.part"))


def remove_stray_parts(settings: Settings) -> None:
    """What processes that died long ago had begun to write."""
    oldest = time.time() - STRAY_SECONDS
    for folder in settings.written:
        for path in folder.rglob("*.part"):
            if path.stat().st_mtime < oldest:
                _remove(path)


def _remove(path: Path) -> None:
    with suppress(PermissionError):  # on Windows, while the dead worker's ffmpeg or a page still has it
        path.unlink(missing_ok=True)

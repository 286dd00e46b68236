"""The files of a job, and what a dead worker leaves of them."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from glob import escape
from pathlib import Path

from wan_pipeline.clips.naming import clip_name, latents_path, poster_path, receipt_path
from wan_pipeline.jobs.job import Finished, Job
from wan_pipeline.jobs.worker.render import already_made
from wan_pipeline.settings import Settings

STRAY_SECONDS = 24 * 3600.0
"""No process still writes to a `.part` file this old."""


class JobFiles:
    """Paths of a job's files. They depend on the job alone, so that a second attempt replaces what the first left."""

    def __init__(self, settings: Settings, job: Job) -> None:
        name = f"{job.clip_name}.mp4" if job.clip_name else clip_name(job.request, job.created_at, job.id)
        self.clip = settings.clips / name
        self.preview = settings.previews / f"{job.id}.webp"
        self.checkpoint = settings.checkpoints / f"{job.id}.safetensors"
        self._job = job

    def finished(self) -> Finished | None:
        """The finished clip, if it is on the disk though its row does not say so."""
        return already_made(self._job.request, self.clip)

    def remove_unfinished(self) -> None:
        """Remove what a dead worker left half done. The checkpoint stays: the job resumes from it."""
        halves = [self.preview, *self._parts(self.preview), *self._parts(self.checkpoint)]
        halves += self.clip.parent.glob(f"*_{self._job.id[:8]}.*.part")
        halves += self.clip.parent.glob(f"{escape(self.clip.stem)}.*.part")
        if not receipt_path(self.clip).exists():
            halves += [self.clip, poster_path(self.clip), latents_path(self.clip)]
        for path in halves:
            _remove(path)

    @staticmethod
    def _parts(path: Path) -> list[Path]:
        return list(path.parent.glob(f"{path.name}.*.part"))


def remove_stray_parts(settings: Settings) -> None:
    """Remove stale `.part` files left by dead processes."""
    oldest = time.time() - STRAY_SECONDS
    for folder in settings.written:
        for path in list(folder.rglob("*.part")):
            with suppress(FileNotFoundError):  # another process has just renamed it
                if path.stat().st_mtime < oldest:
                    _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():  # of a sequence
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(PermissionError):  # on Windows, while the dead worker's ffmpeg or a page still has it
        path.unlink(missing_ok=True)

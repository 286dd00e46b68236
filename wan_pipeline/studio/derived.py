"""Files made from a clip, in the cache: its last frame, and a copy to give away."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PIL import Image

from wan_pipeline.clips.copies.share import make_share_copy
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.job import JobState
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.storage.files import whole_file


class DerivedFiles:
    """Makes files from clips, once for each clip."""

    def __init__(self, cache: Path, jobs: JobReader) -> None:
        self._cache, self._jobs = cache, jobs

    def last_frame(self, clip: Path) -> Path:
        """The clip's last frame as a PNG, to go on from. Raises StorageError."""
        from wan_pipeline.clips.read import last_frame  # here: it brings in ffmpeg's wrapper

        path = self._cache / f"{clip.stem}_{_hash_of_path(clip)}_last.png"
        with whole_file(path) as part:
            Image.fromarray(last_frame(clip)).save(part, format="PNG")
        return path

    def last_frame_of_job(self, job_id: str) -> Path:
        """As `last_frame`. Raises UserError for a job without a clip."""
        job = self._jobs.existing(job_id)
        if job.state is not JobState.DONE or job.clip is None:
            raise UserError(f"Job {job_id[:8]} is {job.state} and has no clip; choose a finished one.")
        return self.last_frame(job.clip)

    def share_copy(self, clip: Path) -> Path:
        """A copy to give away: without the receipt, and without the prompt in its name. Raises StorageError."""
        copy = self._cache / "share" / f"clip_{_hash_of_path(clip)}.mp4"
        is_made = copy.is_file() and copy.stat().st_mtime >= clip.stat().st_mtime
        return copy if is_made else make_share_copy(clip, copy)


def _hash_of_path(clip: Path) -> str:
    """32 hex digits of the whole path: clips in different folders may have the same name."""
    return hashlib.sha256(str(clip.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:32]

"""A copy of a clip to give away, without its receipt."""

from __future__ import annotations

import subprocess
from pathlib import Path

from wan_pipeline.clips.ffmpeg import file_url, last_line, reading
from wan_pipeline.errors import StorageError
from wan_pipeline.storage.files import whole_file


def make_share_copy(clip: Path, destination: Path) -> Path:
    """Copy the clip without its metadata to `destination`; nothing is encoded again. Raises StorageError."""
    plain = ["-y", "-map", "0", "-c", "copy", "-map_metadata", "-1", "-fflags", "+bitexact", "-movflags", "+faststart"]
    with whole_file(destination) as part:
        result = subprocess.run(
            [*reading(clip), *plain, "-f", "mp4", file_url(part)],
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )
        if result.returncode != 0:
            reason = last_line(result.stderr.decode("utf-8", errors="replace"))
            raise StorageError(f"The clip {clip} cannot be copied; ffmpeg says: {reason}")
    return destination

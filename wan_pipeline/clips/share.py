"""A copy of a clip to give away, without its receipt."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg

from wan_pipeline.clips.read import SAFE_OPTIONS
from wan_pipeline.errors import StorageError
from wan_pipeline.storage.files import whole_file


def make_share_copy(clip: Path, destination: Path) -> Path:
    """Copy the clip without its metadata to `destination`; nothing is encoded again. Raises StorageError."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *SAFE_OPTIONS, "-i", f"file:{clip.resolve()}"]
    plain = ["-map", "0", "-c", "copy", "-map_metadata", "-1", "-fflags", "+bitexact", "-movflags", "+faststart"]
    with whole_file(destination) as part:
        result = subprocess.run(
            [*command, *plain, "-f", "mp4", f"file:{part.resolve()}"],
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )
        if result.returncode != 0:
            lines = result.stderr.decode("utf-8", errors="replace").strip().splitlines() or ["no message"]
            raise StorageError(f"The clip {clip} cannot be copied; ffmpeg says: {lines[-1]}")
    return destination

"""Control videos: kept in the workspace as they came, named by the SHA-256 of their bytes."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from wan_pipeline.errors import ImageError, StorageError
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.hashes import CHUNK_BYTES

MAX_VIDEO_BYTES = 2 * 2**30


def video_path(inputs: Path, name: str) -> Path:
    """Where the control video of that name lies, if it is one."""
    return inputs / f"{name}.video"


def kept(inputs: Path, name: str | None) -> Path | None:
    """The file of a picture or video of that name, whether it is still there or not; None for no name."""
    if name is None:
        return None
    video = video_path(inputs, name)
    return video if video.is_file() else inputs / f"{name}.png"


def check_length(path: Path, name: str, fps: int, num_frames: int) -> None:
    """Raise ImageError unless the video has a frame for each of the clip's; `name` is "control video" or the like."""
    from wan_pipeline.clips.read import count_frames

    if not path.is_file():
        raise ImageError(f"The {name} {path.name} is not there; choose another file.")
    try:
        found = count_frames(path, fps, num_frames)
    except StorageError:
        found = 0
    if found == 0:
        raise ImageError(f"The {name} {path.name} cannot be read here; save it as MP4, MOV, MKV or WebM.")
    if found < num_frames:
        raise too_short(name, found, fps, num_frames)


def too_short(name: str, found: int, fps: int, num_frames: int) -> ImageError:
    """Of a video with `found` frames at the clip's pace."""
    return ImageError(
        f"The {name} has {found} frames at {fps} a second and the clip takes {num_frames}; "
        f"ask for at most {(found - 1) // 4 * 4 + 1} frames, or give a longer video."
    )


def ingest_video(path: Path, inputs: Path) -> str:
    """Keep a video in `inputs` and give its name there. Raises ImageError if it is none, StorageError."""
    from wan_pipeline.clips.read import read_frames  # here: it brings in ffmpeg's wrapper

    if not path.is_file():
        raise ImageError(f"The video {path.name} is not there; choose another file.")
    if path.stat().st_size > MAX_VIDEO_BYTES:
        raise ImageError(f"The video {path.name} is larger than {MAX_VIDEO_BYTES // 2**30} GB; cut it.")
    try:
        found = next(read_frames(path), None)
    except StorageError:
        found = None
    if found is None:
        raise ImageError(f"The video {path.name} cannot be read here; save it as MP4, MOV, MKV or WebM.")
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            digest.update(chunk)
    target = video_path(inputs, digest.hexdigest())
    if not target.exists():
        with whole_file(target) as part:
            shutil.copyfile(path, part)
    return digest.hexdigest()

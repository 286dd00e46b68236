"""Control videos, saved in the workspace unchanged and named by the SHA-256 of their bytes."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from wan_pipeline.clips.inputs.sequence import find_frames, is_sequence, write_video
from wan_pipeline.errors import ImageError, StorageError
from wan_pipeline.models.spec import frames_up_to
from wan_pipeline.storage.files import storage_error, whole_file

MAX_VIDEO_BYTES = 2 * 2**30


def video_path(inputs: Path, name: str) -> Path:
    """The file of a saved video."""
    return inputs / f"{name}.video"


def check_length(path: Path, name: str, fps: int, num_frames: int) -> None:
    """Raise ImageError unless the video has `num_frames` at `fps`; `name`, as "control video", is for the message."""
    found = len(find_frames(path)) if is_sequence(path) else _count(path, name, fps, num_frames)
    if found < num_frames:
        raise too_short(name, found, fps, num_frames)


def _count(path: Path, name: str, fps: int, at_most: int) -> int:
    from wan_pipeline.clips.read import count_frames  # here: it imports ffmpeg's wrapper

    if not path.is_file():
        raise ImageError(f"The {name} {path.name} is not there; choose another file.")
    try:
        found = count_frames(path, fps, at_most)
    except StorageError:
        found = 0
    if found == 0:
        raise _unreadable(name, path)
    return found


def too_short(name: str, found: int, fps: int, num_frames: int) -> ImageError:
    """The error for a video that has only `found` frames at the clip's frame rate."""
    return ImageError(
        f"The {name} has {found} frames at {fps} a second and the clip takes {num_frames}; "
        f"ask for at most {frames_up_to(found)} frames, or give a longer video."
    )


def ingest_video(path: Path, inputs: Path, fps: int = 16) -> str:
    """Copy a video to `inputs` and return its name there. Raises ImageError for no video, StorageError.

    Pictures in a row become a video of `fps` frames a second.
    """
    if is_sequence(path):
        return _ingest_sequence(path, inputs, fps)
    check_video(path, "video")
    target = video_path(inputs, sha256 := _sha256(path))
    if not target.exists():
        with whole_file(target) as part:
            shutil.copyfile(path, part)
    return sha256


def _ingest_sequence(path: Path, inputs: Path, fps: int) -> str:
    with TemporaryDirectory(dir=inputs, prefix=".frames-", ignore_cleanup_errors=True) as folder:
        made = Path(folder, "video.mkv")
        write_video(find_frames(path), fps, made)
        sha256 = _sha256(made)
        try:
            made.replace(video_path(inputs, sha256))
        except OSError as error:
            raise storage_error(inputs, error) from error
    return sha256


def check_video(path: Path, name: str) -> None:
    """Raise ImageError unless the first frame can be decoded. `name`, such as "control video", is for the message."""
    from wan_pipeline.clips.read import read_frames  # here: it imports ffmpeg's wrapper

    if not path.is_file():
        raise ImageError(f"The {name} {path.name} is not there; choose another file.")
    if path.stat().st_size > MAX_VIDEO_BYTES:
        raise ImageError(f"The {name} {path.name} is larger than {MAX_VIDEO_BYTES // 2**30} GB; cut it.")
    try:
        found = next(read_frames(path), None)
    except StorageError:
        found = None
    if found is None:
        raise _unreadable(name, path)


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _unreadable(name: str, path: Path) -> ImageError:
    return ImageError(f"The {name} {path.name} cannot be read here; save it as MP4, MOV, MKV, WebM or AVI.")

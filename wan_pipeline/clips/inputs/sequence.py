"""Pictures in a row as a video: a folder of them, or a name with a number in it, such as `frame.%04d.png`."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from wan_pipeline.clips.inputs.images import read_rgb
from wan_pipeline.errors import ImageError, StorageError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif"})
MAX_FRAMES = 2000

_NUMBER = re.compile(r"%(?:0?(\d{1,2}))?d")


def is_sequence(path: Path) -> bool:
    """Whether a path names an image sequence."""
    return path.is_dir() or (_NUMBER.search(path.name) is not None and not path.is_file())


def find_frames(path: Path) -> list[Path]:
    """The pictures in order. Raises ImageError if there are none, too many, or one is missing in between."""
    frames = _in_folder(path) if path.is_dir() else _numbered(path)
    if not frames:
        raise ImageError(f"There are no pictures {'in ' if path.is_dir() else 'named '}{path.name}; check the path.")
    if len(frames) > MAX_FRAMES:
        raise ImageError(f"{path.name} is a sequence of {len(frames):,} pictures; at most {MAX_FRAMES:,} are possible.")
    return frames


def write_video(frames: Sequence[Path], fps: int, target: Path) -> None:
    """Write pictures of one size as a lossless video. Raises ImageError, StorageError."""
    import imageio_ffmpeg  # here: it is slow to import

    from wan_pipeline.clips.ffmpeg import file_url, last_line

    width, height = read_rgb(frames[0]).size
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{height}", "-r", str(fps), "-i", "-", "-c:v", "ffv1", "-pix_fmt", "bgr0"]
    command += ["-threads", "1", "-fflags", "+bitexact", "-flags", "+bitexact", "-f", "matroska", file_url(target)]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log) as process:
            try:
                took_all = _took_all(cast(IO[bytes], process.stdin), _pixels(frames, (width, height)))
            except ImageError:
                process.kill()
                raise
            process.communicate()
        log.seek(0)
        if not took_all or process.returncode != 0:
            raise StorageError(f"The pictures could not be made a video; ffmpeg says: {last_line(log.read())}")


def _took_all(stream: IO[bytes], pictures: Iterator[bytes]) -> bool:
    """Whether ffmpeg read all pictures; one that ended before says why in its log."""
    for pixels in pictures:
        try:
            stream.write(pixels)
        except OSError:  # on Windows it is EINVAL, no BrokenPipeError
            return False
    return True


def _pixels(frames: Sequence[Path], size: tuple[int, int]) -> Iterator[bytes]:
    for path in frames:
        image = read_rgb(path)
        if image.size != size:
            found, first = (f"{width}x{height}" for width, height in (image.size, size))
            raise ImageError(f"{path.name} is {found} and {frames[0].name} is {first}; give pictures of one size.")
        yield image.tobytes()


def _in_folder(folder: Path) -> list[Path]:
    paths = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    return sorted(paths, key=lambda path: [(int(part), "") if part.isdigit() else (-1, part) for part in _parts(path)])


def _parts(path: Path) -> list[str]:
    """A name as texts and numbers, so that 2 comes before 10."""
    return [part for part in re.split(r"([0-9]+)", path.name) if part]


def _numbered(path: Path) -> list[Path]:
    before, width, after = _NUMBER.split(path.name, maxsplit=1)
    name = re.compile(rf"{re.escape(before)}([0-9]{{{int(width or 1)},}}){re.escape(after)}")
    files = path.parent.iterdir() if path.parent.is_dir() else ()
    found = {int(match[1]): file for file in files if (match := name.fullmatch(file.name))}
    for number in range(min(found, default=0), max(found, default=-1) + 1):
        if number not in found:
            raise ImageError(f"Picture number {number} of {path.name} is missing; add it, or rename the others.")
    return [found[number] for number in sorted(found)]

"""Frames into ffmpeg's standard input: for more than 8 bits, which moviepy's writer cannot."""

from __future__ import annotations

import errno
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import IO, TextIO, cast

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from wan_pipeline.clips.export.bit_depth import rounded
from wan_pipeline.clips.ffmpeg import write_error
from wan_pipeline.errors import StorageError


class FramePipe:
    """Gives frames of one size to an ffmpeg that runs."""

    def __init__(self, stream: IO[bytes], bits: int) -> None:
        self._stream, self._bits = stream, bits

    def write(self, frames: NDArray[np.uint16]) -> None:
        """(t, H, W, 3) levels of 16 bits; of a format of 8 bits they are rounded to the clip's own. Raises OSError."""
        for frame in frames:
            levels = rounded(frame) if self._bits == 8 else frame.astype("<u2")
            with _broken_pipe():
                self._stream.write(np.ascontiguousarray(levels).data)


@contextmanager
def frame_pipe(size: tuple[int, int], rate: Fraction, bits: int, output: Sequence[str]) -> Iterator[FramePipe]:
    """Run ffmpeg over frames of (width, height); `output` are its options after the input, the file's name last.

    Raises OSError if the disk refused, StorageError with ffmpeg's own words for anything else.
    """
    pixels = "rgb24" if bits == 8 else "rgb48le"
    source = ["-f", "rawvideo", "-pix_fmt", pixels, "-video_size", "{}x{}".format(*size), "-framerate", str(rate)]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *source, "-i", "pipe:0", *output]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        stream = cast(IO[bytes], process.stdin)
        try:
            yield FramePipe(stream, bits)
            with _broken_pipe():
                stream.close()
        except BrokenPipeError:
            process.wait()
            raise _failure(log) from None
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.wait() != 0:
            raise _failure(log)


@contextmanager
def _broken_pipe() -> Iterator[None]:
    """An ffmpeg that has ended is a BrokenPipeError on Windows too, where it is an OSError of another kind."""
    try:
        yield
    except OSError as error:
        raise BrokenPipeError(errno.EPIPE, "ffmpeg has ended") from error


def _failure(log: TextIO) -> OSError | StorageError:
    log.seek(0)
    return write_error("The frames", log.read())

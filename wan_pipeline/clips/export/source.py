"""What a clip has to be exported from."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import imageio_ffmpeg

from wan_pipeline.clips.export.rates import parse_rate
from wan_pipeline.clips.ffmpeg import SAFE_OPTIONS, file_url, reading
from wan_pipeline.clips.latents import NoLatentsError, read_latents
from wan_pipeline.clips.receipt import Receipt, load_receipt
from wan_pipeline.errors import NoReceiptError, RequestError, StorageError

REEL_CHARACTERS = 8
"""Characters that a reel name of a CMX 3600 edit list may have."""


@dataclass(frozen=True)
class Source:
    """A clip's frames, and its latents if they are here."""

    clip: Path
    rate: Fraction
    size: tuple[int, int]
    """Width and height in pixels, as the file has them."""
    frames: int
    receipt: Receipt | None
    latents: bytes | None
    reason: str = ""
    """Why there are no latents."""

    @property
    def reel(self) -> str:
        """A short name of letters and digits: of the clip's job, else of its file."""
        job = self.receipt.job if self.receipt else ""
        return (job or sha256(self.clip.stem.encode()).hexdigest())[:REEL_CHARACTERS].upper()


def open_source(clip: Path, *, with_latents: bool = True) -> Source:
    """Look at a clip, and read its latents if they are wanted.

    Raises StorageError for no video, ReceiptError for a receipt that cannot be read.
    """
    size, rate, frames = _probe(clip)
    try:
        receipt = load_receipt(clip)
    except NoReceiptError as error:
        return Source(clip, rate, size, frames, None, None, str(error))
    request = receipt.request
    if (request.width, request.height, request.num_frames) != (*size, frames):  # cut, scaled or smoothed since
        return Source(clip, rate, size, frames, receipt, None, "It has other frames than its receipt says.")
    if not with_latents:
        return Source(clip, rate, size, frames, receipt, None)
    try:
        return Source(clip, rate, size, frames, receipt, read_latents(clip, receipt.latents))
    except NoLatentsError as error:
        return Source(clip, rate, size, frames, receipt, None, str(error))


def _probe(clip: Path) -> tuple[tuple[int, int], Fraction, int]:
    """Size, rate and number of frames of a video. Raises StorageError."""
    reader: Any = imageio_ffmpeg.read_frames(file_url(clip), input_params=SAFE_OPTIONS)
    try:
        facts = next(reader)
        return facts["size"], parse_rate(str(facts["fps"])), _count(clip)
    except (OSError, RuntimeError, StopIteration, KeyError, RequestError) as error:
        raise StorageError(f"The clip {clip.name} cannot be read; it may have been moved or damaged.") from error
    finally:
        reader.close()  # which ends its ffmpeg


def _count(clip: Path) -> int:
    """Frames, without decoding any: ffmpeg lists a line for each. Raises OSError."""
    listed = subprocess.run(
        [*reading(clip), "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "-"],
        check=False,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    if listed.returncode != 0:
        raise OSError(listed.returncode, "ffmpeg cannot read it")
    return sum(not line.startswith(b"#") for line in listed.stdout.splitlines())

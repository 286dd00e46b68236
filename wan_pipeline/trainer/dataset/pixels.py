"""Pixels of a dataset's images and clips: upright 8-bit sRGB, scaled to cover a bucket and cropped to its middle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from wan_pipeline.clips.inputs.images import read_rgb
from wan_pipeline.clips.inputs.videos import MAX_VIDEO_BYTES
from wan_pipeline.errors import ImageError, StorageError
from wan_pipeline.trainer.dataset.buckets import Bucket
from wan_pipeline.trainer.dataset.folder import Item


@dataclass(frozen=True)
class Shown:
    """What the check looks at: the image, or the first frame of the clip, and how many frames there are."""

    image: Image.Image
    frames: int


def look_at(item: Item, fps: int, max_frames: int) -> Shown:
    """Decode an image, or a clip's first frame. Raises ImageError for what cannot be decoded.

    A clip's frames are counted at `fps`, up to `max_frames`.
    """
    if not item.is_clip:
        return Shown(read_rgb(item.path), 1)
    from wan_pipeline.clips.read import count_frames  # here: it imports ffmpeg's wrapper

    try:
        first = next(_clip_frames(item.path, fps), None)
        if first is None:
            raise ImageError(f"The clip {item.name} has no frames; choose another file.")
        return Shown(first, count_frames(item.path, fps, max_frames))
    except StorageError as error:
        raise ImageError(str(error)) from error


def read_pixels(item: Item, bucket: Bucket, fps: int) -> NDArray[np.uint8]:
    """Pixels (frames, height, width, 3) of an item at the size and length of its bucket. Raises ImageError."""
    size = (bucket.width, bucket.height)
    if not item.is_clip:
        return np.asarray(_cover(read_rgb(item.path), size))[None]
    try:
        frames = [np.asarray(_cover(frame, size)) for frame in islice(_clip_frames(item.path, fps), bucket.frames)]
    except StorageError as error:
        raise ImageError(str(error)) from error
    if len(frames) < bucket.frames:
        raise ImageError(f"The clip {item.name} has changed while it was read; start the training again.")
    return np.stack(frames)


def _clip_frames(path: Path, fps: int) -> Iterator[Image.Image]:
    """The frames of a clip at `fps`. Raises StorageError."""
    from wan_pipeline.clips.inputs.stream import probe_stream  # here and below: they import ffmpeg's wrapper
    from wan_pipeline.clips.read import read_frames

    if path.stat().st_size > MAX_VIDEO_BYTES:
        raise StorageError(f"The clip {path.name} is larger than {MAX_VIDEO_BYTES // 2**30} GB; cut it.")
    for frame in read_frames(path, fps, probe_stream(path).filters):
        yield Image.fromarray(frame)


def _cover(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    fitted: Image.Image = ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    return fitted

"""The hash of a clip's frames, by which a receipt and a verification know them."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


class FrameHash:
    """SHA-256 of the shape and the bytes of frames, added a few at a time."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """`shape` of all the frames: (T, H, W, 3)."""
        self._hash = hashlib.sha256(repr(shape).encode())

    def add(self, frames: NDArray[np.uint8]) -> None:
        self._hash.update(np.ascontiguousarray(frames).data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def frames_sha256(frames: NDArray[np.uint8]) -> str:
    """The hash of all frames of a clip, (T, H, W, 3): equal exactly if two clips have the same frames."""
    digest = FrameHash(frames.shape)
    digest.add(frames)
    return digest.hexdigest()

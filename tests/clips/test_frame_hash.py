"""The hash of a clip's frames."""

from __future__ import annotations

import numpy as np

from wan_pipeline.clips.frame_hash import frames_sha256


def test_the_hash_is_of_shape_and_bytes():
    frames = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)
    assert frames_sha256(frames) == frames_sha256(np.asfortranarray(frames))
    assert frames_sha256(frames) != frames_sha256(frames.reshape(1, 4, 2, 3))

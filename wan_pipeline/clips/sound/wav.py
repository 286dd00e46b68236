"""Writes samples as a WAV file."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LARGEST = 2**31 - 1


def write_wav(samples: NDArray[np.float32], sample_rate: int, path: Path) -> None:
    """Write (channels, samples) from -1 to 1 with 32 bits, at `sample_rate` Hz. Raises OSError."""
    levels = np.round(samples.T.astype(np.float64) * LARGEST).astype("<i4")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[0])
        file.setsampwidth(4)
        file.setframerate(sample_rate)
        file.writeframes(levels.tobytes())

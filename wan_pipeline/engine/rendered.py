"""What the engine returns for a clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wan_pipeline.clips.provenance import Passes, Provenance


@dataclass(frozen=True)
class Rendered:
    """The frames of one clip, and how they were made."""

    frames: NDArray[np.uint8]
    """(T, H, W, 3)."""
    sha256: str
    """Hash of the frames, by `clips.frame_hash.frames_sha256`."""
    seconds: dict[str, float]
    """Seconds by stage."""
    peak_memory_mb: float
    provenance: Provenance
    """What the frames were made from, and how they were computed."""
    resumed_from: int = 0
    """Denoising steps that an earlier run had done."""
    latents: bytes | None = None
    """The final latents as `engine.decoding.latents.pack` writes them; None where they are not to be kept."""
    passes: Passes | None = None
    """What a step cache saved; None without one."""
    ended_at: int = 0
    """Steps after which it ended early; 0 if it did all."""
    warnings: tuple[str, ...] = ()
    """What was left out or degraded, one sentence each."""

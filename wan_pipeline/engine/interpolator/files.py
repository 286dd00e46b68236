"""What makes frames in between: ffmpeg, and networks in files that people put there."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.engine.network_files.folder import NetworkFolder

MOTION = "ffmpeg minterpolate"
"""Motion compensation by blocks: no network. Where things cross or appear it blends."""


def interpolators_in(folder: Path) -> NetworkFolder:
    """What can be chosen; `folder` is that of the settings."""
    return NetworkFolder(folder, "interpolator", MOTION, "as docs/handover.md shows")

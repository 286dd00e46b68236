"""How much the samples of a training move: kept in a file beside them, for stills alone can teach a model to freeze."""

from __future__ import annotations

import json
from pathlib import Path

from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.outside import OutsideDataError, parse, read_json_file

FILE = "motion.json"
SHORTEST_SIDE = 96
"""Frames are made this small first: grain is no motion."""


def read_motion(samples: Path) -> dict[str, float]:
    """By the stem of each clip in the folder: mean squared difference of frames that follow each other, in levels."""
    try:
        return parse(dict[str, float], read_json_file(samples / FILE))
    except (OSError, OutsideDataError):  # of an older training
        return {}


def measure_motion(clip: Path) -> None:
    """Note how much a finished clip moves. Raises StorageError."""
    import numpy as np  # here and below: the page needs none of it

    from wan_pipeline.clips.read import read_frames

    scale = f"scale={SHORTEST_SIDE}:{SHORTEST_SIDE}:force_original_aspect_ratio=increase"
    frames = np.stack(list(read_frames(clip, filters=[scale]))).astype(np.float32)
    moved = float(np.square(np.diff(frames, axis=0)).mean()) if len(frames) > 1 else 0.0
    with whole_file(clip.parent / FILE) as part:
        part.write_text(json.dumps({**read_motion(clip.parent), clip.stem: round(moved, 3)}), encoding="utf-8")

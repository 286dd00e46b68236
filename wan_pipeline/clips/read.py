"""What an MP4 of ours holds: its frames and the receipt in its comment tag."""

from __future__ import annotations

import json
import re
import subprocess
from collections import deque
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from wan_pipeline.errors import StorageError


def last_frame(clip: Path) -> NDArray[np.uint8]:
    """The last frame as (H, W, 3) RGB. Raises StorageError if the file is gone or cannot be decoded."""
    try:
        reader = imageio_ffmpeg.read_frames(clip, pix_fmt="rgb24")
        width, height = next(reader)["size"]
        frame = deque(reader, maxlen=1).pop()
    except (OSError, RuntimeError, StopIteration, IndexError) as error:
        raise StorageError(f"The clip {clip} cannot be read; it may have been moved, deleted or damaged.") from error
    return np.frombuffer(frame, np.uint8).reshape(height, width, 3)


def read_receipt(clip: Path) -> dict[str, Any] | None:
    """The receipt inside an MP4, or None if it has none. Raises StorageError if ffmpeg cannot read the file."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(clip), "-f", "ffmetadata", "-"]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        raise StorageError(f"The clip {clip} cannot be read; it may have been moved, deleted or damaged.")
    found = re.search(r"^comment=((?:\\.|[^\\\n])*)$", result.stdout, re.MULTILINE | re.DOTALL)
    if found is None:
        return None
    try:
        receipt = json.loads(re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL))
    except ValueError:
        return None  # somebody else's comment
    return receipt if isinstance(receipt, dict) else None

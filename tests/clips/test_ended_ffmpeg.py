"""An ffmpeg that ends before it has read all is told in its own words, also on Windows, where such a pipe is EINVAL."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.broken_pipes import break_pipes_as_windows
from wan_pipeline.clips.export.pipe import frame_pipe
from wan_pipeline.clips.inputs.sequence import write_video
from wan_pipeline.errors import StorageError

SIZE = (320, 240)
"""A frame is larger than a pipe holds."""


def pictures_as_a_video(folder: Path) -> None:
    frames = [folder / f"{number}.png" for number in range(3)]
    for frame in frames:
        Image.new("RGB", SIZE).save(frame)
    write_video(frames, 16, folder / "gone" / "video.mkv")


def frames_as_a_file(folder: Path) -> None:
    with frame_pipe(SIZE, Fraction(24), 8, ["-c:v", "ffv1", str(folder / "gone" / "video.mkv")]) as pipe:
        for _ in range(3):
            pipe.write(np.zeros((1, SIZE[1], SIZE[0], 3), np.uint16))


@pytest.mark.parametrize("write", [pictures_as_a_video, frames_as_a_file])
@pytest.mark.parametrize("on_windows", [True, False])
def test_ffmpeg_says_why_it_ended(
    write: Callable[[Path], None], on_windows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if on_windows:
        break_pipes_as_windows(monkeypatch)
    with pytest.raises(StorageError, match=r"ffmpeg says: .*(No such file|Error opening output)"):
        write(tmp_path)

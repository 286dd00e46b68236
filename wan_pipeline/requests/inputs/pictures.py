"""What requests need of input pictures and videos. `clips.inputs.files` implements it over the workspace's files."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Pictures(Protocol):
    """Input pictures and videos. Each saved file is named by a SHA-256 in hex, and a request refers to it by name."""

    def measure(self, path: Path) -> tuple[int, int]:
        """Width and height of a picture, as seen. Raises ImageError if it is not a usable picture."""

    def check_still(self, path: Path) -> None:
        """Decode a picture. Raises ImageError if it is not a usable one, or an animation."""

    def check_video(self, path: Path, name: str) -> None:
        """Decode a video's first frame. Raises ImageError if there is none. `name` says what it is, for the error."""

    def check_length(self, path: Path, name: str, fps: int, num_frames: int) -> None:
        """Raise ImageError unless the video lasts for `num_frames` at `fps`. `name` says what it is, for the error."""

    def save_picture(self, path: Path) -> str:
        """Copy a picture, normalised, and return its name. Raises ImageError or StorageError."""

    def save_video(self, path: Path, fps: int) -> str:
        """Copy a video and return its name. Raises ImageError or StorageError.

        A folder of pictures, or a name such as `frame.%04d.png`, is a video of `fps` frames a second.
        """

    def find(self, name: str) -> Path | None:
        """The saved file of that name, or where it would be; None for a name that is no SHA-256, perhaps a path."""

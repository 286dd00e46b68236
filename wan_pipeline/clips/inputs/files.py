"""The input pictures and videos of a workspace, saved in its `inputs` folder."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.clips.inputs import images, videos
from wan_pipeline.storage.hashes import SHA256


class InputFiles:
    """Implements `requests.pictures.Pictures` over one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def measure(self, path: Path) -> tuple[int, int]:
        return images.measure(path)

    def check_still(self, path: Path) -> None:
        images.check_still(path)

    def check_video(self, path: Path, name: str) -> None:
        videos.check_video(path, name)

    def check_length(self, path: Path, name: str, fps: int, num_frames: int) -> None:
        videos.check_length(path, name, fps, num_frames)

    def save_picture(self, path: Path) -> str:
        return images.ingest(path, self._folder).sha256

    def save_video(self, path: Path, fps: int) -> str:
        return videos.ingest_video(path, self._folder, fps)

    def find(self, name: str) -> Path | None:
        if not SHA256.fullmatch(name):
            return None
        video = videos.video_path(self._folder, name)
        return video if video.is_file() else images.image_path(self._folder, name)

"""The `openai` package, unmodified, makes clips."""

from __future__ import annotations

import io
from pathlib import Path

import openai
import pytest
from PIL import Image

from tests.api.conftest import Served
from tests.support.soak import soaked
from wan_pipeline.access.roles import Role
from wan_pipeline.clips.read import read_frames

SMALL = {"width": 160, "height": 160, "num_frames": 5, "steps": 2, "seed": 3}


def client(served: Served, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.address}/v1", api_key=key, max_retries=0)


@pytest.mark.parametrize("role", [soaked(None), Role.MAKE])
def test_a_clip_by_the_openai_package(served: Served, role: Role | None, tmp_path: Path) -> None:
    """By the owner's own programs, which bring any key, and by a guest's."""
    videos = client(served, served.key(role) if role else "none").videos
    video = videos.create_and_poll(prompt="a red ball", poll_interval_ms=100, extra_body=SMALL)
    assert (video.status, video.progress, video.size) == ("completed", 100, "160x160")
    videos.download_content(video.id).write_to_file(tmp_path / "clip.mp4")
    assert sum(1 for _ in read_frames(tmp_path / "clip.mp4")) == 5
    assert [found.id for found in videos.list()] == [video.id]
    again = videos.remix(video.id, prompt="a blue ball")
    assert again.remixed_from_video_id == video.id
    assert videos.delete(video.id).deleted
    assert video.id not in [found.id for found in videos.list() if found.status == "completed"]


@pytest.mark.soak
def test_from_a_picture_by_the_openai_package(served: Served) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (160, 160), "red").save(picture, "PNG")
    videos = client(served, "none").videos
    reference = ("red.png", picture.getvalue(), "image/png")
    video = videos.create_and_poll(
        prompt="a red ball", input_reference=reference, size="160x160", poll_interval_ms=100, extra_body=SMALL
    )
    assert video.status == "completed"
    job = served.studio.jobs.existing(video.id.removeprefix("video_"))
    assert job.request.image is not None

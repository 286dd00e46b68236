"""The composition root: every user error before any weights."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.faults.disks import read_only_disk, small_disk
from wan_pipeline.clips.encode import encode
from wan_pipeline.clips.read import last_frame
from wan_pipeline.errors import ImageError, LoraError, ModelError, PresetError, RequestError, StorageError, UserError
from wan_pipeline.jobs.job import JobState
from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio

BALL = Draft(prompt="a red ball", seed=1)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (90, 160), "orange").save(path)
    return path


def test_submit_gives_a_waiting_job(studio: Studio) -> None:
    job = studio.jobs.job(studio.submit(BALL))
    assert job is not None
    assert (job.state, job.request.prompt, job.request.mode) == (JobState.QUEUED, "a red ball", Mode.TEXT_TO_VIDEO)
    assert studio.jobs.active() == studio.jobs.recent() == [job]
    assert studio.jobs.preview(job.id) is None


def test_an_image_is_kept_and_turned_into_a_request(studio: Studio, settings: Settings, photo: Path) -> None:
    request = studio.requests.resolve(replace(BALL, image=photo))
    assert (request.mode, request.width, request.height) == (Mode.IMAGE_TO_VIDEO, 192, 320)
    assert (settings.inputs / f"{request.image}.png").is_file()


@pytest.mark.parametrize(
    "draft",
    [
        BALL,
        replace(BALL, negative_prompt="", guidance_scale=0.0, scheduler="euler", width=256, height=256, num_frames=17),
        replace(BALL, prompt='red "ball" <b>\n{prompt}'),
    ],
)
def test_reused_settings_give_the_same_request(draft: Draft, studio: Studio, photo: Path) -> None:
    for used in (draft, replace(draft, image=photo), replace(draft, preset=next(iter(studio.presets)))):
        job_id = studio.submit(used)
        assert studio.requests.resolve(studio.drafts.of_job(job_id)) == studio.jobs.job(job_id).request


def test_settings_of_a_preset_that_is_gone_keep_its_words(settings: Settings, tmp_path: Path) -> None:
    shutil.copytree(settings.presets, tmp_path / "presets")
    studio = Studio(replace(settings, presets=tmp_path / "presets"))
    job_id = studio.submit(replace(BALL, preset=next(iter(studio.presets))))
    styled = studio.jobs.job(job_id).request.styled_prompt
    shutil.rmtree(tmp_path / "presets")
    assert studio.requests.resolve(studio.drafts.of_job(job_id)).styled_prompt == styled


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"prompt": ""}, RequestError, "prompt is empty"),
        ({"prompt": "x" * 100_000}, RequestError, "100,000 characters"),
        ({"prompt": "a\0b"}, RequestError, "control character"),
        ({"width": 330}, RequestError, "use 320 or 352"),
        ({"num_frames": 34}, RequestError, "use 33 or 37"),
        ({"seed": -2}, RequestError, "Seed -2"),
        ({"guidance_scale": float("nan")}, RequestError, "Guidance nan"),
        ({"scheduler": "magic"}, RequestError, "'magic' is not known"),
        ({"model": "wan9"}, ModelError, "no model 'wan9'; choose one of: demo"),
        ({"model": "wan2.1-t2v-1.3b"}, ModelError, "is not installed"),
        ({"preset": "wan9"}, PresetError, "no preset 'wan9'"),
        ({"loras": (LoraChoice("ghost"),)}, LoraError, "no LoRA 'ghost'"),
        ({"loras": (LoraChoice("../secret"),)}, LoraError, "no LoRA"),
        ({"loras": (LoraChoice("junk"),)}, LoraError, "junk"),
        ({"image": Path("gone.png")}, ImageError, "is not there"),
    ],
)
def test_user_errors_come_before_any_job(
    change: dict[str, Any], error: type[UserError], says: str, studio: Studio, settings: Settings
) -> None:
    (settings.loras / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(error, match=says):
        studio.submit(replace(BALL, **change))
    assert studio.jobs.recent() == []


@pytest.mark.parametrize("change", [{"num_inference_steps": 0}, {"loras": (LoraChoice("ghost"),)}, {"prompt": "a\0b"}])
def test_an_image_is_kept_only_when_all_else_is_right(change: dict[str, Any], studio: Studio, photo: Path) -> None:
    with pytest.raises(UserError):
        studio.submit(replace(BALL, image=photo, **change))
    assert list(studio.settings.inputs.iterdir()) == []


def test_the_estimate_is_cheap_and_does_not_wait_for_words(studio: Studio, photo: Path) -> None:
    for _ in range(25):
        studio.submit(BALL)
    draft = replace(BALL, prompt="", image=photo, loras=(LoraChoice("ghost"),))
    started = time.thread_time()  # other processes take their share of the clock
    shown = studio.estimates.of_draft(draft)
    assert time.thread_time() - started < 0.2  # 20 ms on an idle machine
    assert shown.text.startswith("about ") and shown.text.endswith(", after 25 other clips")
    assert not list(studio.settings.inputs.iterdir())
    with pytest.raises(RequestError, match="use 320 or 352"):
        studio.estimates.of_draft(replace(BALL, width=330))


def test_no_room_for_a_clip_is_said_before_the_job(settings: Settings) -> None:
    with Studio(settings) as studio, small_disk(settings.clips, "1m"):
        with pytest.raises(StorageError, match=f"The folder {settings.clips} has 1.0 MB free and a clip .* may need"):
            studio.submit(BALL)
        assert studio.jobs.recent() == []


def test_clips_that_cannot_be_written_are_said_before_the_job(settings: Settings) -> None:
    with Studio(settings) as studio, read_only_disk(settings.clips):
        with pytest.raises(StorageError, match=f"The folder {settings.clips} cannot be written to"):
            studio.submit(BALL)
        assert studio.jobs.recent() == []


def test_a_workspace_that_cannot_be_made_is_said_at_the_start(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StorageError, match=r"taken.* cannot be written to"):
        Studio(replace(settings, workspace=tmp_path / "taken"))


def test_clips_of_one_name_in_two_folders_have_their_own_copies(studio: Studio) -> None:
    clips = [studio.settings.clips / folder / "001_7.mp4" for folder in "ab"]
    for number, clip in enumerate(clips):
        clip.parent.mkdir(parents=True)
        encode(np.full((5, 32, 48, 3), 200 * number, np.uint8), 16, clip, None)
    dark, light = (last_frame(studio.derived.share_copy(clip)).mean() for clip in clips)
    assert dark < 50 < light
    assert studio.derived.last_frame(clips[0]) != studio.derived.last_frame(clips[1])


def test_a_job_without_a_clip_has_no_last_frame(studio: Studio) -> None:
    with pytest.raises(UserError, match="is queued and has no clip"):
        studio.derived.last_frame_of_job(studio.submit(BALL))
    with pytest.raises(UserError, match="There is no job"):
        studio.derived.last_frame_of_job("nobody")

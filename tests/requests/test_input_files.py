"""Last images, control videos, masks and reference images, from the command line to the clip."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import tiny
from tests.support.requests import Silence, make_request
from wan_pipeline.cli import main
from wan_pipeline.clips.encode import encode
from wan_pipeline.errors import ImageError, RequestError
from wan_pipeline.models.registry import DEMO, WAN21_FLF2V, WAN21_VACE_1_3B, WAN22_T2V_A14B
from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.limits import check_request
from wan_pipeline.requests.lists.files import Row, read_queue_file, write_queue_file
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.studio import Studio

VACE = "wan2.1-vace-1.3b"
SMALL = {"width": 128, "height": 128, "num_frames": 5, "num_inference_steps": 2}


@pytest.fixture
def photo(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def video(tmp_path) -> Path:
    encode(np.zeros((9, 128, 128, 3), np.uint8), 16, tmp_path / "control.mp4", None)
    return tmp_path / "control.mp4"


@pytest.mark.parametrize(
    ("spec", "changes", "field"),
    [
        (DEMO, {"last_image": "a", "image": "a", "mode": Mode.IMAGE_TO_VIDEO}, "last_image"),
        (WAN21_FLF2V, {"image": "a", "mode": Mode.IMAGE_TO_VIDEO}, "last_image"),
        (WAN22_T2V_A14B, {"last_image": "a"}, "image"),
        (DEMO, {"control_video": "a"}, "control_video"),
        (DEMO, {"reference_images": ("a",)}, "reference_images"),
        (WAN21_VACE_1_3B, {"control_mask": "a"}, "control_mask"),
        (WAN21_VACE_1_3B, {"reference_images": ("a",) * 5}, "reference_images"),
        (WAN21_VACE_1_3B, {"first_block_cache": 0.1}, "first_block_cache"),
        (DEMO, {"guidance_scale_2": 3.0}, "guidance_scale_2"),
        (WAN22_T2V_A14B, {"guidance_scale_2": float("nan")}, "guidance_scale_2"),
    ],
)
def test_what_a_model_does_not_take_is_said_before_it_is_loaded(spec, changes, field):
    with pytest.raises(RequestError) as caught:
        check_request(make_request(model=spec.id, **changes), spec)
    assert caught.value.field == field


def test_requests_of_older_versions_are_read():
    new = make_request(guidance_scale_2=3.0, last_image="a", reference_images=("b", "c"))
    assert GenerationRequest.from_json(new.to_json()) == new
    names = ("guidance_scale_2", "last_image", "control_video", "control_mask", "reference_images")
    old = {name: value for name, value in make_request().to_dict().items() if name not in names}
    assert GenerationRequest.from_dict(json.loads(json.dumps(old))) == make_request()
    with pytest.raises(RequestError, match=r"'reference_images\.0' = 1: Input should be a valid string"):
        GenerationRequest.from_dict({**old, "reference_images": [1]})


@pytest.mark.soak
def test_a_clip_by_vace_from_the_command_line_and_again_from_its_receipt(settings, photo, video, tmp_path, capsys):
    tiny.write_vace(settings.models / VACE)
    clip = tmp_path / "clip.mp4"
    folders = ["--workspace", str(settings.workspace), "--models-folder", str(settings.models)]
    files = ["--control-video", str(video), "--control-mask", str(photo), "--reference-image", str(photo)]
    size = ["--width", "128", "--height", "128", "--frames", "5", "--steps", "2"]
    made = ["generate", "--model", VACE, "--prompt", "a red ball", *files, *size, "--output", str(clip), "--json"]
    assert main([*made, *folders]) == 0, capsys.readouterr().err
    request = json.loads(capsys.readouterr().out.splitlines()[-1])["request"]
    assert len(request["control_video"]) == len(request["control_mask"]) == 64
    assert request["reference_images"] == [request["control_mask"]]
    with Studio(settings) as studio:
        recovered = studio.drafts.of_clip(clip)
        assert recovered.missing == ()
        assert studio.requests.resolve(recovered.draft) == GenerationRequest.from_dict(request)
        assert studio.in_process.verify(clip, Silence()).identical
        for file in settings.inputs.glob("*.video"):
            file.unlink()
        recovered = studio.drafts.of_clip(clip)
        assert len(recovered.missing) == 1 and recovered.draft.control_video is None


def test_a_file_that_is_no_video_is_a_sentence(settings, photo, tmp_path):
    tiny.write_vace(settings.models / VACE)
    notes = tmp_path / "notes.mp4"
    notes.write_text("not a video")
    with Studio(settings) as studio:
        for path, words in ((notes, "cannot be read here"), (tmp_path / "gone.mp4", "is not there")):
            with pytest.raises(ImageError, match=words):
                studio.requests.resolve(Draft(prompt="a", model=VACE, control_video=path, **SMALL))


@pytest.mark.parametrize("file", ["control_video", "control_mask"])
def test_a_video_that_is_too_short_is_refused_before_it_is_queued(settings, video, tmp_path, file):
    tiny.write_vace(settings.models / VACE)
    encode(np.zeros((41, 128, 128, 3), np.uint8), 16, tmp_path / "long.mp4", None)
    files = {"control_video": tmp_path / "long.mp4", "control_mask": tmp_path / "long.mp4", file: video}
    draft = Draft(prompt="a", model=VACE, **files, **SMALL)
    words = rf"The {file.replace('_', ' ')} has 9 frames at 16 a second and the clip takes 13; ask for at most 9 frames"
    with Studio(settings) as studio:
        with pytest.raises(ImageError, match=words):
            studio.submit(replace(draft, num_frames=13))
        assert studio.jobs.recent() == []
        assert list(settings.inputs.glob("*.video")) == []
        assert studio.submit(replace(draft, num_frames=9))
        with pytest.raises(ImageError, match="has 5 frames at 8 a second and the clip takes 9; ask for at most 5"):
            studio.submit(replace(draft, num_frames=9, fps=8))


def test_a_queue_takes_its_videos_and_pictures_along(settings, photo, video, tmp_path):
    draft = Draft(prompt="a", model=VACE, control_video=video, control_mask=photo, reference_images=(photo,), **SMALL)
    write_queue_file([Row(1, draft)], tmp_path / "queue.zip")
    folder = tmp_path / "unpacked"
    folder.mkdir()
    (row,) = read_queue_file(tmp_path / "queue.zip", folder, own_disk=False).rows
    assert row.draft.control_video.read_bytes() == video.read_bytes()
    assert row.draft.reference_images[0].read_bytes() == photo.read_bytes()
    assert replace(row.draft, control_video=video, control_mask=photo, reference_images=(photo,)) == draft


@pytest.mark.parametrize("column", ["last-image", "control-video", "control-mask", "reference-image"])
def test_a_list_from_elsewhere_reads_nothing_on_this_disk(tmp_path, photo, column):
    (tmp_path / "jobs.csv").write_text(f"prompt,{column}\na,{photo}\n")
    content = read_queue_file(tmp_path / "jobs.csv", tmp_path, own_disk=False)
    assert content.rows == () and "another computer's disk" in content.problems[0]

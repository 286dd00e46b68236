"""Contact sheets: grids with labelled axes, a shot's takes, a project, as PNG, PDF and MP4."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.films import adopt_take, make_shots
from tests.support.requests import make_request
from wan_pipeline.clips.gallery import Clip
from wan_pipeline.clips.read import read_frames
from wan_pipeline.clips.sheets.differing import Grid, differing, grid_of
from wan_pipeline.clips.sheets.page import HEIGHT, WIDTH, fitted, font, wrapped
from wan_pipeline.errors import UserError
from wan_pipeline.projects.shots.store import take_of
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.studio import Studio

SMALL = {"width": 160, "height": 96, "num_frames": 9, "fps": 8}


def grid_clips(studio: Studio) -> list[Clip]:
    (shot,) = make_shots(studio, "Film", 1)
    ids = [
        adopt_take(
            studio,
            shot,
            make_request(**SMALL, seed=7, guidance_scale=float(guidance), loras=(LoraChoice("anna", weight),)),
        )
        for weight in (0.6, 1.0)
        for guidance in (5, 3, 4)
    ]
    return studio.gallery.existing(ids)


def is_drawn(picture: Image.Image, box: tuple[int, int, int, int]) -> bool:
    """Whether a part of the page is not blank."""
    return bool((np.asarray(picture.crop(box)) != 255).any())


@pytest.mark.soak
def test_two_settings_that_differ_are_the_axes(studio: Studio, tmp_path: Path) -> None:
    clips = grid_clips(studio)
    values = differing([clip.request for clip in clips])
    grid = grid_of(values)
    assert grid == Grid("guidance", ("3", "4", "5"), "LoRA anna", ("0.6", "1"))
    studio.contact_sheets.of_clips(clips, "Grid", tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as sheet:
        assert sheet.width == WIDTH and sheet.info["dpi"][0] == pytest.approx(150, abs=1)
        assert is_drawn(sheet, (60, 106, 220, 300)), "the labels of the rows"
        assert is_drawn(sheet, (240, 106, 700, 134)), "the labels of the columns"
    studio.contact_sheets.of_clips(clips, "Grid", tmp_path / "grid.mp4")
    frames = list(read_frames(tmp_path / "grid.mp4"))
    assert len(frames) == 9 and frames[0].shape == (2 * (384 + 34), 3 * 640, 3)


def test_one_tile_missing_is_no_grid() -> None:
    requests = [make_request(seed=seed, guidance_scale=scale) for seed in (1, 2) for scale in (3.0, 4.0)]
    assert grid_of(differing(requests)) is not None
    assert grid_of(differing(requests[:3])) is None
    assert differing(requests[:1]) == [{}]


def test_a_project_has_a_tile_for_each_shot_on_pages_of_a4(studio: Studio, tmp_path: Path) -> None:
    shots = make_shots(studio, "Film", 14)
    for shot in shots[:3]:
        adopt_take(studio, shot)
    studio.shots.pick([take_of(studio.shots.of_number(shots[0].number), 1)])
    studio.contact_sheets.of_project("Film", tmp_path / "film.pdf")
    content = (tmp_path / "film.pdf").read_bytes()
    assert content.startswith(b"%PDF") and content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") >= 1
    studio.contact_sheets.of_project("Film", tmp_path / "film.png")
    with Image.open(tmp_path / "film.png") as sheet:
        assert sheet.height > HEIGHT
    studio.contact_sheets.of_shot(studio.shots.of_number(shots[0].number), tmp_path / "shot.png")
    assert (tmp_path / "shot.png").is_file()


@pytest.mark.parametrize(("name", "sentence"), [("a.jpg", "ends in .png, .pdf or .mp4"), ("a", "is not a picture")])
def test_another_ending_is_refused(studio: Studio, tmp_path: Path, name: str, sentence: str) -> None:
    make_shots(studio, "Film", 1)
    with pytest.raises(UserError, match=sentence):
        studio.contact_sheets.of_project("Film", tmp_path / name)


def test_a_sheet_of_nothing_is_refused(studio: Studio, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished clips for a contact sheet"):
        studio.contact_sheets.of_project("", tmp_path / "a.png")


def test_texts_are_cut_to_their_tile() -> None:
    face = font(18)
    assert face.getlength(fitted("word " * 60, face, 200)) <= 200
    lines = list(wrapped("a red ball bounces over green hills " * 9, face, 200, 2))
    assert len(lines) == 2 and lines[1].endswith("...") and all(face.getlength(line) <= 200 for line in lines)
    assert list(wrapped("", face, 200, 2)) == []

"""Small pictures: no larger than asked, and of another name once their file has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from wan_pipeline.clips.inputs.images import read_rgb
from wan_pipeline.clips.thumbnail import thumbnail_name, write_thumbnail


@pytest.mark.parametrize(("size", "written"), [((1000, 600), (400, 240)), ((100, 60), (100, 60))])
def test_a_thumbnail_is_no_larger_than_asked_and_leaves_the_image(
    tmp_path: Path, size: tuple[int, int], written: tuple[int, int]
) -> None:
    image = Image.new("RGBA", size, "red")
    write_thumbnail(image, tmp_path / "made" / "small.webp", (400, 400))
    with Image.open(tmp_path / "made" / "small.webp") as small:
        assert (small.size, small.format, image.size) == (written, "WEBP", size)
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["small.webp"]


def test_a_photograph_stands_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (300, 200)).save(tmp_path / "photo.jpg", exif=exif)
    write_thumbnail(read_rgb(tmp_path / "photo.jpg"), tmp_path / "small.webp", (60, 60))
    with Image.open(tmp_path / "small.webp") as small:
        assert small.size == (40, 60)


def test_a_changed_file_has_a_thumbnail_of_another_name(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    names = [thumbnail_name(picture)]
    for content, time in ((b"one", 1), (b"two", 2), (b"three", 2)):
        picture.write_bytes(content)
        os.utime(picture, (time, time))
        names.append(thumbnail_name(picture))
    assert len(set(names)) == 4 and names[-1] == thumbnail_name(picture)
    assert thumbnail_name(tmp_path / "b.png") != names[0]

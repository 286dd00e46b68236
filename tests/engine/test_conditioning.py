"""Pictures of another shape than the clip: which part is kept, and what is around them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.requests import make_request
from wan_pipeline.clips.inputs.images import ingest
from wan_pipeline.engine.conditioning import load_conditioning
from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.inputs.image_fit import ImageFit

SIZE = (160, 160)


def columns(path: Path) -> Path:
    """A picture twice as wide as high, whose left is black and whose right is white."""
    row = np.linspace(0, 255, 320).astype(np.uint8)
    Image.fromarray(np.broadcast_to(row[None, :, None], (160, 320, 3)).copy()).save(path)
    return path


@pytest.mark.parametrize(("position", "darkest", "brightest"), [(0.0, 0, 127), (0.5, 64, 191), (1.0, 128, 255)])
def test_7_a_crop_keeps_the_part_that_was_chosen(position: float, darkest: int, brightest: int, tmp_path: Path) -> None:
    name = ingest(columns(tmp_path / "a.png"), tmp_path).sha256
    request = make_request(
        mode=Mode.IMAGE_TO_VIDEO, image=name, last_image=name, image_crop=position, width=SIZE[0], height=SIZE[1]
    )
    found = load_conditioning(tmp_path, request)
    for image in (found.image, found.last_image):
        assert image is not None and image.size == SIZE
        low, high = image.convert("L").getextrema()
        assert (low, high) == (pytest.approx(darkest, abs=2), pytest.approx(brightest, abs=2))


def test_7_padding_keeps_the_whole_picture_within_black_bars(tmp_path: Path) -> None:
    Image.new("RGB", (320, 160), "white").save(tmp_path / "white.png")
    name = ingest(tmp_path / "white.png", tmp_path).sha256
    request = make_request(mode=Mode.IMAGE_TO_VIDEO, image=name, image_fit=ImageFit.PAD, width=SIZE[0], height=SIZE[1])
    image = load_conditioning(tmp_path, request).image
    assert image is not None and image.size == SIZE
    pixels = np.asarray(image.convert("L"))
    assert (pixels[:40] == 0).all() and (pixels[40:120] == 255).all() and (pixels[120:] == 0).all()

"""Boxes for files that are not opened until a clip is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from wan_pipeline.ui import upload


@pytest.mark.parametrize("name", ["UnopenedImage", "UnopenedVideo", "UnopenedFile", "UnopenedGallery"])
def test_a_box_opens_no_file_also_when_gradio_makes_it_anew(name: str, tmp_path: Path) -> None:
    """As it does whenever an event that may change the box has run."""
    broken, picture = tmp_path / "broken.png", tmp_path / "picture.png"
    broken.write_bytes(b"no picture")
    Image.new("RGB", (4, 4)).save(picture)
    makers = {"Image": lambda: upload.image_upload(None), "Video": upload.video_upload, "File": upload.file_upload}
    box = {**makers, "Gallery": upload.gallery_upload}[name.removeprefix("Unopened")]()
    again = box.__class__(**{**box.constructor_args, "render": False})
    assert again.get_block_name() == name.removeprefix("Unopened").lower()
    if name == "UnopenedGallery":
        kept = again.postprocess([str(broken), str(picture)])
        assert [Path(path).name for path in again.preprocess(kept)] == ["broken.png", "picture.png"]
        assert again.preprocess(None) == [] and again.postprocess(None).root == []
    else:
        assert Path(again.preprocess(again.postprocess(broken))).read_bytes() == b"no picture"
        assert again.preprocess(None) is None and again.postprocess(None) is None

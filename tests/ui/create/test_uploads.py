"""Upload boxes give the path of a file and never open it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.components.gallery import GalleryData, GalleryImage
from gradio.data_classes import ImageData
from PIL import Image

from wan_pipeline.ui.create.fields import uploads


@pytest.mark.parametrize("name", ["UnopenedImage", "UnopenedVideo", "UnopenedFile", "UnopenedGallery"])
def test_a_box_that_gradio_constructs_anew_opens_no_file(name: str, tmp_path: Path) -> None:
    """Gradio does so whenever an event that may change the box has run."""
    broken, picture = tmp_path / "broken.png", tmp_path / "picture.png"
    broken.write_bytes(b"no picture")
    Image.new("RGB", (4, 4)).save(picture)
    makers = {"Image": lambda: uploads.image_upload(None), "Video": uploads.video_upload, "File": uploads.file_upload}
    box = {**makers, "Gallery": uploads.gallery_upload}[name.removeprefix("Unopened")]()
    again = box.__class__(**{**box.constructor_args, "render": False})
    assert again.get_block_name() == name.removeprefix("Unopened").lower()
    if name == "UnopenedGallery":
        kept = again.postprocess([str(broken), str(picture)])
        assert [Path(path).name for path in again.preprocess(kept)] == ["broken.png", "picture.png"]
        assert again.preprocess(None) == [] and again.postprocess(None).root == []
    else:
        assert Path(again.preprocess(again.postprocess(broken))).read_bytes() == b"no picture"
        assert again.preprocess(None) is None and again.postprocess(None) is None


@pytest.mark.parametrize("maker", [uploads.image_upload, uploads.video_upload, uploads.file_upload])
def test_a_box_opens_nothing_outside_gradios_folders(maker: Callable[..., Any], tmp_path: Path) -> None:
    """Neither the box of the page nor the one that Gradio constructs anew for a tab."""
    secret = tmp_path / "secret.png"
    Image.new("RGB", (4, 4)).save(secret)
    box = maker(None) if maker is uploads.image_upload else maker()
    for each in (box, box.__class__(**{**box.constructor_args, "render": False})):
        with pytest.raises(gr.Error, match="was uploaded here"):
            each.preprocess(each.data_model(path=str(secret), meta={"_type": "gradio.FileData"}))


def test_a_gallery_opens_nothing_outside_gradios_folders(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    Image.new("RGB", (4, 4)).save(secret)
    box = uploads.gallery_upload()
    with pytest.raises(gr.Error, match="was uploaded here"):
        box.preprocess(GalleryData(root=[GalleryImage(image=ImageData(path=str(secret)))]))

"""What a form says and does about the files that are dropped on it, before anything is queued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from tests.support.pages import TEMPLATES, Reader
from tests.ui.create.forms import TAKES_ALL
from wan_pipeline.models.spec import Mode
from wan_pipeline.projects.project import Project
from wan_pipeline.requests.layers import Setup
from wan_pipeline.requests.request import Draft
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.projects import project_switch
from wan_pipeline.ui.create.choices import choices_of
from wan_pipeline.ui.create.events.files import FileEvents
from wan_pipeline.ui.create.form import read_draft
from wan_pipeline.ui.create.layout import FormLayout


class Tab:
    """The form of one mode, as the page draws it."""

    def __init__(self, studio: Studio, mode: Mode) -> None:
        with gr.Blocks():
            self.layout, self.project = FormLayout(choices_of(studio, mode), TEMPLATES), project_switch()
        self.form = self.layout.form
        self.events = FileEvents(studio, TEMPLATES, self.layout, self.project)

    def values(self, **changes: Any) -> dict[Any, Any]:
        components = (*self.form.components.values(), self.project)
        values: dict[Any, Any] = {component: component.value for component in components}
        return values | {self.form[name]: value for name, value in changes.items()}

    def shown(self, **changes: Any) -> tuple[bool, Reader]:
        """Whether there is a choice how to fit the picture, and what is said of it."""
        updates = self.events.show_framing(self.values(**changes))
        return updates[self.layout.framing].visible, Reader(updates[self.layout.framing_note])


def photo(folder: Path, width: int, height: int) -> str:
    path = folder / f"{width}x{height}.png"
    Image.new("RGB", (width, height)).save(path)
    return str(path)


def test_7_what_a_crop_loses_is_shown_before_the_click(studio: Studio, tmp_path: Path) -> None:
    tab = Tab(studio, Mode.IMAGE_TO_VIDEO)
    tall = photo(tmp_path, 300, 400)  # the nearest of the demo's three sizes is 192 x 320
    visible, note = tab.shown(image=tall)
    assert visible and "A clip of 192 × 320 keeps 80 % of the picture" in note.text
    assert {("data-ratio", "0.60000"), ("data-fit", "crop"), ("data-position", "0.5")} <= {*note.attributes}
    visible, note = tab.shown(image=tall, image_crop="0.25", size="256x256")
    assert visible and ("data-position", "0.25") in note.attributes and "keeps 75 %" in note.text
    visible, note = tab.shown(image=tall, image_fit="pad", size="256x256")
    assert visible and "shows the whole picture, with black bars at its sides" in note.text
    assert tab.shown(image=photo(tmp_path, 640, 384))[0] is False
    assert tab.shown(image=None)[0] is False


def test_the_frame_has_the_shape_that_the_open_project_gives_the_clip(studio: Studio, tmp_path: Path) -> None:
    tab, wide = Tab(studio, Mode.IMAGE_TO_VIDEO), photo(tmp_path, 320, 192)
    assert tab.shown(image=wide)[0] is False
    studio.projects.create(Project("tall", "Tall", Setup(width=192, height=320)))
    values = tab.values(image=wide) | {tab.project: "tall"}
    assert "A clip of 192 × 320" in tab.events.show_framing(values)[tab.layout.framing_note]


def test_7_the_choice_is_in_the_request_and_comes_back(studio: Studio, tmp_path: Path) -> None:
    tab, tall = Tab(studio, Mode.IMAGE_TO_VIDEO), photo(tmp_path, 300, 400)
    draft = tab.form.draft(tab.values(image=tall, image_crop="0.25"))
    request = studio.jobs.existing(studio.submit(draft)).request
    assert (request.width, request.height, request.image_fit, request.image_crop) == (192, 320, "crop", 0.25)
    assert type(request).from_json(request.to_json()) == request
    again = tab.form.show(studio.requests.draft_of(request))
    assert (again[tab.form["image_fit"]], again[tab.form["image_crop"]]) == ("crop", "0.25")
    without = studio.requests.check(Draft(prompt="a red ball", image_fit="pad", image_crop=0.1))
    assert not {"image_fit", "image_crop"} & without.to_dict().keys()  # there is no picture that they could be about


BAD_FILES = {
    Mode.IMAGE_TO_VIDEO: [
        ("image", b"no picture", "is not a picture that can be read here"),
        ("last_image", b"", "is empty"),
    ],
    Mode.TEXT_TO_VIDEO: [
        ("control_video", b"no video", "The control video bad.mp4 cannot be read here; save it as MP4"),
        ("control_mask", b"no video", "The control mask bad.mp4 cannot be read here"),
    ],
}


@pytest.mark.parametrize("mode", Mode)
def test_7_a_bad_file_is_refused_when_it_is_dropped(mode: Mode, studio: Studio, tmp_path: Path) -> None:
    tab, bad = Tab(studio, mode), tmp_path / "bad.mp4"
    for name, content, says in BAD_FILES[mode]:
        bad.write_bytes(content)
        updates = tab.events.check(name, str(bad))
        note = Reader(updates[tab.layout.notice])
        assert updates[tab.form[name]] is None
        assert says in note.text and ("data-field", tab.form.element(name)) in note.attributes


def test_7_of_several_pictures_the_bad_ones_are_refused(studio: Studio, tmp_path: Path) -> None:
    tab, good, bad = Tab(studio, Mode.TEXT_TO_VIDEO), photo(tmp_path, 64, 64), tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    updates = tab.events.check("reference_images", [good, str(bad)])
    assert updates[tab.form["reference_images"]] == [good] and "bad.png" in updates[tab.layout.notice]
    assert tab.events.check("reference_images", [good]) == {tab.layout.notice: ""}
    assert tab.events.check("control_mask", good) == {tab.layout.notice: ""}  # a picture will do
    assert read_draft({"control_mask": good}, TAKES_ALL).control_mask == Path(good)

"""The Project part of a form, and a saved style on its way to the other form."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from tests.support.pages import TEMPLATES, page_links
from wan_pipeline.lora.schedule import Schedule
from wan_pipeline.models.spec import Mode
from wan_pipeline.projects.project import Profile
from wan_pipeline.requests.layers import Layer, Setup
from wan_pipeline.requests.post_processing import PostProcessing
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.studio import Studio
from wan_pipeline.ui.create.carry import CarriedBoxes, carry
from wan_pipeline.ui.create.events.form import FormEvents
from wan_pipeline.ui.create.events.profiles import ProfileEvents
from wan_pipeline.ui.create.events.projects import ProjectEvents, origins
from wan_pipeline.ui.create.layout import FormLayout


class Tab:
    """A browser tab with both forms. Of the updates it keeps the values."""

    def __init__(self, studio: Studio) -> None:
        with gr.Blocks() as page:
            self.links = page_links(page, studio)
            self.carried = CarriedBoxes()
        self.forms: dict[Mode, FormLayout] = self.links.filler.forms  # type: ignore[attr-defined]
        self.text, self.image = self.forms[Mode.TEXT_TO_VIDEO], self.forms[Mode.IMAGE_TO_VIDEO]
        self.events = ProjectEvents(studio, TEMPLATES, self.text, self.links)
        self.profiles = ProfileEvents(studio, TEMPLATES, self.text, self.links)
        self.make = FormEvents(studio, TEMPLATES, self.text, self.links)
        blocks: set[Any] = {self.links.project, *vars(self.carried).values()}
        for layout in self.forms.values():
            blocks |= layout.form.inputs | {layout.preset_title, layout.filled, layout.profile, layout.editing}
            blocks |= set(layout.final_frames.values())
        self.values: dict[Any, Any] = {block: block.value for block in blocks}

    def set(self, **changes: Any) -> None:
        self.values |= {self.text.form[name]: value for name, value in changes.items()}


@pytest.fixture
def tab(studio: Studio) -> Tab:
    return Tab(studio)


def test_a_saved_style_is_a_card_of_both_forms(tab: Tab, studio: Studio) -> None:
    tab.values[tab.text.preset_title] = "Mine"
    card = tab.events.save_preset(tab.values)[tab.text.form["preset"]]
    offered = dict(card.choices).values()
    assert card.value in offered and "quick-draft" not in offered, "a quality is no style"
    tab.set(preset=card.value, quality="quick-draft")
    carried = carry(tab.text, tab.image, tab.carried, tab.values)
    for name, chosen in (("preset", card.value), ("quality", "quick-draft")):
        radio = carried[tab.image.form[name]]
        assert radio.preprocess(chosen) == radio.value == chosen


def test_what_a_projects_setup_has_can_be_taken_out_of_it(tab: Tab, studio: Studio) -> None:
    tab.values[tab.links.project] = "Harbour"
    tab.set(quality="quick-draft", cache="seacache", steps="7")
    tab.events.save_setup(tab.values)
    tab.set(quality="", cache="off", steps="")
    tab.events.save_setup(tab.values)
    setup = studio.projects.existing("Harbour").setup
    assert (setup.quality, setup.cache, setup.num_inference_steps) == (None, "off", 7)


def test_where_settings_come_from_says_a_loras_strength(studio: Studio) -> None:
    loras = (
        LoraChoice("fast", weight_high=3.0, weight_low=1.5),
        LoraChoice("ink", schedule=Schedule.parse("0:0, 1:1")),
    )
    table = origins(TEMPLATES, studio.requests, Draft(prompt="a ball", model="demo", loras=loras))
    assert "fast 3/1.5, ink 1 over 0:0, 1:1" in table


# Draft and final


def test_a_profile_is_saved_chosen_and_makes_the_next_clip(tab: Tab, studio: Studio) -> None:
    tab.values[tab.links.project] = "Harbour"
    tab.set(size="192x320", steps="3", guidance="2.5", seconds=1.0)
    offered = tab.profiles.save("draft", tab.values)[tab.text.profile]
    assert offered.visible and [value for _, value in offered.choices] == ["", "draft"]
    project = studio.projects.existing("Harbour")
    assert project.draft == Profile("demo", None, 192, 320, 3) and project.final.is_empty
    assert project.setup == Setup(), "the rest of the project stays"

    tab.set(size="320x192", steps="9", guidance="")
    tab.values[tab.text.profile] = "draft"
    chosen = tab.profiles.choose(tab.values)
    assert chosen[tab.text.form["size"]].value == "192x320" and chosen[tab.text.form["steps"]] == ""
    tab.set(size="192x320", steps="")
    assert tab.make.show_hints(tab.values)[tab.text.form["steps"]].placeholder == "3 (project)"
    tab.make.generate(tab.values)
    request = studio.jobs.recent(1)[0].request
    assert (request.width, request.height, request.num_inference_steps) == (192, 320, 3)
    assert request.layers["num_inference_steps"] == Layer.PROJECT

    frames = tab.text.final_frames
    tab.values |= {frames["upscale"]: 2, frames["interpolate"]: 4}
    told = tab.profiles.save("final", tab.values)[tab.text.project_report]
    assert "frames 2 times as large and 4 times as many" in told
    assert studio.projects.existing("Harbour").final.post_processing == PostProcessing(2, 4)
    tab.values |= {frames["upscale"]: 1, frames["interpolate"]: 1}
    shown = tab.profiles.show(tab.values)
    assert (shown[frames["upscale"]], shown[frames["interpolate"]]) == (2, 4)
    assert "frames" not in tab.profiles.save("final", tab.values)[tab.text.project_report]
    assert studio.projects.existing("Harbour").final.upscale is None

    tab.values[tab.text.profile] = ""
    assert tab.profiles.choose(tab.values)[tab.text.form["size"]].value == "320x192"
    tab.make.generate(tab.values)
    assert studio.jobs.recent(1)[0].request.num_inference_steps != 3


def test_a_project_without_profiles_offers_none_and_a_filled_form_leaves_its_profile(tab: Tab, studio: Studio) -> None:
    hidden = tab.profiles.offer("default")
    assert not hidden.visible and hidden.value == "" == hidden.preprocess("")
    filled = tab.links.filler.fill(Draft(model="demo"))
    assert filled[tab.text.profile] == "" and tab.text.profile in tab.links.filler.outputs

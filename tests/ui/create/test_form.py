"""The form: what a person sees, and the draft that comes of it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import gradio as gr
import pytest

from tests.ui.create.forms import FULL, PRESETS, SPEEDS, TAKES_ALL, choices, draw, shown
from wan_pipeline.errors import ImageError
from wan_pipeline.models.registry import (
    DEMO,
    WAN21_FLF2V,
    WAN21_VACE_1_3B,
    WAN22_I2V_A14B,
    WAN22_T2V_A14B,
    WAN22_TI2V_5B,
)
from wan_pipeline.models.spec import Mode, ModelSpec
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.requests.resolve import resolve
from wan_pipeline.ui.create import examples
from wan_pipeline.ui.create.fields.table import FIELDS
from wan_pipeline.ui.create.form import Form, Part, read_draft
from wan_pipeline.ui.create.hints import fill, fit_to_model, placeholders


@pytest.fixture(params=list(Mode))
def form(request: pytest.FixtureRequest) -> Form:
    form = Form(choices(request.param, DEMO, image=examples.PICTURES[0].path))
    with gr.Blocks():
        for name in FIELDS:
            if name != "image" or request.param is Mode.IMAGE_TO_VIDEO:
                form.place(name)
    return form


def start(form: Form) -> dict[Any, Any]:
    """What the components hold before anybody touches them."""
    values = {component: component.value for component in form.components.values()}
    if "image" in form.components:
        values[form["image"]] = "first.png"
    return values


def test_every_setting_is_in_the_table() -> None:
    """And in the example: so all of them are tested below."""
    known = [field for field in fields(Draft) if field.name != "first_block_cache"]  # `cache` has taken its place
    assert all(getattr(FULL, field.name) != field.default for field in known)
    read = {key for field in FIELDS.values() for key in field.read(shown(FULL), TAKES_ALL)}
    assert read == {field.name for field in known}


def test_a_threshold_of_an_older_clip_is_shown_as_its_cache() -> None:
    values = shown(replace(FULL, cache=None, cache_amount=None, first_block_cache=0.07))
    assert (values["cache"], values["cache_amount"]) == ("first-block", "medium")


def test_a_draft_survives_the_form() -> None:
    assert read_draft(shown(FULL), TAKES_ALL) == FULL


def test_what_a_model_does_not_take_is_left_out() -> None:
    draft = read_draft(shown(FULL), DEMO)
    nothing = {"last_image": None, "control_video": None, "control_mask": None, "reference_images": ()}
    loras = tuple(LoraChoice("fast", 3.0) if lora.name == "fast" else lora for lora in FULL.loras)
    assert draft == replace(FULL, **nothing, guidance_scale_2=None, loras=loras)


@pytest.mark.parametrize(
    ("mode", "spec", "parts"),
    [
        (Mode.TEXT_TO_VIDEO, DEMO, set()),
        (Mode.TEXT_TO_VIDEO, WAN21_VACE_1_3B, {Part.CONTROL}),
        (Mode.TEXT_TO_VIDEO, WAN22_T2V_A14B, {Part.SECOND_GUIDANCE}),
        (Mode.IMAGE_TO_VIDEO, WAN21_FLF2V, {Part.LAST_IMAGE}),
        (Mode.IMAGE_TO_VIDEO, WAN22_I2V_A14B, {Part.LAST_IMAGE, Part.SECOND_GUIDANCE}),
    ],
    ids=lambda value: getattr(value, "id", None),
)
def test_a_form_shows_what_its_model_takes(mode: Mode, spec: ModelSpec, parts: set[Part]) -> None:
    first, later = (draw(choices(mode, *models)) for models in ((spec,), (DEMO, spec)))
    assert {name for name, part in first.parts.items() if part.visible} == parts
    assert not any(part.visible for part in later.parts.values())
    updates = fit_to_model(later, spec, {"size": "320x192", "seconds": 2.0})
    assert {name for name, part in later.parts.items() if updates[part].visible} == parts


def test_settings_of_a_model_that_is_not_here_are_shown_all_the_same() -> None:
    """Gradio refuses a choice that it does not offer without a word; submitting says what lacks."""
    form = draw(choices(Mode.TEXT_TO_VIDEO, DEMO))
    model = fill(form, replace(FULL, model=WAN22_TI2V_5B.id))[form["model"]]
    assert model.value == WAN22_TI2V_5B.id
    assert [value for _, value in model.choices] == ["demo", WAN22_TI2V_5B.id]


def test_an_odd_size_survives_as_a_custom_one() -> None:
    draft = Draft(model="demo", width=288, height=160, num_frames=33)
    assert shown(draft)["size"] == "custom"
    assert read_draft(shown(draft), DEMO) == replace(draft, loras=())


def test_the_untouched_form_is_ready(form: Form) -> None:
    draft = form.draft(start(form))
    size = (320, 192) if draft.image else None
    request = resolve(draft, DEMO, PRESETS["natural"], "sha" if draft.image else None, size)
    assert (request.width, request.height, request.num_frames, request.num_inference_steps) == (320, 192, 33, 16)
    assert request.mode is form.choices.mode


def test_10_looks_and_qualities_are_separate_choices(form: Form) -> None:
    looks, qualities = ([value for _, value in form[name].choices] for name in ("preset", "quality"))  # type: ignore[attr-defined]
    assert {"noir", "golden-hour"} <= {*looks} and qualities == ["", "faithful", "fine-detail", "quick-draft"]
    assert not {*looks} & {*qualities}


def test_10_a_quality_that_was_given_as_the_preset_is_shown_in_its_place() -> None:
    form = draw(choices(Mode.TEXT_TO_VIDEO, DEMO))
    updates = fill(form, Draft(prompt="a ball", model="demo", preset="quick-draft"))
    assert (updates[form["preset"]].value, updates[form["quality"]].value) == ("natural", "quick-draft")


def test_the_image_form_wants_an_image(form: Form) -> None:
    if form.choices.mode is Mode.IMAGE_TO_VIDEO:
        with pytest.raises(ImageError, match="no image yet"):
            form.draft({**start(form), form["image"]: None})


def test_what_is_left_empty_is_left_to_the_preset(form: Form) -> None:
    draft = form.draft({**start(form), form["preset"]: "noir", form["quality"]: "quick-draft"})
    assert (draft.preset, draft.quality, draft.num_inference_steps) == ("noir", "quick-draft", None)
    assert placeholders(DEMO, PRESETS["noir"], quality=PRESETS["quick-draft"]) == {
        "steps": "6",
        "guidance": "3",
        "guidance_2": "",
        "flow_shift": "3",
        "fps": "16",
    }


def test_the_examples_are_there() -> None:
    assert all(picture.path.is_file() for picture in examples.PICTURES)
    assert len(PRESETS) >= 8


def test_speeds_are_offered_for_their_models_only() -> None:
    form = draw(choices(Mode.TEXT_TO_VIDEO, DEMO, WAN22_T2V_A14B))
    assert not form["speed"].visible
    chosen = {"size": "320x192", "seconds": 2.0, "speed": "wan2.2-t2v-4-steps"}
    there, gone = (fit_to_model(form, spec, chosen)[form["speed"]] for spec in (WAN22_T2V_A14B, DEMO))
    assert (there.visible, there.value) == (True, "wan2.2-t2v-4-steps") and (gone.visible, gone.value) == (False, "")
    assert [value for _, value in there.choices] == ["", "wan2.2-t2v-4-steps"]
    hints = placeholders(WAN22_T2V_A14B, None, SPEEDS["wan2.2-t2v-4-steps"], PRESETS["quick-draft"])
    assert (hints["steps"], hints["guidance"], hints["guidance_2"], hints["flow_shift"]) == ("4", "1", "1", "5")

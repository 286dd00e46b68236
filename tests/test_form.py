"""The form's table: what a person sees, and the Draft that comes of it."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from wan_pipeline.errors import ImageError, RequestError, UserError
from wan_pipeline.models.registry import DEMO, MODELS, WAN22_TI2V_5B
from wan_pipeline.presets import load_presets, resolve
from wan_pipeline.request import Draft, LoraChoice, Mode
from wan_pipeline.settings import REPOSITORY
from wan_pipeline.ui import examples
from wan_pipeline.ui.fields import FIELDS, Choices, frames_of, length_bounds, parse_number, size_choices
from wan_pipeline.ui.form import Form, read_draft
from wan_pipeline.ui.generate_tab import build_tab
from wan_pipeline.ui.hints import placeholders
from wan_pipeline.ui.memory import restore

PRESETS = load_presets(REPOSITORY / "presets")
CHOICES_FOR_MEMORY = Choices(Mode.TEXT_TO_VIDEO, (DEMO,), PRESETS, (), "at first")
FULL = Draft(
    prompt="a red ball",
    image=Path("first.png"),
    model="demo",
    preset="noir",
    negative_prompt="text",
    seed=2**32 - 1,
    width=320,
    height=192,
    num_frames=17,
    fps=16,
    num_inference_steps=8,
    guidance_scale=2.5,
    flow_shift=4.0,
    scheduler="euler",
    loras=(LoraChoice("paint", 0.5), LoraChoice("ink", -1.0)),
)


@pytest.fixture(params=list(Mode))
def form(request: pytest.FixtureRequest) -> Form:
    picture = str(examples.PICTURES[0].path)
    choices = Choices(request.param, (DEMO,), PRESETS, ("paint",), "a red ball", Path(picture))
    form = Form(choices)
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


def shown(draft: Draft) -> dict[str, Any]:
    return {name: field.show(draft) for name, field in FIELDS.items()}


def test_every_setting_is_in_the_table() -> None:
    values = {**shown(Draft(model="demo")), "size": "custom", "width": "320", "height": "192"}
    read = {key for field in FIELDS.values() for key in field.read(values)} | {"loras"}
    only_on_the_command_line = {
        "guidance_scale_2",
        "last_image",
        "control_video",
        "control_mask",
        "reference_images",
        "quantization",
        "speed",
        "first_block_cache",
    } - read
    assert read | only_on_the_command_line == {field.name for field in fields(Draft)}


def test_a_draft_survives_the_form() -> None:
    assert read_draft(shown(FULL)) == FULL


def test_an_odd_size_survives_as_a_custom_one() -> None:
    draft = Draft(model="demo", width=288, height=160, num_frames=33)
    assert shown(draft)["size"] == "custom"
    assert read_draft(shown(draft)) == Draft(**{**vars(draft), "image": None})


def test_the_untouched_form_is_ready(form: Form) -> None:
    draft = form.draft(start(form))
    size = (320, 192) if draft.image else None
    request = resolve(draft, DEMO, PRESETS["natural"], "sha" if draft.image else None, size)
    assert (request.width, request.height, request.num_frames, request.num_inference_steps) == (320, 192, 33, 16)
    assert request.mode is form.choices.mode


def test_the_image_form_wants_an_image(form: Form) -> None:
    if form.choices.mode is Mode.IMAGE_TO_VIDEO:
        with pytest.raises(ImageError, match="no image yet"):
            form.draft({**start(form), form["image"]: None})


def test_what_is_left_empty_is_left_to_the_preset(form: Form) -> None:
    draft = form.draft({**start(form), form["preset"]: "quick-draft"})
    assert draft.num_inference_steps is None
    assert placeholders(DEMO, PRESETS["quick-draft"]) == {
        "steps": "6",
        "guidance": "3",
        "flow_shift": "3",
        "fps": "16",
    }


@pytest.mark.parametrize(
    ("text", "kind", "number"), [("", int, None), ("  ", float, None), (" 12 ", int, 12), ("2,5", float, 2.5)]
)
def test_numbers_as_people_type_them(text: str, kind: type[int] | type[float], number: float | None) -> None:
    assert parse_number("seed", "Seed", text, kind) == number


@pytest.mark.parametrize("text", ["abc", "1.5", "1" * 5000, "<b>1</b>", "None"])
def test_what_is_no_whole_number_gets_a_short_sentence(text: str) -> None:
    with pytest.raises(RequestError, match="is not a whole number") as error:
        parse_number("seed", "Seed", text, int)
    assert len(str(error.value)) < 150


@pytest.mark.parametrize(
    ("width", "height", "sentence"), [("", "192", "no width"), ("320", "", "no height"), ("a", "192", "Width 'a'")]
)
def test_a_custom_size_needs_both_sides(width: str, height: str, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        read_draft({**shown(FULL), "size": "custom", "width": width, "height": height})


@pytest.mark.parametrize("spec", MODELS.values(), ids=lambda spec: spec.id)
def test_every_length_offered_can_be_made(spec: Any) -> None:
    low, high = length_bounds(spec)
    lengths = [low + quarter * 0.25 for quarter in range(round((high - low) * 4) + 1)]
    frames = [frames_of(length, spec.fps, spec) for length in lengths]
    assert all(count % spec.temporal_compression == 1 and 1 < count <= spec.max_frames for count in frames)
    assert lengths[-1] == high


def test_a_lora_without_a_weight_has_weight_one() -> None:
    values = {**shown(FULL), "lora_weight_0": "", "lora_1": ""}
    assert read_draft(values).loras == (LoraChoice("paint", 1.0),)
    with pytest.raises(RequestError, match="Weight of LoRA 'paint' 'heavy' is not a number"):
        read_draft({**values, "lora_weight_0": "heavy"})


def test_a_faster_clip_that_is_too_long_is_said_in_seconds() -> None:
    with pytest.raises(UserError, match=r"1 s at 60 frames per second are 61 frames; .* at most 49"):
        read_draft({**shown(FULL), "fps": "60"})


def test_sizes_follow_model_and_mode() -> None:
    assert size_choices(WAN22_TI2V_5B, Mode.TEXT_TO_VIDEO)[0][1] == "1280x704"
    assert size_choices(DEMO, Mode.IMAGE_TO_VIDEO)[0][1] == "match"


def test_the_examples_are_there() -> None:
    assert all(picture.path.is_file() for picture in examples.PICTURES)
    assert len(PRESETS) >= 8


def test_what_the_browser_kept_is_given_back_if_it_means_something() -> None:
    with gr.Blocks():
        tab = build_tab(CHOICES_FOR_MEMORY)
    studio = SimpleNamespace(presets=PRESETS)
    kept = {name: None for name in tab.form.components} | {"seconds": 1.5, "model": "demo", "preset": "noir"}
    kept |= {"prompt": "kept", "size": "320x192"}
    given = restore(studio, tab, json.dumps(kept))
    assert given[tab.form["prompt"]] == "kept"
    assert given[tab.form["preset"]] == "noir"
    assert restore(studio, tab, json.dumps(kept | {"preset": "gone"}))[tab.form["preset"]] is None
    for bad in ("", "{", "[]", "3", json.dumps(kept | {"model": "gone"}), json.dumps(kept | {"seconds": "x"}), "{}"):
        assert restore(studio, tab, bad) == {tab.form["prompt"]: gr.skip()}, bad

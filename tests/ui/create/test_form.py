"""The form: what a person sees, and the draft that comes of it."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from tests.support.pages import TEMPLATES
from wan_pipeline.errors import ImageError, RequestError, UserError
from wan_pipeline.lora.schedule import Schedule
from wan_pipeline.models.registry import (
    DEMO,
    MODELS,
    WAN21_FLF2V,
    WAN21_VACE_1_3B,
    WAN22_I2V_A14B,
    WAN22_T2V_A14B,
    WAN22_TI2V_5B,
    find,
)
from wan_pipeline.models.spec import LastImage, Mode, ModelSpec
from wan_pipeline.requests.presets import load_presets
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.requests.resolve import resolve
from wan_pipeline.requests.sampling.speeds import load_speeds
from wan_pipeline.settings import REPOSITORY
from wan_pipeline.ui.create import examples
from wan_pipeline.ui.create.fields.field import Choices, parse_number
from wan_pipeline.ui.create.fields.files import FILE_FIELDS
from wan_pipeline.ui.create.fields.loras import LoraRow, read_rows, with_row, write_rows
from wan_pipeline.ui.create.fields.size import size_choices
from wan_pipeline.ui.create.fields.table import FIELDS
from wan_pipeline.ui.create.form import Form, Part, read_draft
from wan_pipeline.ui.create.hints import fill, fit_to_model, placeholders
from wan_pipeline.ui.create.layout import FormLayout
from wan_pipeline.ui.create.saved_form import restore

PRESETS = load_presets(REPOSITORY / "presets")[0]
SPEEDS = load_speeds(REPOSITORY / "presets" / "speeds")[0]
TAKES_ALL = replace(DEMO, last_image=LastImage.OPTIONAL, takes_control=True, guidance_scale_2=3.0)


def choices(mode: Mode, *models: ModelSpec, image: Path | None = None) -> Choices:
    return Choices(
        mode,
        models,
        PRESETS,
        "a red ball",
        lambda name: find(name or "demo"),
        lambda: models,
        image,
        SPEEDS,
    )


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
    noise_size="192x160",
    guidance_scale=2.5,
    flow_shift=4.0,
    scheduler="euler",
    loras=(
        LoraChoice("paint", 0.5),
        LoraChoice("ink", -1.0, schedule=Schedule.parse("0:0, 0.3:1")),
        LoraChoice("fast", weight_high=3.0, weight_low=1.5),
        LoraChoice("paint", 0.5),
    ),
    guidance_scale_2=1.5,
    image_fit="pad",
    image_crop=0.25,
    last_image=Path("last.png"),
    control_video=Path("control.mp4"),
    control_mask=Path("mask.png"),
    reference_images=(Path("one.png"), Path("two.png")),
    quantization="int8",
    cache="seacache",
    cache_amount=0.75,
    guidance_interval=(0.2, 0.9),
    early_end=0.25,
    speed="wan2.2-t2v-4-steps",
    prompt_before="35mm film.",
    prompt_after="warm light",
    quality="fine-detail",
)


def draw(choices: Choices) -> Form:
    """The form of a page."""
    with gr.Blocks():
        return FormLayout(choices, TEMPLATES).form


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


def shown(draft: Draft, spec: ModelSpec = DEMO) -> dict[str, Any]:
    return {name: field.show(draft, spec) for name, field in FIELDS.items()}


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
        read_draft({**shown(FULL), "size": "custom", "width": width, "height": height}, DEMO)


@pytest.mark.parametrize("spec", MODELS.values(), ids=lambda spec: spec.id)
def test_every_length_offered_can_be_made(spec: Any) -> None:
    low, high = spec.length_bounds
    lengths = [low + quarter * 0.25 for quarter in range(round((high - low) * 4) + 1)]
    frames = [spec.frames_of(length, spec.fps) for length in lengths]
    assert all(count % spec.temporal_compression == 1 and 1 < count <= spec.max_frames for count in frames)
    assert lengths[-1] == high


def read_loras(*rows: LoraRow, spec: ModelSpec = DEMO) -> tuple[LoraChoice, ...]:
    return read_draft({**shown(FULL), "loras": write_rows(rows)}, spec).loras


def test_lora_rows_as_people_fill_them_in() -> None:
    assert read_loras(LoraRow("paint", weight=""), LoraRow("ink", on=False)) == (LoraChoice("paint", 1.0),)
    by_expert = LoraRow("fast", weight="3", low="1,5")
    assert read_loras(by_expert, spec=TAKES_ALL) == (LoraChoice("fast", weight_high=3.0, weight_low=1.5),)
    assert read_loras(by_expert) == (LoraChoice("fast", 3.0),), "this model has one expert"
    with pytest.raises(RequestError, match="Weight of LoRA 'paint' 'heavy' is not a number"):
        read_loras(LoraRow("paint", weight="heavy"))
    with pytest.raises(RequestError, match=r"LoRA 'paint' over the steps: the shares .* do not rise"):
        read_loras(LoraRow("paint", over="0.5:1, 0.2:0"))


@pytest.mark.parametrize("text", ["{", "[3]", '[{"name": "x", "more": 1}]', '[{"weight": "1"}]', "[" * 10_000])
def test_what_is_no_lora_rows_is_one_sentence(text: str) -> None:
    with pytest.raises(RequestError, match=r"The LoRAs of the form cannot be read: .*; reload the page"):
        read_draft({**shown(FULL), "loras": text}, DEMO)


def test_a_lora_is_added_once_and_turned_on_again() -> None:
    text = with_row(write_rows([LoraRow("ink", "0.5", on=False)]), "paint")
    assert read_rows(with_row(text, "ink")) == (LoraRow("ink", "0.5"), LoraRow("paint"))


def test_a_faster_clip_that_is_too_long_is_said_in_seconds() -> None:
    with pytest.raises(UserError, match=r"1 s at 60 frames per second are 61 frames; .* at most 49"):
        read_draft({**shown(FULL), "fps": "60"}, DEMO)


def test_sizes_follow_model_and_mode() -> None:
    assert size_choices(WAN22_TI2V_5B, Mode.TEXT_TO_VIDEO)[0][1] == "1280x704"
    assert size_choices(DEMO, Mode.IMAGE_TO_VIDEO)[0][1] == "match"


def test_the_examples_are_there() -> None:
    assert all(picture.path.is_file() for picture in examples.PICTURES)
    assert len(PRESETS) >= 8


def test_what_the_browser_saved_is_restored_if_it_makes_sense() -> None:
    form = draw(choices(Mode.TEXT_TO_VIDEO, DEMO))
    saved = {name: None for name in form.components if name not in FILE_FIELDS}
    saved |= {"seconds": 1.5, "model": "demo", "preset": "noir", "prompt": "saved", "size": "320x192"}
    given = restore(form, json.dumps(saved))
    assert (given[form["prompt"]], given[form["preset"]].value, given[form["seed"]]) == ("saved", "noir", "")
    assert restore(form, json.dumps(saved | {"preset": "gone"}))[form["preset"]].value is None
    assert restore(form, json.dumps(saved | {"seconds": 2}))[form["seconds"]].value == 2


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"model": "gone"},
            {"model": None},
            {"seconds": "x"},
            {"seconds": True},
            {"seconds": None},
            {"seconds": 1e400},
        ),
        *({"prompt": 3.0}, {"prompt": ["x"]}, {"prompt": "\ud800"}, {"unknown": "x"}, {"loras": "[3]"}),
    ],
    ids=str,
)
def test_a_saved_form_that_makes_no_sense_is_not_restored(change: dict[str, Any]) -> None:
    form = draw(choices(Mode.TEXT_TO_VIDEO, DEMO))
    saved = {name: None for name in form.components if name not in FILE_FIELDS}
    saved |= {"seconds": 1.5, "model": "demo", "preset": "noir", "size": "320x192"}
    assert restore(form, json.dumps(saved | change)) == {form["prompt"]: gr.skip()}


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", "[" * 10_000])
def test_what_is_no_saved_form_is_not_restored(text: str) -> None:
    form = draw(choices(Mode.TEXT_TO_VIDEO, DEMO))
    assert restore(form, text) == {form["prompt"]: gr.skip()}


def test_speeds_are_offered_for_their_models_only() -> None:
    form = draw(choices(Mode.TEXT_TO_VIDEO, DEMO, WAN22_T2V_A14B))
    assert not form["speed"].visible
    chosen = {"size": "320x192", "seconds": 2.0, "speed": "wan2.2-t2v-4-steps"}
    there, gone = (fit_to_model(form, spec, chosen)[form["speed"]] for spec in (WAN22_T2V_A14B, DEMO))
    assert (there.visible, there.value) == (True, "wan2.2-t2v-4-steps") and (gone.visible, gone.value) == (False, "")
    assert [value for _, value in there.choices] == ["", "wan2.2-t2v-4-steps"]
    hints = placeholders(WAN22_T2V_A14B, None, SPEEDS["wan2.2-t2v-4-steps"], PRESETS["quick-draft"])
    assert (hints["steps"], hints["guidance"], hints["guidance_2"], hints["flow_shift"]) == ("4", "1", "1", "5")

"""What happens around the prompt, and where messages stand."""

from __future__ import annotations

import random
from typing import Any

import gradio as gr
import pytest

from tests.support import adapters
from tests.support.pages import TEMPLATES, Reader, page_links
from wan_pipeline.errors import ImageError, LoraError, RequestError, UserError
from wan_pipeline.models.registry import DEMO, MODELS
from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.prompts.known_words import vocabulary_notes, write_prompt
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio
from wan_pipeline.ui.create import examples
from wan_pipeline.ui.create.carry import CarriedBoxes, carry
from wan_pipeline.ui.create.choices import choices_of
from wan_pipeline.ui.create.events.loras import NO_ROWS, LoraEvents
from wan_pipeline.ui.create.events.prompts import PromptEvents
from wan_pipeline.ui.create.events.tools import PromptTools
from wan_pipeline.ui.create.fields.faults import field_at_fault
from wan_pipeline.ui.create.fields.loras import LoraRow, read_rows, row_element, write_rows
from wan_pipeline.ui.create.layout import FormLayout

EXAMPLES = list(examples.PROMPTS.values())


@pytest.fixture
def forms(studio: Studio) -> dict[Mode, FormLayout]:
    with gr.Blocks(), gr.Tabs():
        return {mode: FormLayout(choices_of(studio, mode), TEMPLATES) for mode in Mode}


def test_8_an_example_can_be_undone(studio: Studio, forms: dict[Mode, FormLayout]) -> None:
    layout = forms[Mode.TEXT_TO_VIDEO]
    events, prompt = PromptEvents(studio, TEMPLATES, layout, gr.Dropdown()), layout.form["prompt"]
    taken = events.use_prompt(EXAMPLES[1], {prompt: "typed by hand", layout.replaced: ""})
    assert (taken[prompt], taken[layout.replaced]) == (EXAMPLES[1], "typed by hand")
    again = events.use_prompt(EXAMPLES[2], {prompt: EXAMPLES[1], layout.replaced: "typed by hand"})
    assert layout.replaced not in again, "what was typed stays remembered"
    assert events.undo("typed by hand") == {prompt: "typed by hand", layout.replaced: ""}


def test_a_richer_prompt_replaces_only_what_it_was_made_from(studio: Studio, forms: dict[Mode, FormLayout]) -> None:
    layout = forms[Mode.TEXT_TO_VIDEO]
    with gr.Blocks() as page:
        tools = PromptTools(studio, TEMPLATES, layout, page_links(page, studio))
    prompt = layout.form["prompt"]
    asked = tools.enhance({prompt: "a red ball", layout.form["model"]: "demo"})
    assert asked[layout.enhanced][0] == "a red ball" and prompt not in asked
    taken = tools.take_enhanced({prompt: "a red ball", layout.replaced: "", **asked})
    assert (taken[prompt], taken[layout.replaced]) == (asked[layout.enhanced][1], "a red ball")
    late = tools.take_enhanced({prompt: "a red ball and a box", layout.replaced: "", **asked})
    assert list(late) == [layout.notice] and "left as it is" in late[layout.notice]
    failed = tools.enhance({prompt: "a red ball", layout.form["model"]: "wan2.1-t2v-1.3b"})
    assert "instruction model" in failed[layout.notice]
    assert tools.take_enhanced({prompt: "a red ball", layout.replaced: "", **failed}) == {layout.notice: gr.skip()}


def test_8_an_example_picture_leaves_a_typed_prompt(studio: Studio, forms: dict[Mode, FormLayout]) -> None:
    layout = forms[Mode.IMAGE_TO_VIDEO]
    events, prompt, picture = (
        PromptEvents(studio, TEMPLATES, layout, gr.Dropdown()),
        layout.form["prompt"],
        examples.PICTURES[1],
    )
    assert prompt not in events.use_picture(picture, {prompt: "it sinks"})
    assert events.use_picture(picture, {prompt: examples.PICTURES[0].prompt})[prompt] == picture.prompt


@pytest.mark.parametrize(
    ("there", "carried", "filled", "comes"),
    [
        ("", "", "", True),
        (EXAMPLES[0], "", "", True),
        ("came along before", "came along before", "", True),
        ("typed there", "", "", False),
        (EXAMPLES[0], "", "yes", False),
    ],
)
def test_8_a_typed_prompt_goes_along_and_replaces_no_other(
    there: str, carried: str, filled: str, comes: bool, forms: dict[Mode, FormLayout]
) -> None:
    source, target = forms[Mode.TEXT_TO_VIDEO], forms[Mode.IMAGE_TO_VIDEO]
    with gr.Blocks():
        boxes = CarriedBoxes()
    values: dict[Any, Any] = {source.form["prompt"]: "typed here", source.form["preset"]: "noir"}
    values |= {target.form["prompt"]: there, target.form["preset"]: "natural", target.filled: filled}
    values |= {source.form["quality"]: "quick-draft", target.form["quality"]: "", boxes.quality: ""}
    updates = carry(source, target, boxes, {**values, boxes.prompt: carried, boxes.preset: "natural"})
    assert updates.get(target.form["prompt"]) == ("typed here" if comes else None)
    for name, carried_over in (("preset", "noir"), ("quality", "quick-draft")):
        radio = updates.get(target.form[name])
        assert radio is None if filled else radio.value == carried_over
    chosen = {**values, target.form["preset"]: "comic", boxes.prompt: carried, boxes.preset: "natural"}
    assert target.form["preset"] not in carry(source, target, boxes, chosen)


@pytest.mark.parametrize(
    ("error", "field"),
    [
        (RequestError("num_inference_steps", "x"), "steps"),
        (RequestError("width", "x"), "size"),
        (RequestError("seed", "x"), "seed"),
        (LoraError("LoRA 'ink' is damaged"), row_element("ink")),
        (ImageError("x").at("last_image"), "last_image"),
        (UserError("x"), ""),
    ],
)
def test_8_an_error_stands_at_its_field(error: UserError, field: str) -> None:
    values = {"size": "320x192", "loras": write_rows([LoraRow("paint"), LoraRow("ink")])}
    assert field_at_fault(error, values) == field


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("a cat walks through Paris", "does not know 'cat', 'walks' and 'Paris'"),
        ("a red ball and a blue box", "names 2: red ball, blue box"),
        ("a red ball and a blue ball", "names 2: blue ball, red ball"),
    ],
)
def test_11_what_the_demo_does_not_know_is_said(prompt: str, says: str) -> None:
    said = " ".join(vocabulary_notes(prompt, DEMO))
    assert says in said and "It knows one ball" in said
    assert not any(vocabulary_notes(prompt, spec) for spec in MODELS.values() if not spec.vocabulary)


@pytest.mark.parametrize("prompt", ["a rocket ship flies up", "a red ball on the sea. the ball bounces", "", *EXAMPLES])
def test_11_what_it_knows_gets_no_warning(prompt: str) -> None:
    assert vocabulary_notes(prompt, DEMO) == ()


def test_11_the_button_writes_a_prompt_that_works() -> None:
    for seed in range(100):
        prompt = write_prompt(DEMO, random.Random(seed))
        assert prompt and vocabulary_notes(prompt, DEMO) == ()


def test_11_it_is_said_before_the_click(studio: Studio, forms: dict[Mode, FormLayout]) -> None:
    layout = forms[Mode.TEXT_TO_VIDEO]
    values = {component: component.value for component in layout.form.components.values()}
    events = PromptEvents(studio, TEMPLATES, layout, gr.Dropdown())
    told = events.show_notes({**values, layout.form["prompt"]: "a cat"})[layout.prompt_notes]
    assert "&#39;cat&#39;" in told and 'data-act="write"' in told
    assert events.show_notes(values)[layout.prompt_notes] == ""


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        ("a boat, <lora:INK:0.8>, at sea", "a boat, at sea"),
        ("<lora:ink:0.8> a boat", "a boat"),
        ("a boat <lora:ink:0.8>", "a boat"),
        ("a boat <lora:ink:0.8>, at sea", "a boat, at sea"),
    ],
)
def test_a_pasted_lora_tag_becomes_a_row_by_one_click(
    typed: str, left: str, studio: Studio, forms: dict[Mode, FormLayout]
) -> None:
    adapters.write(studio.settings.loras / "ink.safetensors")
    layout = forms[Mode.TEXT_TO_VIDEO]
    events, prompt, rows = PromptEvents(studio, TEMPLATES, layout, gr.Dropdown()), layout.form["prompt"], "loras"
    values = {field: field.value for field in layout.form.inputs} | {prompt: f"{typed} <lora:gone:1>"}
    noted = Reader(events.show_notes(values)[layout.prompt_notes])
    (tag,) = [value for name, value in noted.attributes if name == "data-ids"]
    assert "Use the LoRA ink at 0.8" in noted.text and "holds no 'gone'" in noted.text
    click = gr.EventData(None, {"act": "lora", "clip": "", "text": tag})
    taken = events.act(values | {prompt: typed}, click)
    assert taken == {prompt: left, layout.form[rows]: write_rows([LoraRow("ink", "0.8")])}
    there = write_rows([LoraRow("ink", "2", over="0:0, 1:1", on=False)])
    again = events.act(values | {prompt: typed, layout.form[rows]: there}, click)
    assert read_rows(again[layout.form[rows]]) == (LoraRow("ink", "0.8", over="0:0, 1:1"),)
    assert layout.form[rows] not in events.act(values | {prompt: "other words"}, click)


def test_the_same_lora_rows_are_drawn_again_when_the_page_shows_others(studio: Studio, settings: Settings) -> None:
    """Gradio leaves alone what equals what it drew last, and so what was typed meanwhile."""
    adapters.write(settings.loras / "ink.safetensors")
    with gr.Blocks() as page:
        links = page_links(page, studio)
    layout = links.filler.forms[Mode.TEXT_TO_VIDEO]
    events = LoraEvents(studio, TEMPLATES, layout, links)
    text = write_rows([LoraRow("ink")])
    first, again = (events.show_rows(text, DEMO.id, "")[layout.lora_rows] for _ in range(2))
    assert first != again
    drawn = dict(Reader(again).attributes)["data-drawn"]
    assert events.show_rows(text, DEMO.id, str(drawn)) == {layout.lora_rows: gr.skip()}
    assert events.show_rows("[]", DEMO.id, NO_ROWS) == {layout.lora_rows: gr.skip()}
    assert events.show_rows("[]", DEMO.id, "")[layout.lora_rows] == ""

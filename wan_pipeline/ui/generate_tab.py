"""One tab of the form, built twice: from text, and from an image. Layout only; the wiring is in `page`."""

from __future__ import annotations

import json
from dataclasses import dataclass

import gradio as gr

from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.limits import MAX_SEED
from wan_pipeline.ui import examples
from wan_pipeline.ui.field import Choices
from wan_pipeline.ui.fields import LORA_SLOTS
from wan_pipeline.ui.form import Form

TITLES = {Mode.TEXT_TO_VIDEO: "Text to video", Mode.IMAGE_TO_VIDEO: "Image to video"}
NO_LORAS = (
    '<p class="hint">No LoRAs yet. Put <code>.safetensors</code> files into the folder <code>loras</code> '
    "and reload this page.</p>"
)
CONTROL = (
    '<p class="hint">All of these may stay empty. The clip follows the video; where the mask is white it is made anew. '
    "Up to four reference images say what things look like.</p>"
)
CACHED = (
    '<p class="hint">Left empty, the style and then the model decide. The first-block cache skips what hardly changes '
    "from step to step: about 0.08 is quicker, and gives other frames.</p>"
)


@dataclass(frozen=True)
class GenerateTab:
    """The parts of a tab that handlers read or change."""

    mode: Mode
    tab: gr.Tab
    form: Form
    pictures: tuple[gr.Button, ...]
    custom_size: gr.Row
    lora_hint: gr.HTML
    lora_rows: tuple[gr.Row, ...]
    project: gr.Dropdown
    estimate: gr.HTML
    notice: gr.HTML
    generate: gr.Button
    editing: gr.Textbox
    """The waiting job whose settings the form is to change; empty: the form makes a new clip."""
    edit_bar: gr.Row
    stop_editing: gr.Button


def build_tab(choices: Choices) -> GenerateTab:
    form = Form(choices)
    with gr.Tab(TITLES[choices.mode], id=choices.mode.value, elem_classes="form-tab") as tab:
        pictures = _image(form) if choices.mode is Mode.IMAGE_TO_VIDEO else ()
        form.place("prompt")
        if choices.mode is Mode.TEXT_TO_VIDEO:
            _prompt_chips(form)
            _control(form)
        form.place("negative_prompt")
        form.place("preset")
        custom_size = _size(form)
        form.place("seconds")
        form.place("model")
        form.place("speed")
        _seed(form)
        lora_hint, lora_rows = _loras(form)
        project = _advanced(form)
        with gr.Column(elem_classes="generate-bar"):
            notice = gr.HTML("", elem_classes="notice-slot")
            editing = gr.Textbox(visible="hidden", container=False)
            with gr.Row(visible=False, elem_classes="edit-bar") as edit_bar:
                gr.HTML('<p class="notice warning">You are changing a clip that waits in the queue.</p>')
                stop_editing = gr.Button("Leave it as it was", elem_classes="quiet", size="sm")
            with gr.Row(elem_classes="generate-row"):
                estimate = gr.HTML("", elem_classes="estimate-slot")
                generate = gr.Button("Generate", variant="primary", elem_classes="generate-button")
    return GenerateTab(
        mode=choices.mode,
        tab=tab,
        form=form,
        pictures=pictures,
        custom_size=custom_size,
        lora_hint=lora_hint,
        lora_rows=lora_rows,
        project=project,
        estimate=estimate,
        notice=notice,
        generate=generate,
        editing=editing,
        edit_bar=edit_bar,
        stop_editing=stop_editing,
    )


def _image(form: Form) -> tuple[gr.Button, ...]:
    form.place("image")
    with gr.Row(elem_classes="pictures"):
        pictures = tuple(
            gr.Button(picture.title, icon=picture.path, size="sm", elem_classes="picture")
            for picture in examples.PICTURES
        )
    with form.part("last-image"):
        form.place("last_image")
    return pictures


def _control(form: Form) -> None:
    with form.part("control"):
        form.place("control_video")
        form.place("control_mask")
        form.place("reference_images")
        gr.HTML(CONTROL, elem_classes="control-hint")


def _prompt_chips(form: Form) -> None:
    with gr.Row(elem_classes="chips"):
        for title, prompt in examples.PROMPTS.items():
            chip = gr.Button(title, size="sm", elem_classes="chip")
            chip.click(None, None, form["prompt"], js=f"() => {json.dumps(prompt)}")


def _size(form: Form) -> gr.Row:
    form.place("size")
    with gr.Row(visible=False, elem_classes="duo") as custom:
        form.place("width")
        form.place("height")
    return custom


def _seed(form: Form) -> None:
    with gr.Row(elem_classes="seed"):
        form.place("seed")
        dice = gr.Button("Random seed", elem_classes="dice")
    dice.click(None, None, form["seed"], js=f"() => String(Math.floor(Math.random() * {MAX_SEED + 1}))")


def _loras(form: Form) -> tuple[gr.HTML, tuple[gr.Row, ...]]:
    with gr.Accordion("LoRAs", open=False):
        hint = gr.HTML(NO_LORAS, visible=not form.choices.loras)
        rows = []
        for slot in range(LORA_SLOTS):
            with gr.Row(visible=slot == 0 and bool(form.choices.loras), elem_classes="pair") as row:
                form.place(f"lora_{slot}")
                form.place(f"lora_weight_{slot}")
            rows.append(row)
    return hint, tuple(rows)


def project_box(label: str = "Project") -> gr.Dropdown:
    """Any name; those that clips have already are offered when the page opens."""
    return gr.Dropdown([("None", "")], value="", label=label, allow_custom_value=True, min_width=120)


def _advanced(form: Form) -> gr.Dropdown:
    with gr.Accordion("Advanced", open=False):
        with gr.Row(elem_classes="trio"):
            form.place("steps")
            form.place("guidance")
            form.place("flow_shift")
        with form.part("second-guidance"):
            form.place("guidance_2")
        with gr.Row(elem_classes="pair"):
            form.place("scheduler")
            form.place("fps")
        with gr.Row(elem_classes="pair"):
            form.place("quantization")
            form.place("first_block_cache")
        gr.HTML(CACHED)
        return project_box()

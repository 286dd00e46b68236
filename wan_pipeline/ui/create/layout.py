"""The components of the Create room: a form for each mode, and the stage beside them."""

from __future__ import annotations

import gradio as gr

from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.limits import MAX_REFERENCES
from wan_pipeline.ui.common.clock import work_clock
from wan_pipeline.ui.common.events import FORWARD_CLICKS
from wan_pipeline.ui.common.layout import Layout
from wan_pipeline.ui.common.names import MODE_TITLES, WAITING_CLIPS, Names
from wan_pipeline.ui.common.profiles import LARGER, MORE, PROFILES, profile_radio
from wan_pipeline.ui.common.shown import shown_box
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.create import examples, html
from wan_pipeline.ui.create.card_styles import GROUPS
from wan_pipeline.ui.create.fields.field import Choices
from wan_pipeline.ui.create.form import Form, Part

POLL_SECONDS, IDLE_POLL_SECONDS = 0.8, 10.0
GOES_ON = f"#stage :is(.spinner, .progress), {WAITING_CLIPS}"
"""A clip on the stage, its verification, or any clip of the queue."""
NOT_ENHANCED = ("", "")
DRAW_CURVES = "watch('value', () => queueMicrotask(() => wanStudio.drawCurves(element)));"
"""After fields.js, which hears of the new rows later than `watch`."""
WATCH_FAULTS = "wanStudio.watchFaults(element)"
JOB_CLICKED = """
element.addEventListener('click', event => {
  const tile = event.target.closest('[data-job]');
  if (tile) trigger('click', {job: tile.dataset.job});
});
"""


class FormLayout(Layout):
    """One tab of the form, from top to bottom."""

    def __init__(self, choices: Choices, templates: Templates) -> None:
        self.form, self._templates = Form(choices), templates
        self.pictures: dict[examples.Picture, gr.Button] = {}
        self.prompts: dict[str, gr.Button] = {}
        with gr.Tab(MODE_TITLES[choices.mode], id=choices.mode.value, elem_classes="form-tab") as self.tab:
            if choices.mode is Mode.IMAGE_TO_VIDEO:
                self._image()
            self._prompt()
            if choices.mode is Mode.TEXT_TO_VIDEO:
                self._example_prompts()
                self._control()
            self.form.place("negative_prompt")
            gr.HTML(templates.render("create/look_groups.html", groups=GROUPS))
            self.form.place("preset", "quality")
            self._size()
            self.form.place("seconds", "model", "speed")
            self._seed()
            self._loras()
            self._advanced()
            self._project()
            self._generate_bar()

    def _image(self) -> None:
        self.form.place("image")
        with gr.Row(elem_classes="pictures"):
            self.pictures = {
                picture: gr.Button(picture.title, icon=picture.path, size="sm", elem_classes="picture")
                for picture in examples.PICTURES
            }
        with self.form.part(Part.LAST_IMAGE):
            self.form.place("last_image")
        self._framing()

    def _framing(self) -> None:
        """Shown for a picture of another shape than the clip."""
        boxes = [self.form.element(name) for name in ("image", "last_image")]
        watch = f"wanStudio.watchFraming(element, {boxes}, '{self.form.element('image_crop')}')"
        self.framing_note = gr.HTML("", elem_classes="framing-note", js_on_load=watch)
        with gr.Column(visible=False, min_width=0) as self.framing:
            self.form.place("image_fit")
        self.form.place("image_crop")

    def _prompt(self) -> None:
        self.form.place("prompt")
        with gr.Row(elem_classes="prompt-tools"):
            self.enhance = gr.Button("Enhance prompt", elem_classes=["quiet", "enhance"], size="sm", min_width=0)
            self.enhanced = gr.State(NOT_ENHANCED)
            """What was typed when the prompt was last sent to be made richer, and what came of it."""
            self.characters = gr.HTML("", elem_classes="cast-chips", js_on_load=FORWARD_CLICKS)
        self.prompt_notes = gr.HTML("", elem_classes="prompt-notes", js_on_load=FORWARD_CLICKS)
        self.replaced = gr.Textbox(visible="hidden", container=False)
        """The typed prompt that another one took the place of; empty when there is nothing to undo."""
        with gr.Row(visible=False, elem_classes="undo-bar") as self.undo_bar:
            gr.HTML(self._templates.render("create/replaced.html"))
            self.undo = gr.Button("Undo", elem_classes="quiet", size="sm")

    def _example_prompts(self) -> None:
        with gr.Row(elem_classes="chips"):
            self.prompts = {
                prompt: gr.Button(title, size="sm", elem_classes="chip") for title, prompt in examples.PROMPTS.items()
            }

    def _control(self) -> None:
        with self.form.part(Part.CONTROL):
            self.form.place("control_video", "control_mask", "reference_images")
            hint = self._templates.render("create/control_hint.html", max_references=MAX_REFERENCES)
            gr.HTML(hint, elem_classes="control-hint")

    def _size(self) -> None:
        self.form.place("size")
        with gr.Row(visible=False, elem_classes="duo") as self.custom_size:
            self.form.place("width", "height")

    def _seed(self) -> None:
        with gr.Row(elem_classes="seed"):
            self.form.place("seed")
            self.dice = gr.Button("Random seed", elem_classes="dice")

    def _loras(self) -> None:
        self.form.place("loras")
        self.loras_drawn = gr.Textbox(visible="hidden", container=False)
        """Stays empty: the page puts in its place what its rows show already."""
        rows = self.form.element("lora-rows")
        self.lora_rows = gr.HTML("", elem_id=rows, elem_classes="lora-slot", js_on_load=FORWARD_CLICKS + DRAW_CURVES)
        with gr.Accordion("LoRAs", open=False):
            self.lora_search = gr.Textbox(
                label="Add a LoRA", placeholder="A part of its name", max_lines=1, elem_classes="lora-search"
            )
            self.lora_found = gr.HTML("")

    def _advanced(self) -> None:
        with gr.Accordion("Advanced", open=False):
            with gr.Row(elem_classes="trio"):
                self.form.place("steps", "guidance", "flow_shift")
            with self.form.part(Part.SECOND_GUIDANCE):
                self.form.place("guidance_2")
            with gr.Row(elem_classes="pair"):
                self.form.place("scheduler", "fps")
            with gr.Row(elem_classes="pair"):
                self.form.place("quantization", "guidance_interval")
            with gr.Row(elem_classes="pair"):
                self.form.place("cache", "cache_amount")
            with gr.Row(elem_classes="pair"):
                self.form.place("early_end", "noise_size")
            gr.HTML(self._templates.render("create/advanced_hint.html"))
            self.form.place("prompt_before", "prompt_after")

    def _project(self) -> None:
        with gr.Accordion("Project", open=False):
            self.origins = gr.HTML("", elem_classes="origins")
            with gr.Row(elem_classes="duo"):
                self.save_setup = gr.Button(
                    "Save this form as the project's setup", size="sm", elem_classes="quiet whole-row"
                )
                self.copy_project = gr.Button("Duplicate project", size="sm", elem_classes="quiet")
                self.archive = gr.Button("Archive project", size="sm", elem_classes="quiet")
            with gr.Row(elem_classes="duo"):
                self.final_frames = {
                    "upscale": gr.Dropdown(LARGER, value=1, label="Frame size of finals", min_width=120),
                    "interpolate": gr.Dropdown(MORE, value=1, label="Frame count of finals", min_width=120),
                }
            with gr.Row(elem_classes="duo"):
                self.save_profiles = {
                    name: gr.Button(f"Save {name} profile", size="sm", elem_classes="quiet")
                    for name in PROFILES
                    if name
                }
            with gr.Row(elem_classes="duo"):
                self.preset_title = gr.Textbox(label="New style's name", max_lines=1, min_width=120)
                self.save_preset = gr.Button("Save as a style", size="sm", elem_classes="quiet")
            self.project_report = gr.HTML("", elem_classes="notice-slot")

    def _generate_bar(self) -> None:
        with gr.Column(elem_classes="generate-bar"):
            self.notice = gr.HTML("", elem_classes="notice-slot", js_on_load=WATCH_FAULTS)
            self.editing = gr.Textbox(visible="hidden", container=False)
            """Id of the waiting job that the form edits; empty when it makes a new clip."""
            self.filled = gr.Textbox(visible="hidden", container=False)
            """Not empty once the form has been filled from a clip or a job: see `carry`."""
            with gr.Row(visible=False, elem_classes="edit-bar") as self.edit_bar:
                gr.HTML(self._templates.render("create/stage/editing.html"))
                self.stop_editing = gr.Button("Discard changes", elem_classes="quiet", size="sm")
            self.profile = profile_radio()
            with gr.Row(elem_classes="generate-row"):
                self.estimate = gr.HTML("", elem_classes="estimate-slot", js_on_load=WATCH_FAULTS)
                self.generate = gr.Button("Generate", variant="primary", elem_classes="generate-button")


class StageLayout(Layout):
    """The clip of one job, what can be done with it, and recent clips."""

    def __init__(self, templates: Templates, names: Names) -> None:
        self.job = gr.Textbox(visible="hidden", elem_id="job", container=False)
        """Id of the job that this browser tab follows."""
        self.view = gr.HTML(html.stage(templates, names, None), elem_id="view", js_on_load=FORWARD_CLICKS)
        with gr.Row(elem_classes="actions"):
            self.cancel = gr.Button("Cancel", visible=False, elem_classes="quiet")
            self.reuse = gr.Button("Reuse settings", visible=False, elem_classes=["quiet", "to-form"])
            self.last_frame = gr.Button("Use last frame as image", visible=False, elem_classes=["quiet", "to-form"])
            self.download = gr.HTML("", elem_classes="download-slot")
            self.clip_acts = gr.HTML("", elem_id="clip-acts", js_on_load=FORWARD_CLICKS)
        self.report = gr.HTML("", elem_classes="report-slot")
        self.strip = gr.HTML("", elem_id="recent", js_on_load=JOB_CLICKED)
        self.toast = gr.HTML("", elem_classes="toast-slot", js_on_load=FORWARD_CLICKS)
        self.clock = work_clock(POLL_SECONDS, GOES_ON, IDLE_POLL_SECONDS)
        self.shown = shown_box()

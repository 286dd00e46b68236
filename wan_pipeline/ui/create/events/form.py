"""What happens in a form of the Create room."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import gradio as gr

from wan_pipeline.errors import UserError
from wan_pipeline.models.spec import Size
from wan_pipeline.requests.layers import Layers, shown
from wan_pipeline.requests.limits import MAX_RANDOM_SEED
from wan_pipeline.requests.resolve import size_for
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import CLEAR, QUIET, Updates, Values
from wan_pipeline.ui.common.messages import estimate
from wan_pipeline.ui.common.names import look_choices, quality_choices
from wan_pipeline.ui.common.room import PageLinks, RoomId
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.create import html
from wan_pipeline.ui.create.events.files import FileEvents
from wan_pipeline.ui.create.events.loras import LoraEvents
from wan_pipeline.ui.create.events.profiles import ProfileEvents
from wan_pipeline.ui.create.events.projects import ProjectEvents, origins
from wan_pipeline.ui.create.events.prompts import PromptEvents
from wan_pipeline.ui.create.events.tools import PromptTools
from wan_pipeline.ui.create.fields.field import FieldValues
from wan_pipeline.ui.create.fields.files import FILE_FIELDS
from wan_pipeline.ui.create.fields.size import CUSTOM
from wan_pipeline.ui.create.fields.table import model_choices
from wan_pipeline.ui.create.hints import HINTED, WORDS, fit_to_model, placeholders, word_hints
from wan_pipeline.ui.create.layout import FormLayout
from wan_pipeline.ui.create.saved_form import save_in_browser

RANDOM_SEED = f"() => String(Math.floor(Math.random() * {MAX_RANDOM_SEED + 1}))"


class FormEvents:
    """The events of one form. `values` are those of all its fields."""

    def __init__(self, studio: Studio, templates: Templates, layout: FormLayout, links: PageLinks) -> None:
        self._studio, self._templates = studio, templates
        self._layout, self._form, self._links = layout, layout.form, links

    def wire(self) -> None:
        self._wire_bar()
        self._wire_choices()
        LoraEvents(self._studio, self._templates, self._layout, self._links).wire()
        PromptEvents(self._studio, self._templates, self._layout, self._links.project).wire(self._links.page)
        PromptTools(self._studio, self._templates, self._layout, self._links).wire()
        FileEvents(self._studio, self._templates, self._layout, self._links.project).wire(self._links.page)
        ProjectEvents(self._studio, self._templates, self._layout, self._links).wire()
        ProfileEvents(self._studio, self._templates, self._layout, self._links).wire()
        save_in_browser(self._links, self._form, self._studio)

    # Which event does what

    def _wire_bar(self) -> None:
        layout, form, links = self._layout, self._form, self._links
        layout.generate.click(
            self.generate,
            form.inputs | {layout.editing, links.project, layout.profile},
            [layout.notice, layout.editing, links.job, links.rooms],
            **QUIET,
        )
        layout.editing.change(self.show_editing, layout.editing, [layout.edit_bar, layout.generate], **QUIET)
        layout.dice.click(None, None, form["seed"], js=RANDOM_SEED)
        layout.stop_editing.click(None, None, layout.editing, js=CLEAR)
        plain = [field.change for name, field in form.components.items() if name not in FILE_FIELDS]
        gr.on(plain, None, None, layout.notice, js=CLEAR)
        gr.on(
            [
                links.page.load,
                links.badge.change,  # as many clips are before it
                links.project.change,
                layout.profile.change,
                form["preset"].change,
                *(field.change for field in form.timed),
            ],
            self.estimate,
            form.inputs | {links.project, layout.profile},
            [layout.estimate, layout.origins],
            trigger_mode="always_last",
            **QUIET,
        )

    def _wire_choices(self) -> None:
        form, load = self._form, self._links.page.load
        hinted = [form[name] for name in (*HINTED, *WORDS)]
        fitted = [form["speed"], form["size"], form["seconds"], *form.parts.values()]
        custom = [self._layout.custom_size, form["width"], form["height"]]
        form["size"].change(self.show_custom_size, form.inputs, custom, **QUIET)
        given = form.inputs | {self._links.project, self._layout.profile}
        form["model"].change(self.show_model, given, [*fitted, *hinted], **QUIET)
        layers = [form[name].change for name in ("preset", "quality", "speed")]
        opened = [load, self._links.project.change, self._layout.profile.change]
        gr.on([*opened, *layers], self.show_hints, given, hinted, **QUIET)
        entered, styles = self._links.entered(RoomId.CREATE), [form["preset"], form["quality"]]
        gr.on([load, entered], self.offer_models, {form["model"]}, [form["model"]], **QUIET)
        gr.on([load, entered], self.offer_presets, {*styles}, styles, **QUIET)

    # The bar at the foot

    def generate(self, values: Values) -> Updates:
        """Queue a new clip, or change the waiting one that is being edited."""
        layout, editing = self._layout, values[self._layout.editing]
        try:
            draft = shown(self._form.draft(values))
            if editing:
                self._studio.edit(editing, draft)
                return {layout.notice: "", layout.editing: "", **self._links.open(RoomId.QUEUE)}
            job_id = self._studio.submit(draft, values[self._links.project], profile=values[layout.profile] or "")
        except UserError as error:
            return {layout.notice: html.fault(self._templates, str(error), self._form.fault(error, values))}
        return {layout.notice: "", self._links.job: job_id}

    def show_editing(self, editing: str) -> Updates:
        """Say that a waiting clip is being edited, or that it no longer is."""
        label = "Save changes" if editing else "Generate"
        return {self._layout.edit_bar: gr.Row(visible=bool(editing)), self._layout.generate: gr.Button(label)}

    def estimate(self, values: Values) -> Updates:
        """How long the clip will take and whether it fits; or what is missing in the form."""
        try:
            draft, layers = shown(self._form.draft(values)), self._layers(values)
            found = self._studio.estimates.of_draft(draft, layers)
            where = origins(self._templates, self._studio.requests.within(layers), draft)
        except UserError as error:
            lacking = html.fault(self._templates, str(error), self._form.fault(error, values), "lacking")
            return {self._layout.estimate: lacking}
        shows = estimate(self._templates, found.text, found.fits)
        return {self._layout.estimate: shows, self._layout.origins: where}

    def _layers(self, values: Values) -> Layers:
        """The settings of the open project, with the chosen profile."""
        return self._studio.projects.layers(
            str(values[self._links.project] or ""), str(values[self._layout.profile] or "")
        )

    # What a choice shows

    def show_custom_size(self, values: Values) -> Updates:
        """The boxes of a custom size, which start with the model's default."""
        chosen = self._form.values(values)
        is_custom = chosen["size"] == CUSTOM
        updates: Updates = {self._layout.custom_size: gr.Row(visible=is_custom)}
        if is_custom and not chosen["width"] and not chosen["height"]:
            default = self._size_of(chosen)
            updates |= {self._form["width"]: str(default.width), self._form["height"]: str(default.height)}
        return updates

    def _size_of(self, chosen: FieldValues) -> Size:
        """The model's first size; with a first frame, the size that crops it least."""
        spec = self._form.spec(chosen["model"])
        with suppress(UserError):
            if image := chosen.get("image"):
                return size_for(self._studio.requests.pictures.measure(Path(image)), spec)
        return spec.sizes[0]

    def show_model(self, values: Values) -> Updates:
        """The sizes, lengths and parts of the chosen model, and its settings as placeholders."""
        chosen = self._form.values(values)
        return {**fit_to_model(self._form, self._form.spec(chosen["model"]), chosen), **self.show_hints(values)}

    def show_hints(self, values: Values) -> Updates:
        """What the chosen style, speed and model set, as placeholders of blank fields."""
        chosen = self._form.values(values)
        presets, layers = self._studio.presets.current(), self._layers(values)
        preset, quality = presets.get(chosen["preset"]), presets.get(chosen["quality"])
        spec, speed = self._form.spec(chosen["model"]), self._studio.speeds.get(chosen["speed"])
        hints = placeholders(spec, preset, speed, quality, layers) | word_hints(layers)
        return {self._form[name]: gr.Textbox(placeholder=text) for name, text in hints.items()}

    def offer_models(self, values: Values) -> Updates:
        """The models that are installed now: some may have come or gone since."""
        specs, chosen = self._form.choices.offered_models(), values[self._form["model"]]
        is_here = chosen in {spec.id for spec in specs}
        changes = {} if is_here else {"value": specs[0].id}
        return {self._form["model"]: gr.Dropdown(choices=model_choices(specs), **changes)}

    def offer_presets(self, values: Values) -> Updates:
        """The styles and qualities whose files are there now."""
        presets = self._studio.presets.current()
        offered = {"preset": (look_choices(presets), None), "quality": (quality_choices(presets), "")}
        updates: Updates = {}
        for name, (choices, without) in offered.items():
            is_there = values[self._form[name]] in (without, *dict(choices).values())
            updates[self._form[name]] = gr.Radio(choices, **({} if is_there else {"value": without}))
        return updates

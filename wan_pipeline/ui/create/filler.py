"""The way from a clip, a job or a dropped file back to the forms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import gradio as gr
from gradio.blocks import Block

from wan_pipeline.models.spec import Mode, ModelSpec
from wan_pipeline.requests.request import Draft
from wan_pipeline.ui.common.events import Updates, Values
from wan_pipeline.ui.common.messages import notice
from wan_pipeline.ui.common.room import RoomId
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.create.fields.loras import with_row
from wan_pipeline.ui.create.fields.table import model_choices
from wan_pipeline.ui.create.hints import fill
from wan_pipeline.ui.create.layout import FormLayout


@dataclass(frozen=True)
class FormFiller:
    """Fills the form of a mode and opens it. See `ui.common.room.Filler`."""

    rooms: gr.Tabs
    tabs: gr.Tabs
    """The forms' tabs; the ids are values of `Mode`."""
    forms: Mapping[Mode, FormLayout]
    open_mode: gr.Textbox
    """The mode whose form was open last."""
    templates: Templates

    @property
    def outputs(self) -> list[Block]:
        parts: list[Block] = [self.rooms, self.tabs, self.open_mode]
        for layout in self.forms.values():
            parts += [*layout.form.components.values(), *layout.form.parts.values(), layout.notice, layout.editing]
            parts += [layout.filled, layout.replaced, layout.profile]
        return parts

    @property
    def inputs(self) -> set[Block]:
        fields: set[Block] = {component for layout in self.forms.values() for component in layout.form.inputs}
        return fields | {self.open_mode}

    @property
    def chosen_inputs(self) -> set[Block]:
        return {self.open_mode, *(layout.form["model"] for layout in self.forms.values())}

    def draft(self, mode: Mode, values: Values) -> Draft:
        return self.forms[mode].form.draft(values)

    def fill(self, draft: Draft, message: str = "", editing: str = "", mode: Mode | None = None) -> Updates:
        mode = mode or (Mode.IMAGE_TO_VIDEO if draft.image else Mode.TEXT_TO_VIDEO)
        edited = {layout.editing: editing if each is mode else "" for each, layout in self.forms.items()}
        layout = self.forms[mode]
        filled = {**fill(layout.form, _without_lost_files(draft)), layout.filled: "yes", layout.replaced: ""}
        filled[layout.profile] = ""  # the draft says all that differs from the project's setup
        return {**filled, **self.notices(message), **edited, **self._open(mode)}

    def go_on_from(self, image: Path, draft: Draft) -> Updates:
        offered = self.forms[Mode.IMAGE_TO_VIDEO].form.choices.offered_models()
        if draft.model not in {spec.id for spec in offered}:  # its numbers are for that model alone
            draft = Draft(prompt=draft.prompt, preset=draft.preset, model=offered[0].id)
        return self.fill(replace(draft, image=image, last_image=None, seed=None, width=None, height=None))

    def choose(self, spec: ModelSpec) -> Updates:
        mode = Mode.TEXT_TO_VIDEO if Mode.TEXT_TO_VIDEO in spec.modes else Mode.IMAGE_TO_VIDEO
        form = self.forms[mode].form
        model = gr.Dropdown(choices=model_choices(form.choices.offered_models()), value=spec.id)
        return {form["model"]: model, **self._open(mode)}

    def spec(self, values: Values) -> ModelSpec:
        form = self._open_form(values).form
        return form.spec(values[form["model"]])

    def use_lora(self, name: str, values: Values) -> Updates:
        form = self._open_form(values).form
        return {form["loras"]: with_row(values[form["loras"]], name), self.rooms: gr.Tabs(selected=RoomId.CREATE.value)}

    def add_words(self, words: str, values: Values) -> Updates:
        prompt = self._open_form(values).form["prompt"]
        typed = (values[prompt] or "").rstrip()
        return {prompt: f"{typed}, {words}" if typed else words}

    def _open_form(self, values: Values) -> FormLayout:
        return self.forms[Mode(values[self.open_mode])]

    def notices(self, message: str) -> Updates:
        return {layout.notice: notice(self.templates, message) for layout in self.forms.values()}

    def _open(self, mode: Mode) -> Updates:
        return {
            self.tabs: gr.Tabs(selected=mode.value),
            self.rooms: gr.Tabs(selected=RoomId.CREATE.value),
            self.open_mode: mode.value,
        }


def _without_lost_files(draft: Draft) -> Draft:
    """The draft without files that are gone: their boxes stay empty."""

    def existing(path: Path | None) -> Path | None:
        return path if path and path.is_file() else None

    return replace(
        draft,
        image=existing(draft.image),
        last_image=existing(draft.last_image),
        control_video=existing(draft.control_video),
        control_mask=existing(draft.control_mask),
        reference_images=tuple(path for path in draft.reference_images if path.is_file()),
    )
